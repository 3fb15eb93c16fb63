"""What can be said of a problem by its written steps: operations, patterns of operations, numbers, how many steps."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codi_int.types import OPERATIONS, Number, Problem

PropertyKind = Literal["operation", "operation of step", "pattern", "value", "n_steps", "result", "answer", "correct"]
TESTED_KINDS: tuple[PropertyKind, ...] = ("operation", "operation of step", "pattern", "value", "n_steps")
"""what the rule `tested` looks for"""
STEP_KINDS: tuple[PropertyKind, ...] = (*TESTED_KINDS, "result")
"""what is read off written steps"""


@dataclass(frozen=True, order=True)
class Property:
    """Something that holds of a problem or does not."""

    kind: PropertyKind
    """operation (of any step), operation of step i, pattern (of two steps in a row), value (a whole number that a step
    reads or gives), n_steps, result (of a step before the last), answer, correct"""
    name: str
    """`addition`, `step 2: addition`, `multiplication then addition`, `12`, `3 steps`, `right`"""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.kind in ("value", "result", "answer") else self.name


@dataclass(frozen=True, eq=False)
class PropertyTable:
    """Properties, and of which problems they hold."""

    properties: tuple[Property, ...]
    """in a fixed order: by kind, then operations in their order, numbers by size"""
    present: NDArray[np.bool_]
    """whether each property holds of each problem. [n, properties]"""

    def of_kinds(self, kinds: Iterable[PropertyKind]) -> "PropertyTable":
        """Only those of some kinds."""
        wanted = set(kinds)
        chosen = [i for i, one in enumerate(self.properties) if one.kind in wanted]
        return PropertyTable(tuple(self.properties[i] for i in chosen), self.present[:, chosen])


def read_properties(problems: Sequence[Problem], correct: NDArray[np.bool_] | None = None) -> PropertyTable:
    """Every property that holds of at least one of the problems.

    Args:
        problems: a problem without written steps has no property but its answer.
        correct: whether the model answers each right; None leaves that out.
    """
    found: list[set[Property]] = [set(_properties_of(problem)) for problem in problems]
    if correct is not None:
        for mine, right in zip(found, correct.tolist(), strict=True):
            mine.add(Property("correct", "right" if right else "wrong"))
    properties = tuple(sorted(set().union(*found), key=_order)) if found else ()
    place = {one: i for i, one in enumerate(properties)}
    present = np.zeros((len(problems), len(properties)), dtype=np.bool_)
    for row, mine in enumerate(found):
        present[row, [place[one] for one in mine]] = True
    return PropertyTable(properties, present)


def _properties_of(problem: Problem) -> Iterator[Property]:
    steps = problem.steps
    for number, step in enumerate(steps, 1):
        yield Property("operation", step.operation)
        yield Property("operation of step", f"step {number}: {step.operation}")
        for value in (step.left, step.right, step.result):
            if _is_whole(value):
                yield Property("value", str(int(value)))
        if number < len(steps) and _is_whole(step.result):
            yield Property("result", str(int(step.result)))
    for before, after in pairwise(steps):
        yield Property("pattern", f"{before.operation} then {after.operation}")
    if steps:
        yield Property("n_steps", f"{len(steps)} step{'s' if len(steps) > 1 else ''}")
    if _is_whole(problem.answer):
        yield Property("answer", str(int(problem.answer)))


def _is_whole(value: Number) -> bool:
    # NaN is the answer of a question whose true answer nobody knows; it and infinity are no numbers of a problem
    return value == value and abs(value) != float("inf") and value == int(value)


_KINDS: tuple[PropertyKind, ...] = (*STEP_KINDS, "answer", "correct")
_NUMBERED: dict[PropertyKind, Callable[[str], int]] = {
    "value": int,
    "result": int,
    "answer": int,
    "n_steps": lambda name: int(name.split()[0]),
    "operation of step": lambda name: int(name.split()[1].rstrip(":")),
}


def _order(one: Property) -> tuple[int, int, list[int], str]:
    """By kind; numbers by size, operations as they stand in `OPERATIONS`."""
    number = _NUMBERED[one.kind](one.name) if one.kind in _NUMBERED else 0
    words = [OPERATIONS.index(word) for word in one.name.split() if word in OPERATIONS]
    return _KINDS.index(one.kind), number, words, one.name
