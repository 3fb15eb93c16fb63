"""The suffix runner: only what comes after an edited site, for rows of many edits in one batch.

For each row it feeds the clean answer's tokens in one forward. Where every greedy choice agrees the answer is the clean
one; where not, the row writes its own answer, in the end, together with the rows in which a choice is closer than float
arithmetic can be trusted: those run again in one canonical shape.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.chunks import MOST_PROBLEMS, MOST_PROBLEMS_GPU, Chunk, cut_chunks
from codi_int.interventions.engine.clean import CleanPass
from codi_int.interventions.engine.pairs import Changes, changes_of
from codi_int.interventions.engine.side_effects import compare_thoughts, next_thought
from codi_int.model.branch import Branches
from codi_int.model.chain import ChainState
from codi_int.model.hooked import CodiModel
from codi_int.model.hooks import Recorder, SiteRecorder
from codi_int.model.resume import ResumePoint
from codi_int.model.rollout import ANSWER_ROOM, Rollout, RolloutPart, join_rollouts
from codi_int.model.scoring import MARGIN_TOLERANCE, Verified, decode_rows, verify
from codi_int.progress import Progress
from codi_int.types import Number, Site

MAX_ROWS = 384
"""rows that run together on a CPU"""
MAX_ROWS_GPU = 2048
"""the same on a GPU: about ten times what makes its products, and not the reading of the weights, take the time"""
CANONICAL_ROWS = 32
"""rows that run together where a row's result must not depend on what runs beside it"""
CANONICAL_ROWS_GPU = 256
"""the same on a GPU, where a chunk of them takes as many launches as one of 32"""

LOGPROB_TOLERANCE = {torch.float64: 1e-9, torch.float32: 3e-5, torch.float16: 0.01, torch.bfloat16: 0.1}
"""changes of an answer's log-probability up to this, in nats, count as none. Running the same rows in another batch
moves those of codi-mini by up to 1.1e-5; a signed-rank test over hundreds of such changes finds that significant."""


def usual_rows(device: torch.device) -> int:
    """How many rows run together at most where nobody says otherwise."""
    return MAX_ROWS_GPU if device.type == "cuda" else MAX_ROWS


@dataclass(frozen=True)
class _Settled:
    """What some pairs came to in the canonical shape."""

    pairs: Int[Tensor, " some"]
    """which"""
    logprobs: Float[Tensor, " some"]
    """log-probability of the clean answer, in nats"""
    margins: Float[Tensor, " some"]
    """by how much each of its tokens is preferred at least"""
    changed: Bool[Tensor, " some"]
    """whether other tokens were written"""
    answers: list[Number | None]
    """the number that was written"""
    close: Bool[Tensor, " some"]
    """whether some choice was too close to call elsewhere"""


@dataclass(frozen=True)
class _Placed:
    """A chunk with everything that the device needs of it."""

    rollout: Rollout
    """the clean pass of its problems"""
    branches: Branches
    """who goes on from it"""
    pairs: Int[Tensor, " rows"]
    """the pairs' numbers, where the model is"""


