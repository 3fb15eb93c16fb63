"""The suffix runner: only what comes after an edited site, for rows of many edits in one batch.

For each row it feeds the clean answer's tokens in one forward. Where every greedy choice agrees the answer is the clean
one; where not, the row writes its own answer. Where a choice is closer than float arithmetic can be trusted, the row is
reported as close and the engine runs it again with the whole model.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.interventions.edits.combined import reach_order
from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.clean import CleanPass
from codi_int.model.chain import ChainState
from codi_int.model.hooked import CodiModel
from codi_int.model.hooks import Recorder, SiteRecorder
from codi_int.model.resume import ResumePoint, SiteChange
from codi_int.model.rollout import Rollout
from codi_int.model.scoring import MARGIN_TOLERANCE, Verified, decode_rows, verify
from codi_int.progress import Progress
from codi_int.types import Number, Site

MAX_ROWS = 256
"""rows that run together"""

LOGPROB_TOLERANCE = {torch.float64: 1e-9, torch.float32: 3e-5, torch.float16: 0.01, torch.bfloat16: 0.1}
"""changes of an answer's log-probability up to this, in nats, count as none. Running the same rows in another batch
moves those of codi-mini by up to 1.1e-5; a signed-rank test over hundreds of such changes calls rounding
significant."""


@dataclass(frozen=True)
class Changes:
    """What is done at each site, for the pairs of all plans one after the other."""

    # a pair is (plan, one of its rows); pairs are numbered through all plans, and every tensor below is in that order
    problems: Int[Tensor, " pairs"]
    """the problem of each pair"""
    sites: tuple[SiteChange, ...]
    """one change for each site, the one at which runs begin first; [pairs, d_model]"""

    def of(self, pairs: Int[Tensor, " chosen"]) -> "Changes":
        """The same for some of the pairs."""
        chosen = pairs.to(self.sites[0].delta.device)
        return Changes(self.problems[pairs], tuple(change.of(chosen) for change in self.sites))


class SuffixRunner:
    """Runs arms from their site onwards."""

    def __init__(self, model: CodiModel, clean: CleanPass, resume_point: ResumePoint, max_rows: int = MAX_ROWS) -> None:
        self._model, self._clean, self._resume_point, self._max_rows = model, clean, resume_point, max_rows
        self._tolerance = MARGIN_TOLERANCE[model.dtype]

    @torch.no_grad()
    def run(self, plans: Sequence[ArmPlan], progress: Progress | None = None) -> list[ArmScores]:
        """Scores of every row of every plan; `rerun` marks the rows that are too close to call."""
        changes = changes_of(plans)
        total = len(changes.problems)
        logprobs, changed, close = torch.zeros(total), *torch.zeros(2, total, dtype=torch.bool)
        # Clean answers to begin with: a row whose greedy choices all agree with the clean tokens writes the clean
        # answer, so only the others have to be decoded.
        answers: list[Number | None] = [self._clean.outcomes[i].answer for i in changes.problems.tolist()]

        def score(rollout: Rollout, pairs: Tensor) -> None:
            # rows: which row of the batch's rollout a pair starts from, the same one for every plan of that problem
            state, rows = self._state(rollout, changes.of(pairs)), self._rows(changes.problems[pairs])
            found = self._verify(rollout, state, rows)
            # All work of the chunk comes before anything is kept: where memory runs out halfway, it is done again in
            # halves.
            written = list(self._written(state, found.changed, pairs))
            logprobs[pairs], changed[pairs], close[pairs] = (
                found.logprobs.cpu(),
                found.changed.cpu(),
                found.close.cpu(),
            )
            for pair, answer, is_close in written:
                answers[pair] = answer
                # the row's own tokens may be close to call where the clean ones, up to the first difference, were not
                close[pair] |= is_close

        done = 0
        for count in self._each_chunk(changes.problems, score):
            done += count
            if progress:
                progress("edited passes", done, total)
        return _split_by_plan(plans, ArmScores(logprobs, tuple(answers), changed, close))

    @torch.no_grad()
    def capture(self, plans: Sequence[ArmPlan], site: Site) -> list[Float[Tensor, "m d_model"]]:
        """What arrives at a later site under each plan, for the plan's rows."""
        changes = changes_of(plans)
        shape = changes.sites[0].delta.shape  # [pairs, d_model]
        out = torch.empty(shape, dtype=self._model.dtype, device=self._model.device)

        def keep(rollout: Rollout, pairs: Tensor) -> None:
            recorder = SiteRecorder([site])
            self._state(rollout, changes.of(pairs), site, recorder)
            out[pairs.to(out.device)] = recorder.captured[site]

        for _ in self._each_chunk(changes.problems, keep):
            pass
        return list(out.split([len(plan.rows) for plan in plans]))

    def _each_chunk(self, problems: Int[Tensor, " pairs"], work: Callable[[Rollout, Tensor], None]) -> Iterator[int]:
        """Do some work on (the clean pass of a batch, some of the pairs whose problem it holds), batch by batch.

        Where memory runs out the chunk is halved, and later ones are as small.

        Yields:
            how many pairs have been done.

        Raises:
            ConfigError: where not even a single row fits.
        """
        # Pairs by batch, not by plan: one rollout is at hand at a time (the budget may hold no more), and rows of many
        # plans fill a chunk. Stable, so that chunks do not depend on how a sort breaks ties.
        batch_of = self._clean.batch_of[problems]
        order = batch_of.argsort(stable=True)
        for index in sorted(set(batch_of.tolist())):
            # [pairs of this batch]
            waiting, rollout = order[batch_of[order] == index], self._clean.rollouts.at(index)
            while len(waiting):
                pairs = waiting[: self._max_rows]
                if _fits(work, rollout, pairs):
                    waiting = waiting[len(pairs) :]
                    yield len(pairs)
                else:
                    # kept for later chunks: what did not fit once is not tried again
                    self._max_rows = _halve(len(pairs), self._model.device)

    def _rows(self, problems: Int[Tensor, " pairs"]) -> Int[Tensor, " pairs"]:
        return self._clean.row_of[problems].to(self._model.device)

    def _state(
        self, rollout: Rollout, changes: Changes, until: Site | None = None, recorder: Recorder | None = None
    ) -> ChainState:
        """The state after the last thought, or when the site `until` has been reached, with all changes made."""
        rows = self._rows(changes.problems)
        return self._resume_point.run_on(self._model, rollout, rows, changes.sites, until=until, recorder=recorder)

    def _verify(self, rollout: Rollout, state: ChainState, rows: Tensor) -> Verified:
        # Teacher forcing: the state predicts token 0 and each token fed predicts the next, so longest - 1 tokens give
        # longest predictions. Answers of a batch are filled up to the longest of all; these rows need not go so far.
        longest = int(rollout.decoded.counts[rows].max())
        logits = self._model.teacher_force(state, rollout.decoded.ids[rows, : longest - 1])
        return verify(logits, rollout.decoded, rows, self._tolerance)

    def _written(self, state: ChainState, changed: Tensor, pairs: Tensor) -> Iterator[tuple[int, Number | None, bool]]:
        """(pair, its answer, whether that is too close to call) for the rows that write something else."""
        # [changed rows], on the model's device; `pairs` lives on the CPU
        which = changed.nonzero()[:, 0]
        answers, margins = decode_rows(self._model, state, which)
        is_close = (margins < self._tolerance).tolist()
        yield from zip(pairs[which.cpu()].tolist(), answers, is_close, strict=True)


