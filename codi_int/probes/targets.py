"""What a probe is to read: `operation:1`, `result:2`, `n_steps`, ... as labels of problems, with its control task."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codi_int.errors import ConfigError
from codi_int.types import Number, Problem, Step

OF_A_STEP = ("operation", "result", "left", "right")
OF_A_PROBLEM = ("n_steps", "answer", "correct")
CLASSES = ("operation", "n_steps", "correct")
"""targets of few kinds; the others are numbers"""
WORDS = "operation:N, result:N, left:N, right:N (step N, from 1), n_steps, answer or correct"
IN_QUESTION = 0.5
"""share of problems whose question holds the target, from which on that is said"""
FEWEST = 20
"""problems that a probe is fitted to at least"""

Kind = Literal["classes", "numbers"]


@dataclass(frozen=True)
class Target:
    """A target by its parts."""

    name: str
    """such as `operation` or `n_steps`"""
    step: int | None
    """of which step, from 1; None for targets of the whole problem"""

    @property
    def kind(self) -> Kind:
        """`classes`, or `numbers`."""
        return "classes" if self.name in CLASSES else "numbers"

    @property
    def types(self) -> str:
        """What has one random label in the control task, in words."""
        if self.kind == "numbers":
            return "value"
        return f"left operand of step {self.step or 1}"

    def __str__(self) -> str:
        return self.name if self.step is None else f"{self.name}:{self.step}"


@dataclass(frozen=True)
class Labels:
    """A target on some problems."""

    target: Target
    """which"""
    rows: NDArray[np.int64]
    """places of the problems that have it, among those given. [n]"""
    values: NDArray[np.float64]
    """of each of these: the number, or the place of its class. [n]"""
    classes: tuple[str, ...]
    """names of the classes, sorted; empty for numbers"""
    types: tuple[Number, ...]
    """of each of these: what has one random label in the control task. [n]"""
    in_question: float
    """share of these whose question holds the number; 0 for classes"""

    def control(self, draw: int, seed: int) -> dict[Number, float]:
        """Labels that depend on nothing but the type: a random one for each.

        A probe that learns these as well as the target may have learnt types by heart. Labels are drawn from the
        target's own, so that both have the same distribution.

        Source: J. Hewitt and P. Liang, Designing and Interpreting Probes with Control Tasks, EMNLP 2019.
        """
        rng = np.random.default_rng([seed, draw])
        names = sorted(set(self.types))
        if not self.classes:
            # numbers: one value for another, so that no two types share theirs
            return dict(zip(names, rng.permutation(np.array(names, dtype=np.float64)).tolist(), strict=True))
        # class by class as often as the target has it, or a rare class could be missing
        share = np.bincount(self.values.astype(np.int64), minlength=len(self.classes)) / self.values.size
        whole = np.floor(share * len(names)).astype(int).clip(min=1)
        pool = np.repeat(np.arange(len(self.classes)), whole)[: len(names)]
        rest = rng.choice(len(self.classes), size=len(names) - pool.size, p=share)
        order = rng.permutation(np.concatenate([pool, rest]))
        return dict(zip(names, map(float, order.tolist()), strict=True))


def parse_target(text: str) -> Target:
    """The target that `text` names; ConfigError for all else."""
    match = re.fullmatch(r"(\w+?)(?::(\d{1,4}))?", text)
    name, step = match.groups() if match else ("", None)
    if name in OF_A_STEP and step is not None and int(step) >= 1:
        return Target(name, int(step))
    if name in OF_A_PROBLEM and step is None:
        return Target(name, None)
    raise ConfigError(f"Target {text} does not exist.", f"It is one of {WORDS}.")


def label_problems(
    target: Target, problems: Sequence[Problem], correct: Sequence[bool] | None = None, folds: int = 5
) -> Labels:
    """The target of every problem that has it.

    Args:
        target: which.
        problems: the problems.
        correct: whether each was answered rightly, for the target `correct`.
        folds: parts that are tested one after the other: every class has to be in each of them.

    Raises:
        ConfigError: for problems without such a step, too few of them, or a target that does not vary.
    """
    given = [(i, _value_of(target, problem, correct, i)) for i, problem in enumerate(problems)]
    pairs = [(i, value) for i, value in given if value is not None]
    _check_enough(target, problems, len(pairs))
    rows = np.array([i for i, _ in pairs], dtype=np.int64)
    chosen = [problems[i] for i in rows]
    types = tuple(_type_of(target, problem) for problem in chosen)
    if target.kind == "numbers":
        numbers = np.array([float(value) for _, value in pairs])
        if np.unique(numbers).size < 2:
            raise ConfigError(
                f"Target {target} is {numbers[0]:g} in all {numbers.size:,} problems: there is nothing to tell apart.",
                "Choose another target or other problems.",
            )
        inside = [_stands_in(problem, value) for problem, (_, value) in zip(chosen, pairs, strict=True)]
        return Labels(
            target=target,
            rows=rows,
            values=numbers,
            classes=(),
            types=types,
            in_question=float(np.mean(inside)),
        )
    words = [str(value) for _, value in pairs]
    classes = tuple(sorted(set(words)))
    _check_classes(target, words, classes, folds)
    places = np.array([classes.index(word) for word in words], dtype=np.float64)
    return Labels(target=target, rows=rows, values=places, classes=classes, types=types, in_question=0.0)


def question_note(labels: Labels) -> tuple[str, ...]:
    """That the target can be read off the question, where that is so."""
    if labels.in_question < IN_QUESTION:
        return ()
    share = f"{100 * labels.in_question:.1f}".removesuffix(".0")
    return (
        f"{labels.target} stands in the question of {share} % of the problems: what reads it may read the question, as "
        "the bag of its words beside it does.",
    )


def _value_of(target: Target, problem: Problem, correct: Sequence[bool] | None, place: int) -> Number | str | None:
    if target.name == "n_steps":
        return str(len(problem.steps)) if problem.steps else None
    if target.name == "answer":
        return problem.answer
    if target.name == "correct":
        assert correct is not None
        return "right" if correct[place] else "wrong"
    step = _step_of(target, problem)
    if step is None:
        return None
    value: Number | str = getattr(step, target.name)
    return value


def _step_of(target: Target, problem: Problem) -> Step | None:
    number = target.step or 1
    return problem.steps[number - 1] if len(problem.steps) >= number else None


def _type_of(target: Target, problem: Problem) -> Number:
    """What the control task gives one label: a value itself, or for classes a number that many problems share."""
    if target.kind == "numbers":
        value = _value_of(target, problem, None, 0)
        assert isinstance(value, int | float)
        return value
    step = _step_of(target, problem)
    return problem.answer if step is None else step.left


def _stands_in(problem: Problem, value: Number | str) -> bool:
    """Whether the number stands in the question as a word of its own."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.search(rf"(?<![\w.]){re.escape(text)}(?![\w]|\.\d)", problem.question) is not None