class SuffixRunner:
    """Runs arms from their site onwards."""

    def __init__(self, model: CodiModel, clean: CleanPass, resume_point: ResumePoint, max_rows: int = MAX_ROWS) -> None:
        self._model, self._clean, self._resume_point, self._max_rows = model, clean, resume_point, max_rows
        self._tolerance = MARGIN_TOLERANCE[model.dtype]

    @torch.no_grad()
    def run(self, plans: Sequence[ArmPlan], progress: Progress | None = None) -> list[ArmScores]:
        """Scores of every row of every plan; `rerun` marks the rows that were too close to call."""
        changes = changes_of(plans)
        total = len(changes.problems)
        logprobs, margins = torch.zeros(2, total)
        changed, close = torch.zeros(2, total, dtype=torch.bool)
        # Clean answers to begin with: a row whose greedy choices all agree with the clean tokens writes the clean
        # answer, so only the others have to be decoded.
        answers: list[Number | None] = [self._clean.outcomes[i].answer for i in changes.problems.tolist()]

        following = next_thought(self._resume_point.site, self._model.n_thoughts)
        thoughts = None if following is None else torch.zeros(total, 2)

        def score(chunk: Chunk) -> None:
            pairs, placed = chunk.pairs, self._start_of(chunk)
            rollout, branches = placed.rollout, placed.branches
            recorder = SiteRecorder([] if following is None else [following])
            state = self._state(rollout, branches, changes.of(pairs, placed.pairs), recorder=recorder)
            found = self._verify(rollout, state, branches.rows, branches.listed)
            columns = [found.logprobs, found.margins, found.changed, found.close]
            if following is not None:
                before = rollout.thoughts[branches.rows, following.position]
                columns += compare_thoughts(recorder.captured[following], before).unbind(1)
            # all in one tensor, for a GPU is waited for at each that is fetched; float32 holds them as they are
            fetched = torch.stack([column.float() for column in columns]).cpu()
            logprobs[pairs], margins[pairs] = fetched[0], fetched[1]
            changed[pairs], close[pairs] = fetched[2].bool(), fetched[3].bool()
            if thoughts is not None:
                thoughts[pairs] = fetched[4:].T

        done = 0
        for count in self._each_chunk(changes.problems, score):
            done += count
            if progress:
                progress("edited passes", done, total)
        # Rows that write another answer, and those too close to call, run again in one shape, in which they come out
        # as they do beside any other rows.
        again = (changed | close).nonzero()[:, 0]
        for part in self._settled(changes, again):
            logprobs[part.pairs], margins[part.pairs] = part.logprobs, part.margins
            changed[part.pairs] = part.changed
            close[part.pairs] |= part.close
            for pair, answer in zip(part.pairs.tolist(), part.answers, strict=True):
                answers[pair] = answer
        scores = ArmScores(logprobs, tuple(answers), changed=changed, rerun=close, margins=margins, thoughts=thoughts)
        return _split_by_plan(plans, scores)

    def capture(self, plans: Sequence[ArmPlan], site: Site) -> list[Float[Tensor, "m d_model"]]:
        """What arrives at a later site under each plan, for the plan's rows; nothing behind it is run."""
        return self.capture_all(plans, [site], until=site)[site]

    @torch.no_grad()
    def capture_all(
        self, plans: Sequence[ArmPlan], sites: Sequence[Site], until: Site | None = None
    ) -> dict[Site, list[Float[Tensor, "m d_model"]]]:
        """What arrives at some later sites under each plan, for the plan's rows.

        Args:
            plans: the arms; all begin at this runner's site.
            sites: where to look.
            until: the last of them, behind which nothing is run; default all thoughts.
        """
        changes = changes_of(plans)
        shape = changes.sites[0].delta.shape  # [pairs, d_model]
        out = {site: torch.empty(shape, dtype=self._model.dtype, device=self._model.device) for site in sites}

        def keep(chunk: Chunk) -> None:
            recorder, placed = SiteRecorder(sites), self._start_of(chunk)
            changed = changes.of(chunk.pairs, placed.pairs)
            self._state(placed.rollout, placed.branches, changed, until, recorder)
            for site, values in out.items():
                values[placed.pairs] = recorder.captured[site]

        for _ in self._each_chunk(changes.problems, keep):
            pass
        return {site: list(values.split([len(plan.rows) for plan in plans])) for site, values in out.items()}

    def _each_chunk(self, problems: Int[Tensor, " pairs"], work: Callable[[Chunk], None]) -> Iterator[int]:
        """Do some work on all pairs, chunk by chunk.

        Where memory runs out the chunk is halved, and later ones are as small.

        Yields:
            how many pairs have been done.

        Raises:
            ConfigError: where not even a single row fits.
        """
        for waiting in self._work_lists(problems):
            chunks = self._cut(problems, waiting)
            while chunks:
                chunk = chunks[0]
                if _fits(partial(work, chunk)):
                    chunks = chunks[1:]
                    yield len(chunk.pairs)
                else:
                    # kept for later chunks: what did not fit once is not tried again
                    self._max_rows = _halve(len(chunk.pairs), self._model.device)
                    chunks = self._cut(problems, torch.cat([chunk.pairs for chunk in chunks]))

    def _work_lists(self, problems: Int[Tensor, " pairs"]) -> list[Tensor]:
        """Pairs whose chunks may be mixed: those of all batches that are kept; of each other batch, its own."""
        # one rollout that is not kept is at hand at a time, and asking for it twice means making it twice
        batch_of = self._clean.batch_of[problems]
        kept = torch.tensor([self._clean.rollouts.is_kept(i) for i in range(len(self._clean.batches))])
        together = kept[batch_of]
        lists = [together.nonzero()[:, 0]]
        lists += [(batch_of == index).nonzero()[:, 0] for index in batch_of[~together].unique().tolist()]
        return [pairs for pairs in lists if len(pairs)]

    def _cut(self, problems: Int[Tensor, " pairs"], waiting: Int[Tensor, " some"]) -> list[Chunk]:
        of = problems[waiting]
        most = MOST_PROBLEMS_GPU if self._model.device.type == "cuda" else MOST_PROBLEMS
        return cut_chunks(waiting, self._clean.batch_of[of], self._clean.row_of[of], self._max_rows, most)

    def _start_of(self, chunk: Chunk) -> _Placed:
        """The clean pass of a chunk's problems, and who goes on from it."""
        sizes = [len(chunk.pairs), *(len(part.rows) for part in chunk.parts)]
        # all numbers are carried to the device together: it is waited for at each tensor that is
        numbers = torch.cat([chunk.pairs, *(part.rows for part in chunk.parts)]).to(self._model.device)
        pairs, *rows = numbers.split(sizes)
        parts = [
            RolloutPart(self._clean.rollouts.at(part.batch), there, tuple(part.rows.tolist()))
            for part, there in zip(chunk.parts, rows, strict=True)
        ]
        if len(parts) == 1:
            # keys and values are read where they lie
            return _Placed(parts[0].rollout, Branches(parts[0].rows, chunk.each, parts[0].known), pairs)
        joined = join_rollouts(parts, self._resume_point.site.position, self._sites)
        everyone = torch.arange(len(joined.problem_ids), device=self._model.device)
        return _Placed(joined, Branches(everyone, chunk.each, tuple(range(len(everyone)))), pairs)

    @property
    def _sites(self) -> tuple[Site, ...]:
        """Where runs take clean activations from."""
        return () if self._resume_point.base is None else (self._resume_point.base,)

    def _state(
        self,
        rollout: Rollout,
        rows: Tensor | Branches,
        changes: Changes,
        until: Site | None = None,
        recorder: Recorder | None = None,
    ) -> ChainState:
        """The state after the last thought, or when the site `until` has been reached, with all changes made."""
        return self._resume_point.run_on(self._model, rollout, rows, changes.sites, until=until, recorder=recorder)

    def _verify(self, rollout: Rollout, state: ChainState, rows: Tensor, listed: Sequence[int]) -> Verified:
        """How rows stand to the clean answers; `listed` are the same rows, on the host, each at least once."""
        # Teacher forcing: the state predicts token 0 and each token fed predicts the next, so longest - 1 tokens give
        # longest predictions. Answers of a batch are filled up to the longest of all; these rows need not go so far.
        counted = rollout.decoded.counted
        longest = max(counted[row] for row in listed)
        logits = self._model.teacher_force(state, rollout.decoded.ids[rows, : longest - 1])
        return verify(logits, rollout.decoded, rows, self._tolerance)

    def _settled(self, changes: Changes, pairs: Int[Tensor, " again"]) -> Iterator["_Settled"]:
        """What rows write that run again in the canonical shape, chunk by chunk."""
        problems = changes.problems[pairs]
        # by batch, so that each rollout is asked for once where the budget does not keep them
        pairs = pairs[self._clean.batch_of[problems].argsort(stable=True)]
        canonical = CANONICAL_ROWS_GPU if self._model.device.type == "cuda" else CANONICAL_ROWS
        size = min(canonical, self._max_rows)
        while len(pairs):
            some = pairs[:size]
            found: list[_Settled] = []
            if _fits(partial(self._write_again, changes, some, size, found)):
                pairs = pairs[len(some) :]
                yield found[0]
            else:
                size = _halve(size, self._model.device)

    def _write_again(self, changes: Changes, pairs: Tensor, size: int, out: list["_Settled"]) -> None:
        """Some pairs in the canonical shape: always as many rows and slots, whatever else runs."""
        n = len(pairs)
        filled = torch.cat([pairs, pairs[-1:].expand(size - n)])
        rollout = self._joined(changes.problems[filled])
        rows = torch.arange(size, device=self._model.device)
        state = self._state(rollout, rows, changes.of(filled))
        found = self._verify(rollout, state, rows, range(size))
        # a pair of choices may round either way here as well, but always the same way
        found = Verified(*(getattr(found, field.name)[:n] for field in fields(Verified)))
        answers = [self._clean.outcomes[i].answer for i in changes.problems[pairs].tolist()]
        unsure, which = found.close.cpu().clone(), found.changed.nonzero()[:, 0]
        written, margins = decode_rows(self._model, state, which, rollout.decoded.ids[which])
        unsure[which.cpu()] |= (margins < self._tolerance).cpu()
        for row, answer in zip(which.tolist(), written, strict=True):
            answers[row] = answer
        out.append(
            _Settled(
                pairs=pairs,
                logprobs=found.logprobs.cpu(),
                margins=found.margins.cpu(),
                changed=found.changed.cpu(),
                answers=answers,
                close=unsure,
            )
        )

    def _joined(self, problems: Int[Tensor, " rows"]) -> Rollout:
        """The clean pass of some problems in a row, of whatever batches, as wide as the widest of all batches."""
        width = max(batch.ids.shape[1] for batch in self._clean.batches)
        indices, parts = self._clean.batch_of[problems], []
        for index in indices.unique_consecutive().tolist():
            rows = self._clean.row_of[problems[indices == index]]
            there = rows.to(self._model.device)
            parts.append(RolloutPart(self._clean.rollouts.at(index), there, tuple(rows.tolist())))
        # room for the positions behind, <eot> (and an eos), and an ordinary answer
        position = self._resume_point.site.position
        room = self._model.n_thoughts - position + 2 + ANSWER_ROOM
        joined = join_rollouts(parts, position, self._sites, width, room)
        # masks also where by chance nothing is padded: torch's other kernels round in another way
        joined.cache.padded = True
        return joined