def _fits(work: Callable[[Rollout, Tensor], None], rollout: Rollout, pairs: Tensor) -> bool:
    """Do the work; False where memory ran out."""
    try:
        work(rollout, pairs)
        return True
    except RuntimeError as error:  # torch.OutOfMemoryError is one; the CPU's allocator raises the plain kind
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
    # out of the except block, for the error holds the tensors that filled the memory
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False


def _halve(rows: int, device: torch.device) -> int:
    if rows == 1:
        raise ConfigError(
            f"The memory of {device} does not hold a single row beside the clean pass.",
            "Lower memory_budget, load the model as bfloat16, or leave the longest problems out.",
        )
    # rounded up, so that every halving ends at 1
    return (rows + 1) // 2


def changes_of(plans: Sequence[ArmPlan]) -> Changes:
    """The changes of plans that begin at one site; 0 at the later sites that only other plans have."""
    # A run resumes at one site, so all plans have to begin there; where they go on may differ.
    first = plans[0].site
    later = {change.site for plan in plans for change in plan.changes} - {first}
    sites = (first, *sorted(later, key=reach_order))
    changes = [_join_changes([_change_at(plan, site) for plan in plans]) for site in sites]
    # At the first site a value is not put but added, like everything else: the clean activation arrives there bit for
    # bit, so the sum is off by one rounding at most. Later sites are reached by arithmetic that rounds as it likes.
    changes[0] = replace(changes[0], value=None)
    return Changes(torch.cat([plan.rows for plan in plans]), tuple(changes))


def _change_at(plan: ArmPlan, site: Site) -> SiteChange:
    """What a plan does at a site; adds 0 where it does nothing."""
    for change in plan.changes:
        if change.site == site:
            return change
    return SiteChange(site, torch.zeros_like(plan.delta))


def _join_changes(changes: Sequence[SiteChange]) -> SiteChange:
    """The changes of all plans at one site, one after the other."""
    site, delta = changes[0].site, torch.cat([change.delta for change in changes])  # [pairs, d_model]
    if all(change.value is None for change in changes):
        return SiteChange(site, delta)
    # NaN: no value in this row, so that its delta is added
    values = [torch.full_like(c.delta, torch.nan) if c.value is None else c.value for c in changes]
    return SiteChange(site, delta, torch.cat(values))


def settle_rounding(plan: ArmPlan, scores: ArmScores, clean: CleanPass, tolerance: float) -> ArmScores:
    """The scores with the clean log-probability wherever theirs differs from it by no more than rounding."""
    # [m], like the scores
    before = clean.logprobs.cpu()[plan.rows]
    same = (scores.logprobs - before).abs() <= tolerance
    return replace(scores, logprobs=torch.where(same, before, scores.logprobs))


def _split_by_plan(plans: Sequence[ArmPlan], scores: ArmScores) -> list[ArmScores]:
    """The scores of all pairs, cut back into plans."""
    out, start = [], 0
    for plan in plans:
        # pairs are in the order of the plans, so each plan's are one stretch
        part = slice(start, start + len(plan.rows))
        out.append(ArmScores(scores.logprobs[part], scores.answers[part], scores.changed[part], scores.rerun[part]))
        start = part.stop
    return out
