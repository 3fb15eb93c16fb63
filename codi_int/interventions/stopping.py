"""When the answer is there: accuracy after each number of thoughts, tested between neighbours.

Every problem is answered after 0, 1, 2, ... thoughts. The answers are compared with the true one, with those after one
thought more, and with what the model answers in the end.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codi_int.data.answers import is_right
from codi_int.data.chains import cluster_problems
from codi_int.data.problems import ProblemsLike, as_problems, name_of_problems
from codi_int.errors import ConfigError
from codi_int.interventions.engine.environment import describe_environment
from codi_int.interventions.evidence.clusters import Clusters, read_clusters
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.flips import accuracy_by_cluster, count_changes
from codi_int.interventions.evidence.mean import estimate_means
from codi_int.interventions.evidence.shares import share_interval
from codi_int.model.early import answer_after_each
from codi_int.model.hooked import CodiModel
from codi_int.model.memory import fitting_batch_size
from codi_int.model.vocabulary import vocabulary_notes
from codi_int.notes import give
from codi_int.numeric import IntLike, as_whole
from codi_int.progress import Progress
from codi_int.records import Alias, Estimate, flatten
from codi_int.shown import Finding
from codi_int.types import OPERATIONS, Environment, Number, Operation, Problem

DRAWS = 9_999
"""of the bootstrap of a mean log-probability"""


@dataclass(frozen=True)
class StopRow:
    """The answers of some problems after some number of thoughts."""

    thoughts: int
    """how many"""
    steps: int | None
    """number of written steps of these problems; None for all problems and for those of an operation"""
    operation: Operation | None
    """operation that occurs among their steps; None for all problems and for those of a number of steps"""
    n: int
    """how many problems"""
    n_correct: int
    """right answers"""
    share: Estimate
    """share of right answers; Wilson's interval, by cluster"""
    n_settled: int | None
    """problems that answer, from here up to the model's own number of thoughts, what they answer there; None beyond"""
    n_lost: int
    """problems whose answer is wrong here and was right after fewer thoughts"""
    final: Estimate
    """mean log-probability, in nats, of what is answered after the model's own number of thoughts"""

    accuracy = Alias[float]("share.value")
    low = Alias[float]("share.low")
    high = Alias[float]("share.high")
    logprob = Alias[float]("final.value")
    logprob_low = Alias[float | None]("final.low")
    logprob_high = Alias[float | None]("final.high")

    columns = (
        *("thoughts", "steps", "operation", "n", "n_correct", "accuracy", "low", "high", "n_settled", "n_lost"),
        *("logprob", "logprob_low", "logprob_high"),
    )


@dataclass(frozen=True)
class StopChange:
    """What one thought more changes."""

    thoughts: int
    """with this thought, against one fewer"""
    steps: int | None
    """as in `StopRow`"""
    operation: Operation | None
    """as in `StopRow`"""
    n: int
    """how many problems"""
    n_broken: int
    """right before, wrong with it"""
    n_fixed: int
    """wrong before, right with it"""
    change: Estimate
    """of accuracy; exact sign flips by cluster, corrected (Holm) over every thought and group of problems"""

    estimate = Alias[float]("change.value")
    low = Alias[float]("change.low")
    high = Alias[float]("change.high")
    p_value = Alias[float | None]("change.p_value")
    p_adjusted = Alias[float | None]("change.p_adjusted")

    columns = (
        *("thoughts", "steps", "operation", "n", "n_broken", "n_fixed", "estimate", "low", "high"),
        *("p_value", "p_adjusted"),
    )


@dataclass(frozen=True)
class StopOutcome:
    """How one problem went after some number of thoughts."""

    problem_id: str
    """which problem"""
    thoughts: int
    """how many"""
    answer: Number | None
    """what was answered"""
    correct: bool
    """whether that is the true answer"""
    logprob: float
    """log-probability, in nats, of what is answered after the model's own number of thoughts"""