def _fits(work: Callable[[], None]) -> bool:
    """Do the work; False where memory ran out."""
    try:
        work()
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


def settle_rounding(plan: ArmPlan, scores: ArmScores, clean: CleanPass, dtype: torch.dtype) -> ArmScores:
    """The scores with the clean log-probability and margin wherever theirs differ from these by mere rounding."""
    return replace(
        scores,
        logprobs=_settle(scores.logprobs, clean.logprobs, plan.rows, LOGPROB_TOLERANCE[dtype]),
        margins=_settle(scores.margins, clean.margins, plan.rows, MARGIN_TOLERANCE[dtype]),
    )


def _settle(
    values: Float[Tensor, " m"], clean: Float[Tensor, " n"], rows: Int[Tensor, " m"], tolerance: float
) -> Float[Tensor, " m"]:
    before = clean.cpu()[rows]
    return torch.where((values - before).abs() <= tolerance, before, values)


def _split_by_plan(plans: Sequence[ArmPlan], scores: ArmScores) -> list[ArmScores]:
    """The scores of all pairs, cut back into plans."""
    out, start = [], 0
    for plan in plans:
        # pairs are in the order of the plans, so each plan's are one stretch
        part = slice(start, start + len(plan.rows))
        out.append(ArmScores(*(_part_of(getattr(scores, field.name), part) for field in fields(ArmScores))))
        start = part.stop
    return out


def _part_of(values: Any, part: slice) -> Any:
    return None if values is None else values[part]
