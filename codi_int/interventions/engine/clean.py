"""The clean pass: run once, kept, and the place from which every edited pass starts."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from codi_int.data.answers import is_right
from codi_int.data.chains import cluster_problems
from codi_int.errors import ConfigError, DataError
from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.later import Background, Held, make_background
from codi_int.interventions.engine.scored import ScoredArms
from codi_int.interventions.evidence.clusters import read_clusters
from codi_int.model.hooked import BATCH_SIZE, CodiModel
from codi_int.model.memory import bytes_per_slot
from codi_int.model.rollout import QuestionBatch, Rollout, usual_opening
from codi_int.model.vocabulary import vocabulary_notes
from codi_int.progress import Progress, rename_stage
from codi_int.types import Number, Outcome, Problem, Site

MEMORY_BUDGET = 2 * 1024**3
"""bytes of keys and values that a clean pass keeps on a CPU; what does not fit is computed again when it is needed, so
that a small budget costs time, and 0 keeps nothing"""
BATCH_SIZE_GPU = 512
"""problems of a batch of the clean pass on a GPU: each takes thousands of launches, whatever it holds"""
SHARE_OF_GPU = 1 / 2
"""of what is free on a GPU, how much of it is the budget where none is given"""
SHARES = 4
"""one part in so many of the memory budget is for the rows that run, the others are for what is kept"""


def usual_budget(device: torch.device) -> int:
    """The memory budget of an engine that is given none, in bytes."""
    if device.type != "cuda":
        return MEMORY_BUDGET
    return int(SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0])


def rows_within(model: CodiModel, budget: int, most: int) -> int:
    """How many rows may run together within a budget of bytes: a quarter of it is for their own keys and values.

    The rest is the clean pass's. A budget of 0 keeps none, and says nothing of the rows.

    Raises:
        ConfigError: for a budget that holds no row.
    """
    # of <bot>, the thoughts, and an answer with what stands before it
    row = bytes_per_slot(model) * (model.n_thoughts + 3 + model.config.max_new_tokens)
    if 0 < budget < SHARES * row:
        raise ConfigError(
            f"memory_budget is {budget:,} bytes; a single row of {model.name} takes {SHARES * row:,}.",
            f"Give at least {SHARES * row / 2**20:.1f} MiB (--memory), or 0 to keep nothing.",
        )
    return min(most, budget // (SHARES * row)) if budget else most


class RolloutCache:
    """The rollouts of a clean pass: keys and values kept while the budget lasts, made again where it did not."""

    def __init__(self, model: CodiModel, batches: Sequence[QuestionBatch], sites: tuple[Site, ...], budget: int):
        self._model, self._batches, self._sites = model, batches, sites
        self._left = budget
        self._kept: dict[int, Rollout] = {}
        self._without: dict[int, Rollout] = {}
        self._last: tuple[int, Rollout] | None = None

    @property
    def n_kept(self) -> int:
        """How many batches are kept."""
        return len(self._kept)

    def is_kept(self, index: int) -> bool:
        """Whether asking for a batch again costs nothing."""
        return index in self._kept

    def at(self, index: int) -> Rollout:
        """The rollout of one batch."""
        # First come, first kept, and nothing is thrown out: runs go round the batches in one order again and again,
        # where throwing out the least recently used would lose each batch just before it is needed.
        if index in self._kept:
            return self._kept[index]
        if self._last and self._last[0] == index:
            return self._last[1]
        self._last = None  # two that are not kept need not be there together
        rollout = self._made(index)
        # only the cache counts: it holds keys and values of all layers, beside which states and captures are small
        size = sum(t.nbytes for t in (*rollout.cache.keys, *rollout.cache.values))
        if size <= self._left:
            self._left -= size
            self._kept[index] = rollout
        else:
            # thoughts, captures and the answer stay, so that only the question and the thoughts are read again
            self._without[index] = replace(rollout, cache=self._model.stack.new_cache(0, 0))
            self._last = (index, rollout)
        return rollout

    def _made(self, index: int) -> Rollout:
        if index in self._without:
            return self._model.read_again(self._without[index])
        # the first batch shows how answers begin, and the others are read with that guess
        known = self._kept.get(0) or self._without.get(0)
        guess = () if known is None else usual_opening(known.completions)
        return self._model.rollout(self._batches[index], self._sites, guess)


@dataclass(frozen=True)
class CleanPass:
    """What the model does on some problems when nobody interferes, or with later positions held (`background`)."""

    problems: tuple[Problem, ...]
    """in the order given"""
    batches: tuple[QuestionBatch, ...]
    """the same problems, those of neighbouring lengths together"""
    rollouts: RolloutCache
    """their rollouts"""
    activations: dict[Site, Float[Tensor, "n d_model"]]
    """at every site asked for, in the order of the problems"""
    logprobs: Float[Tensor, " n"]
    """log-probability of each problem's answer, in nats"""
    margins: Float[Tensor, " n"]
    """logit of the answer's token minus the best other one, the smallest over its tokens"""
    outcomes: tuple[Outcome, ...]
    """one for each problem"""
    batch_of: Int[Tensor, " n"]
    """which batch holds a problem"""
    row_of: Int[Tensor, " n"]
    """in which row of it"""
    background: Background | None = None
    """later positions that were held while it ran, and are while edits run on it; None where nobody interfered"""

    @cached_property
    def clusters(self) -> NDArray[np.int64]:
        """Which cluster each problem belongs to: equal chains of calculations are one."""
        return cluster_problems(self.problems)