def _check_enough(target: Target, problems: Sequence[Problem], n: int) -> None:
    if n >= FEWEST:
        return
    most = max((len(problem.steps) for problem in problems), default=0)
    if target.name not in ("answer", "correct") and not most:
        raise ConfigError(
            f"Target {target} needs written steps, and none of the {len(problems):,} problems has any.",
            "Give problems with steps, or the target answer or correct.",
        )
    longest = f" (the longest has {most})" if target.step else ""
    raise ConfigError(
        f"{n:,} of {len(problems):,} problems have a target {target}{longest}; a probe takes {FEWEST} or more.",
        "Give more problems, or another target.",
    )


def _check_classes(target: Target, words: Sequence[str], classes: Sequence[str], folds: int) -> None:
    counts = {name: sum(word == name for word in words) for name in classes}
    rarest = min(counts, key=lambda name: counts[name])
    if len(classes) < 2:
        raise ConfigError(
            f"Target {target} is {rarest} in all {counts[rarest]:,} problems: there is nothing to tell apart.",
            "Choose another target or other problems.",
        )
    if counts[rarest] < 2 * folds:
        raise ConfigError(
            f"Class {rarest} of target {target} has {counts[rarest]:,} of {len(words):,} problems; each of {folds} "
            "folds needs two.",
            "Give more problems, fewer folds, or another target.",
        )
