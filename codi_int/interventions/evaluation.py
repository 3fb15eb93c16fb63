"""How well a model answers: accuracy with intervals, by number of steps and by operation."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from codi_int.data.answers import ANSWER_RULES, extract_answer, is_right
from codi_int.data.chains import cluster_problems
from codi_int.data.problems import name_of_problems
from codi_int.errors import ConfigError
from codi_int.interventions.dependence import mean_residuals, replace_thoughts
from codi_int.interventions.evidence.shares import share_interval
from codi_int.model.chain import PADDINGS, Padding
from codi_int.model.hooked import CodiModel
from codi_int.model.memory import answer_within_memory
from codi_int.model.vocabulary import vocabulary_notes
from codi_int.notes import give
from codi_int.progress import Progress, rename_stage
from codi_int.shown import Finding
from codi_int.types import OPERATIONS, Problem


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What is measured besides the accuracy, and by which rules. ConfigError for settings that cannot work."""

    replace: bool = False
    """also measure how much of the accuracy needs the thoughts, by replacing them with their mean"""
    written: bool = False
    """also measure the written chain, which models trained with a teacher in the same weights have"""
    padding: str = "masked"
    """see `CodiModel.think`"""
    rule: str | None = None
    """how a number is read from an answer; None takes the model's own rule"""
    batch_size: int | None = None
    """most problems of a batch; None takes what fits into memory"""

    def __post_init__(self) -> None:
        for name, value, known in (("padding", self.padding, PADDINGS), ("rule", self.rule, (None, *ANSWER_RULES))):
            if value not in known:
                raise ConfigError(
                    f"{name} is {value!r}; it does not exist.", f"It is one of {', '.join(filter(None, known))}."
                )
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(
                f"batch_size is {self.batch_size}; it must be at least 1.", "Leave it out to take what fits."
            )
        # The leak lets a problem's thoughts depend on the batch, and then the mean does too: another batch size would
        # be another replacement.
        if self.replace and self.padding != "masked":
            raise ConfigError(
                "Thoughts are replaced with masked padding only: with another one their means depend on the batches.",
                "Leave out one of --replace-thoughts and --padding.",
            )


@dataclass(frozen=True)
class AccuracyRow:
    """Accuracy on some of the problems."""

    group: str
    """which problems, such as `all`, `2 steps`, `multiplication`; or what was done to the thoughts"""
    n: int
    """how many"""
    n_correct: int
    """right answers"""
    accuracy: float
    """share of right answers"""
    low: float
    """lower end of Wilson's 95% interval, by cluster of equal chains of calculations"""
    high: float
    """upper end"""
    method: str = "Wilson"
    """the interval, and whether by cluster"""


@dataclass(frozen=True, repr=False)
class Evaluation(Finding):
    """How well a model answers some problems."""

    model: str
    """name of the model"""
    data: str
    """name of the problems"""
    overall: AccuracyRow
    """all problems"""
    by_steps: tuple[AccuracyRow, ...]
    """by number of written steps"""
    by_operation: tuple[AccuracyRow, ...]
    """by operation that occurs among the steps; a problem of several operations stands in several rows"""
    n_unanswered: int
    """answers without any number"""
    thoughts_replaced: tuple[AccuracyRow, ...] = ()
    """with the residuals of thoughts replaced by their mean over the problems: all of them, then each alone"""
    thoughts_replaced_by_steps: tuple[AccuracyRow, ...] = ()
    """with all thoughts replaced, by number of written steps"""
    written_chain: tuple[AccuracyRow, ...] = ()
    """through the written chain instead of the thoughts: all problems, then by number of written steps"""
    padding: str = "masked"
    """`masked`, or `official`: the published evaluation's leak"""
    rule: str = "after-phrase"
    """how a number was read from an answer"""
    batch_size: int | None = None
    """most problems of a batch"""
    n_halved: int = 0
    """how often a batch ran out of memory and was halved"""
    seconds: float | None = None
    """wall time of the answers through thoughts"""
    problems_per_second: float | None = None
    """throughput of the answers through thoughts"""
    notes: tuple[str, ...] = ()
    """what a reader should know besides: warnings, in words"""

    schema = "codi-int/evaluation@1"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": self.schema, **asdict(self)}


