"""The rules by which the published reports call a feature specialized, kept as they are under their own name.

They stand here so that the published tables come out, feature by feature; what they are worth is measured elsewhere.
Two habits matter: an operation (or value) that *ties* with the maximum is dropped before one looks at the others, so a
feature that fires on problems with both + and x in 100% of cases is called an addition specialist; and a number is
looked for as a substring, so "12" is found in "120". `ties="counted"` is the same rule without the first habit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, TypeVar

from codi_int.errors import ConfigError
from codi_int.types import OPERATIONS, Number, Operation, Problem, Step

SpecializationType = Literal["general", "operation-specialized", "value-specialized", "highly-specialized"]
Ties = Literal["dropped", "counted"]
Name = TypeVar("Name", bound=str)

# the numbers that the reports looked for
PUBLISHED_VALUES = (12, 20, 30, 50, 100)
# one operation in more than 70% of the firing problems, the others below 30%; one value above 50%, the others below 20%
OPERATION_MINIMUM, OPERATION_OTHERS = 70, 30
VALUE_MINIMUM, VALUE_OTHERS = 50, 20
# a pattern is called from three of the top samples on
PATTERN_SAMPLES = 3
ROUND_NUMBERS = (100, 200, 500, 1000)
KEYWORDS = ("how many", "total", "sum", "difference", "product")
SYMBOLS: Mapping[Operation, str] = {"addition": "+", "subtraction": "-", "multiplication": "*", "division": "/"}
# two operations are also looked for as words
WORDS: Mapping[Operation, str] = {"multiplication": "multiply", "division": "divide"}


@dataclass(frozen=True)
class PublishedSpecialization:
    """What the published rule calls one feature, and by what."""

    type: SpecializationType
    """general, operation-, value- or highly-specialized (both)"""
    label: str
    """in the reports' words, such as `addition + number 100`; `mixed patterns` for a general feature"""
    operation: Operation | None
    """the operation, where the rule names one"""
    value: int | None
    """the number, where the rule names one"""
    n_active: int
    """problems that the shares are of; the reports print none"""


def published_specialization(
    operation_percent: Mapping[Operation, Number] | Any,
    value_count: Mapping[str, int] | Any,
    n_active: int,
    ties: Ties = "dropped",
) -> PublishedSpecialization:
    """What the rule of the published activation-pattern report makes of one feature.

    `operation_percent`: of the problems on which the feature fires, the percentage whose steps have the operation.
    `value_count`: number as text to how many of these problems contain it. `n_active`: how many problems these are.
    `ties="counted"` lets what ties with the maximum count among the others.

    Raises:
        ConfigError: something else than a mapping.
    """
    for name, given in (("operation_percent", operation_percent), ("value_count", value_count)):
        if not isinstance(given, Mapping):
            raise ConfigError(
                f"{name} maps names to numbers, got {given!r}.", 'Give {"addition": 80.0, ...} and {"12": 3, ...}.'
            )
    value_percent = {value: 100 * count / n_active for value, count in value_count.items()} if n_active else {}
    operation = _dominant(operation_percent, OPERATION_MINIMUM, OPERATION_OTHERS, ties=ties)
    value = _dominant(value_percent, VALUE_MINIMUM, VALUE_OTHERS, ties=ties)
    named = [name for name in (operation, f"number {value}" if value else None) if name]
    return PublishedSpecialization(
        type=_type_of(operation is not None, value is not None),
        label=" + ".join(named) or "mixed patterns",
        operation=operation,
        value=None if value is None else int(value),
        n_active=n_active,
    )


def _dominant(percent: Mapping[Name, Number], minimum: Number, others: Number, *, ties: Ties) -> Name | None:
    """The name whose percentage is above `minimum` while all others stay below `others`; None where there is none."""
    if not percent:
        return None
    # max takes the first of several that are equal, as the reports' list.index did
    best = max(percent, key=lambda name: percent[name])
    if ties == "dropped":
        rest = [share for share in percent.values() if share != percent[best]]
    else:
        rest = [share for name, share in percent.items() if name != best]
    return best if percent[best] > minimum and all(share < others for share in rest) else None


def _type_of(operation: bool, value: bool) -> SpecializationType:
    if operation and value:
        return "highly-specialized"
    if operation:
        return "operation-specialized"
    return "value-specialized" if value else "general"


def published_counts(problems: Sequence[Problem]) -> tuple[dict[Operation, float], dict[str, int]]:
    """`operation_percent` and `value_count` of `problems`, by the reports' way of counting.

    An operation counts once for each problem whose steps have it; a number counts where its digits occur anywhere in
    the written steps ("12" in `5*120=600`).
    """
    n = len(problems) or 1  # of no problems all shares are 0
    written = [step_text(problem.steps) for problem in problems]
    used = [{step.operation for step in problem.steps} for problem in problems]
    operations = {name: 100 * sum(name in names for names in used) / n for name in OPERATIONS}
    return operations, {str(value): sum(str(value) in text for text in written) for value in PUBLISHED_VALUES}


def step_text(steps: Sequence[Step]) -> str:
    """The steps as the reports print them: `20*3=60 | 60+5=65`."""
    return " | ".join(f"{s.left}{SYMBOLS[s.operation]}{s.right}={s.result}" for s in steps)


def published_patterns(top: Sequence[Problem]) -> tuple[str, ...]:
    """The pattern heuristics of the published report on layers: what at least three of a feature's top samples share.

    Operations by their symbol (two of them also by a word), round numbers, keywords of the question; all by substring.
    """
    written = [step_text(problem.steps) for problem in top]
    questions = [problem.question.lower() for problem in top]
    found: list[str] = []
    for operation in OPERATIONS:
        marks = [SYMBOLS[operation], *([WORDS[operation]] if operation in WORDS else [])]
        if sum(any(mark in text for mark in marks) for text in written) >= PATTERN_SAMPLES:
            found.append(operation)
    if sum(any(str(number) in text for number in ROUND_NUMBERS) for text in written) >= PATTERN_SAMPLES:
        found.append("round numbers")
    found += [word for word in KEYWORDS if sum(word in text for text in questions) >= PATTERN_SAMPLES]
    return tuple(found)


def published_swap_pairs(found: Mapping[int, PublishedSpecialization]) -> tuple[tuple[int, int], ...]:
    """The pairs of features that the reports would swap: two operation specialists of different operations.

    `found`: feature to what the rule calls it. Of several specialists of one operation the first stands for it.
    """
    first: dict[Operation, int] = {}
    for feature, verdict in found.items():
        if verdict.type == "operation-specialized" and verdict.operation is not None:
            first.setdefault(verdict.operation, feature)
    return tuple(combinations(first.values(), 2))