@dataclass(frozen=True, repr=False)
class EarlyStopping(Finding):
    """The answers of a model after each number of thoughts."""

    model: str
    """name of the model"""
    data: str
    """name of the problems"""
    n_problems: int
    """how many"""
    n_thoughts: int
    """the model's own number of thoughts; what is answered after it is the final answer"""
    most: int
    """the largest number of thoughts that was tried"""
    overall: tuple[StopRow, ...]
    """all problems, for each number of thoughts from 0"""
    rows: tuple[StopRow, ...]
    """by number of written steps"""
    by_operation: tuple[StopRow, ...]
    """by operation that occurs among the steps; a problem of several operations stands in several rows"""
    changes: tuple[StopChange, ...]
    """what each thought changes, in every group of problems: one family"""
    n_clusters: int
    """different calculations"""
    environment: Environment
    """versions, hashes, time"""
    notes: tuple[str, ...] = ()
    """what a reader should know besides: warnings, in words"""
    outcomes: tuple[StopOutcome, ...] = ()
    """problem by problem, all numbers of thoughts of one after the other"""

    schema = "codi-int/stop@1"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without the single problems."""
        return {"schema": self.schema, **flatten({f: v for f, v in vars(self).items() if f != "outcomes"})}

    @property
    def all_rows(self) -> tuple[StopRow, ...]:
        """Every group of problems, for every number of thoughts."""
        return (*self.overall, *self.rows, *self.by_operation)


@dataclass(frozen=True)
class _Answers:
    """What was answered; every array is [n, numbers of thoughts]."""

    correct: NDArray[np.bool_]
    settled: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    logprobs: NDArray[np.float64]
    own: int

    @property
    def counts(self) -> range:
        return range(self.correct.shape[1])


@dataclass(frozen=True)
class _Group:
    """Some of the problems."""

    steps: int | None
    operation: Operation | None
    chosen: NDArray[np.bool_]


def run_stop(
    model: CodiModel,
    problems: ProblemsLike,
    thoughts: IntLike = None,
    *,
    data: str | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> EarlyStopping:
    """Answer all problems after 0, 1, 2, ... thoughts and compare.

    Args:
        model: the model.
        problems: the problems.
        thoughts: the largest number of thoughts, from the model's own on; default the model's own.
        data: what to call the problems.
        batch_size: most problems of a batch; None takes what fits into memory, as `evaluate` does.
        seed: of the bootstrap.
        progress: called with (stage, done, total).

    Raises:
        ConfigError: for fewer thoughts than the model's own, more than some question leaves room for, or several
            problems of one and the same calculation.
    """
    started = time.perf_counter()
    problems = as_problems(problems)
    groups = read_clusters(cluster_problems(problems), len(problems))
    most = model.n_thoughts if thoughts is None else as_whole("thoughts", thoughts)
    if most < model.n_thoughts:
        raise ConfigError(
            f"thoughts is {most}; it takes whole numbers from {model.n_thoughts}, the model's own number.",
            "Fewer are tried in any case; ask for more, or leave it out.",
        )
    notes = vocabulary_notes(model, problems)
    give(notes)
    size = fitting_batch_size(model, problems) if batch_size is None else batch_size
    found = answer_after_each(model, problems, most, size, progress)
    answers = [[one.answer for one in row] for row in found.completions]
    read = _read(answers, problems, found.logprobs.double().cpu().numpy(), model.n_thoughts)
    several = list(_groups_of(problems))
    rows = [_rows(read, group, groups, seed) for group in several]
    return EarlyStopping(
        model=model.name,
        data=name_of_problems(problems, data),
        n_problems=len(problems),
        n_thoughts=model.n_thoughts,
        most=read.counts[-1],
        overall=tuple(rows[0]),
        rows=tuple(row for part in rows for row in part if row.steps is not None),
        by_operation=tuple(row for part in rows for row in part if row.operation is not None),
        changes=_changes(read, several, groups),
        n_clusters=groups.sizes.size,
        environment=describe_environment(model, [], problems, time.perf_counter() - started),
        notes=notes,
        outcomes=tuple(
            StopOutcome(
                problem_id=problem.id,
                thoughts=k,
                answer=answers[k][i],
                correct=bool(read.correct[i, k]),
                logprob=float(read.logprobs[i, k]),
            )
            for i, problem in enumerate(problems)
            for k in read.counts
        ),
    )


def _read(
    answers: Sequence[Sequence[Number | None]],
    problems: Sequence[Problem],
    logprobs: NDArray[np.float64],
    own: int,
) -> _Answers:
    """Which answers are right, the final ones, and wrong ones that were right before; `answers` [thoughts][problem]."""
    correct = np.array([[is_right(a, p.answer) for a, p in zip(row, problems, strict=True)] for row in answers]).T
    same = np.array([[a == final for a, final in zip(row, answers[own], strict=True)] for row in answers]).T
    # from the last thought back: settled after k where k and all that follow it up to the model's own number agree
    settled = np.zeros_like(correct)
    settled[:, : own + 1] = np.logical_and.accumulate(same[:, own::-1], axis=1)[:, ::-1]
    lost = ~correct & np.logical_or.accumulate(correct, axis=1)
    return _Answers(correct, settled, lost, logprobs, own)


def _groups_of(problems: Sequence[Problem]) -> Iterator[_Group]:
    """All problems, then by number of steps, then by operation; groups without a problem are left out."""
    steps = np.array([len(problem.steps) for problem in problems])
    yield _Group(None, None, np.ones(len(problems), dtype=np.bool_))
    for number in np.unique(steps).tolist():
        yield _Group(number, None, steps == number)
    for operation in OPERATIONS:
        chosen = np.array([any(step.operation == operation for step in problem.steps) for problem in problems])
        if chosen.any():
            yield _Group(None, operation, chosen)


def _rows(read: _Answers, group: _Group, clusters: Clusters, seed: int) -> list[StopRow]:
    """One group after each number of thoughts."""
    inner = clusters.within(group.chosen)
    correct, finals = read.correct[group.chosen], _mean_logprobs(read.logprobs[group.chosen], inner, seed)
    shares = [share_interval(correct[:, k], inner.codes) for k in read.counts]
    return [
        StopRow(
            thoughts=k,
            steps=group.steps,
            operation=group.operation,
            n=len(correct),
            n_correct=int(correct[:, k].sum()),
            share=Estimate(float(correct[:, k].mean()), shares[k].low, shares[k].high, method=shares[k].method),
            n_settled=int(read.settled[group.chosen, k].sum()) if k <= read.own else None,
            n_lost=int(read.lost[group.chosen, k].sum()),
            final=finals[k],
        )
        for k in read.counts
    ]


def _mean_logprobs(values: NDArray[np.float64], inner: Clusters, seed: int) -> list[Estimate]:
    if inner.sizes.size == 1:  # nothing to draw from: no interval
        return [Estimate(float(mean), None, None) for mean in values.mean(0)]
    found = estimate_means(values, clusters=inner.codes, seed=seed, draws=DRAWS)
    # the mean is described and not tested: whether it is 0 is no question
    return [Estimate(one.value, one.low, one.high, method=one.method) for one in found]


def _changes(read: _Answers, several: Sequence[_Group], clusters: Clusters) -> tuple[StopChange, ...]:
    """What each thought changes in each group, corrected over all of them."""
    made = []
    for group in several:
        inner, correct = clusters.within(group.chosen), read.correct[group.chosen].astype(np.float64)
        for k in read.counts[1:]:
            flips = correct[:, k] - correct[:, k - 1]
            counts = count_changes(flips)
            made.append(
                StopChange(
                    thoughts=k,
                    steps=group.steps,
                    operation=group.operation,
                    n=len(correct),
                    n_broken=counts.broken,
                    n_fixed=counts.fixed,
                    change=accuracy_by_cluster(flips, inner),
                )
            )
    adjusted = adjust([one.change.p_value for one in made])
    pairs = zip(made, adjusted, strict=True)
    return tuple(replace(one, change=replace(one.change, p_adjusted=p)) for one, p in pairs)