def evaluate(
    model: CodiModel,
    problems: Sequence[Problem],
    settings: EvaluationSettings | None = None,
    data: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Answer all problems through thoughts and count.

    Args:
        model: the model.
        problems: the problems.
        settings: what else to measure, and by which rules; default nothing else.
        data: what to call the problems.
        progress: called with (stage, done, total).

    Raises:
        ConfigError: a problem that does not fit into memory.
    """
    settings = settings or EvaluationSettings()
    rule = model.config.answer_rule if settings.rule is None else settings.rule
    # before the answers, which may take minutes
    notes = vocabulary_notes(model, problems)
    give(notes)
    run = answer_within_memory(model, problems, settings.batch_size, cast("Padding", settings.padding), progress)
    # Read again from the text: `completion.answer` was read by the model's own rule, and another may be asked for.
    answers = [extract_answer(completion.text, rule) for completion in run.completions]
    correct = [is_right(answer, p.answer) for answer, p in zip(answers, problems, strict=True)]
    clusters = cluster_problems(problems)
    # answers all problems n_thoughts + 1 times more, hence only where asked for
    every, split = _answer_replaced(model, problems, clusters, rule, progress) if settings.replace else ((), ())
    return Evaluation(
        model=model.name,
        data=name_of_problems(problems, data),
        overall=accuracy_row("all", correct, clusters),
        by_steps=_group_by_steps(problems, correct, clusters),
        by_operation=_group_by_operation(problems, correct, clusters),
        n_unanswered=sum(answer is None for answer in answers),
        thoughts_replaced=every,
        thoughts_replaced_by_steps=split,
        written_chain=_answer_by_chain(model, problems, clusters, rule, progress) if settings.written else (),
        padding=settings.padding,
        rule=rule,
        batch_size=run.batch_size,
        n_halved=run.n_halved,
        seconds=run.seconds,
        problems_per_second=run.problems_per_second,
        notes=notes,
    )


def accuracy_row(group: str, correct: Sequence[bool], clusters: NDArray[np.int64]) -> AccuracyRow:
    """The share of right answers with Wilson's interval by cluster; `clusters` has one label per answer."""
    # Wilson's and not p +- 1.96 SE: it does not shrink to a point at 0 or n of n, which small groups do reach.
    found = share_interval(np.array(correct), clusters)
    return AccuracyRow(
        group=group,
        n=len(correct),
        n_correct=sum(correct),
        accuracy=sum(correct) / len(correct),
        low=found.low,
        high=found.high,
        method=found.method,
    )


def _group_by_steps(
    problems: Sequence[Problem], correct: Sequence[bool], clusters: NDArray[np.int64]
) -> tuple[AccuracyRow, ...]:
    # by the number that were written, whatever number a model would need
    steps = np.array([len(problem.steps) for problem in problems])
    named = {0: "no written steps", 1: "1 step"}
    return tuple(_part(named.get(n, f"{n} steps"), steps == n, correct, clusters) for n in np.unique(steps).tolist())


def _group_by_operation(
    problems: Sequence[Problem], correct: Sequence[bool], clusters: NDArray[np.int64]
) -> tuple[AccuracyRow, ...]:
    uses = {
        operation: np.array([any(step.operation == operation for step in p.steps) for p in problems])
        for operation in OPERATIONS
    }
    return tuple(_part(name, members, correct, clusters) for name, members in uses.items() if members.any())


def _part(group: str, members: NDArray[np.bool_], correct: Sequence[bool], clusters: NDArray[np.int64]) -> AccuracyRow:
    """One row of some of the problems."""
    return accuracy_row(group, np.array(correct)[members].tolist(), clusters[members])


def _answer_by_chain(
    model: CodiModel,
    problems: Sequence[Problem],
    clusters: NDArray[np.int64],
    rule: str,
    progress: Progress | None,
) -> tuple[AccuracyRow, ...]:
    """Accuracy through the written chain, overall and by number of steps."""
    chains = model.write_chain(problems, progress=progress)
    pairs = zip(chains, problems, strict=True)
    correct = [is_right(extract_answer(chain.text, rule), p.answer) for chain, p in pairs]
    return accuracy_row("all", correct, clusters), *_group_by_steps(problems, correct, clusters)


def _answer_replaced(
    model: CodiModel,
    problems: Sequence[Problem],
    clusters: NDArray[np.int64],
    rule: str,
    progress: Progress | None,
) -> tuple[tuple[AccuracyRow, ...], tuple[AccuracyRow, ...]]:
    """Accuracy with all thoughts replaced and with each alone, and the former by number of steps."""
    # one capture for all the runs below; position 0 is the <bot> pass and no thought
    means, thoughts = mean_residuals(model, problems), range(1, model.n_thoughts + 1)
    rows: list[AccuracyRow] = []
    split: tuple[AccuracyRow, ...] = ()
    for positions in ([*thoughts], *([p] for p in thoughts)):
        name = "all thoughts replaced" if len(positions) > 1 else f"thought {positions[0]} replaced"
        done = replace_thoughts(
            model,
            problems,
            positions=positions,
            means=means,
            progress=rename_stage(progress, name),
            rule=rule,
        )
        rows.append(accuracy_row(name, done.correct, clusters))
        # kept from the first round, in which all thoughts are replaced
        split = split or _group_by_steps(problems, done.correct, clusters)
    return tuple(rows), split