def run_clean(
    model: CodiModel,
    problems: Sequence[Problem],
    sites: Sequence[Site],
    budget: int = MEMORY_BUDGET,
    progress: Progress | None = None,
) -> CleanPass:
    """Run all problems once.

    Raises:
        DataError: for no problems at all, or two of one id.
        ConfigError: for several problems that all ask for one and the same calculations.
    """
    problems = tuple(problems)
    _check(problems)
    # before the work: no test could be made of them
    read_clusters(cluster_problems(problems), len(problems))
    batches = tuple(model.batches(problems, BATCH_SIZE_GPU if model.device.type == "cuda" else BATCH_SIZE))
    rollouts = RolloutCache(model, batches, tuple(sites), budget)
    batch_of, row_of = torch.empty(len(problems), dtype=torch.long), torch.empty(len(problems), dtype=torch.long)
    # in the model's dtype: an arm resumes from these very bits
    found = {site: torch.empty(len(problems), model.d_model, dtype=model.dtype, device=model.device) for site in sites}
    logprobs, margins = torch.empty(2, len(problems), device=model.device)
    outcomes: list[Outcome | None] = [None] * len(problems)
    done = 0
    # Batches group questions by length, so a batch's rows lie anywhere among the problems: everything is scattered back
    # by `batch.rows`, and (batch_of, row_of) leads from a problem to its rollout.
    for index, batch in enumerate(batches):
        rollout, rows = rollouts.at(index), list(batch.rows)
        batch_of[rows], row_of[rows] = index, torch.arange(len(rows))
        there = torch.tensor(rows, device=model.device)
        scores = torch.stack([rollout.decoded.total_logprob.float(), rollout.decoded.margins.amin(1).float()])
        logprobs[there], margins[there] = scores
        for site in sites:
            found[site][there] = rollout.captured[site]
        # read in one go: a GPU would be waited for at every number
        for row, completion, pair in zip(rows, rollout.completions, scores.T.tolist(), strict=True):
            outcomes[row] = make_outcome(problems[row], completion.answer, tuple(pair), touched=False)
        done += len(rows)
        if progress:
            progress("clean pass", done, len(problems))
    # every problem stands in one batch, so none is left None
    finished = tuple(outcome for outcome in outcomes if outcome is not None)
    return CleanPass(
        problems=problems,
        batches=batches,
        rollouts=rollouts,
        activations=found,
        logprobs=logprobs,
        margins=margins,
        outcomes=finished,
        batch_of=batch_of,
        row_of=row_of,
    )


class CleanPasses:
    """The last clean pass of a model, with what ran on it and is asked for again; several engines may share one."""

    def __init__(self, sites: Sequence[Site] = ()) -> None:
        """
        Args:
            sites: what every pass captures besides the sites it is asked for, so that a later engine at one of these
                finds it there.
        """
        self._sites = tuple(sites)
        self._pass: CleanPass | None = None
        self._key: Hashable = None
        self._arms = ScoredArms()
        self._backgrounds: dict[Held, Background] = {}
        self._words: tuple[tuple[Any, ...], tuple[str, ...]] | None = None
        self._held_under: Hashable = None

    def get(
        self,
        model: CodiModel,
        problems: Sequence[Problem],
        sites: Sequence[Site],
        budget: int,
        progress: Progress | None,
    ) -> CleanPass:
        """The last pass where it is the one asked for, else a new one in its place; errors are those of `run_clean`."""
        key = _key(model, problems, budget)
        if self._pass is None or self._key != key or not set(sites) <= set(self._pass.activations):
            self._pass = None  # the old pass and the new one need not fit into memory together
            self._arms = ScoredArms()
            self._pass = run_clean(model, problems, tuple(dict.fromkeys((*sites, *self._sites))), budget, progress)
            self._key = key
        return self._pass

    def held(
        self,
        model: CodiModel,
        problems: Sequence[Problem],
        sites: Sequence[Site],
        budget: int,
        held: Held,
        progress: Progress | None,
    ) -> CleanPass:
        """The pass with some later positions held; errors are those of `run_clean`.

        Held at their clean values they change nothing by themselves, so that is the ordinary pass. Held at their means
        they do, and the pass that has the means gives way to the one that runs with them.
        """
        if not held.sites:
            return self.get(model, problems, sites, budget, progress)
        key = _key(model, problems, budget)
        if self._held_under != key:
            self._held_under, self._backgrounds = key, {}
        found = self._backgrounds.get(held)
        if found is None or held.later == "clean":
            plain = self.get(model, problems, (*sites, *held.sites), budget, progress)
            if found is None:
                names, right = [one.id for one in plain.problems], sum(one.correct for one in plain.outcomes)
                found = make_background(model, held, plain.activations, names, right)
                self._backgrounds[held] = found
            if held.later == "clean":
                return replace(plain, background=found)
            del plain  # it need not fit into memory beside the next one
        with model.under(found.session):
            report = rename_stage(progress, "baseline pass")
            return replace(self.get(model, problems, sites, budget, report), background=found)

    def unknown_words(self, model: CodiModel, problems: tuple[Problem, ...]) -> tuple[str, ...]:
        """`vocabulary_notes`, for the last problems remembered: to read them takes as long as all statistics."""
        tokenizer = model.running_tokenizer
        # the object and how many words it knows, for more of them may be added to it
        key = (tokenizer, len(tokenizer), model.name, model.config.eos_id, problems)
        if self._words is None or self._words[0] != key:
            self._words = key, vocabulary_notes(model, problems)
        return self._words[1]

    def scored(
        self, plans: Sequence[ArmPlan], how: Hashable, score: Callable[[Sequence[ArmPlan]], Sequence[ArmScores]]
    ) -> list[ArmScores]:
        """Scores of arms on the last pass, remembered or found by `score`; see `ScoredArms`."""
        return self._arms.scores(plans, how, score)


def _key(model: CodiModel, problems: Sequence[Problem], budget: int) -> Hashable:
    # Hooks and weights belong to the key as problems do: a pass that was run inside `with model.hooks(...)`, or before
    # a weight was changed, is the clean arm of no later run.
    return (model.state_key(), tuple(problems), budget)


def make_outcome(problem: Problem, answer: Number | None, scores: tuple[float, float], touched: bool) -> Outcome:
    """How one problem went; `scores` are log-probability and margin of the clean answer."""
    logprob, margin = scores
    return Outcome(
        problem_id=problem.id,
        answer=answer,
        correct=is_right(answer, problem.answer),
        answer_logprob=logprob,
        touched=touched,
        answer_margin=margin,
    )


def _check(problems: tuple[Problem, ...]) -> None:
    if not problems:
        raise DataError("There are no problems to run.", "Give at least one.")
    # ids and not texts: outcomes of two arms are paired by problem, and hooks look rows up by id
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            raise DataError(f"Two problems have the id {problem.id!r}.", "Give every problem an id of its own.")
        seen.add(problem.id)
