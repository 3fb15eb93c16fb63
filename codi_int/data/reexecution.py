"""The steps of a written solution executed again with something changed: what the answer would have been.

Three changes are known: operations that trade places, values that stand in for others, and a step whose result is
another one. Everything after the change follows from it, because an operand that equals the result of an earlier step
is taken to be that result (a link). Other operands are numbers of the question.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from codi_int.data.steps import calculate_exactly
from codi_int.types import OPERATIONS, Number, Operation, Problem, Step

WhyNot = Literal["no steps", "not in the steps", "division by zero", "not a whole number", "outside the data's numbers"]


@dataclass(frozen=True)
class NumberRange:
    """The numbers that a data set holds; what lies outside is nothing that a model of it was taught to write."""

    whole: bool
    """whether all of them are whole"""
    low: Number
    """the smallest"""
    high: Number
    """the largest"""

    def objection(self, value: Number) -> WhyNot | None:
        """Why `value` is none of these numbers; None where it may be one."""
        if self.whole and not isinstance(value, int):
            return "not a whole number"
        return None if self.low <= value <= self.high else "outside the data's numbers"


@dataclass(frozen=True)
class Links:
    """Where the operands of one step come from."""

    left: int | None
    """the earlier step whose result the left operand is; None for a number of the question"""
    right: int | None
    """the same for the right operand"""
    n_ambiguous: int
    """operands that equal the results of two or more earlier steps, of which the latest is taken"""


@dataclass(frozen=True)
class Change:
    """What is different when steps are executed again."""

    operations: Mapping[Operation, Operation] = field(default_factory=dict)
    """operation -> the one that is done in its place"""
    values: Mapping[Number, Number] = field(default_factory=dict)
    """value -> the one that stands in its place: as an operand that is no link, and as the result of a step"""
    results: Mapping[int, Number] = field(default_factory=dict)
    """index of a step, from 0 -> its result, whatever its operands say"""


@dataclass(frozen=True)
class Reexecution:
    """Steps that were executed again."""

    steps: tuple[Step, ...]
    """as they are with the change; empty where they cannot be executed"""
    why_not: WhyNot | None
    """why they cannot; None where they can"""
    n_ambiguous: int
    """operands whose link was a choice; see `Links`"""

    @property
    def answer(self) -> Number | None:
        """The result of the last step."""
        return self.steps[-1].result if self.steps else None


def number_range(problems: Iterable[Problem]) -> NumberRange:
    """The range of all answers, operands and results of some problems (at least one)."""
    found = {n for p in problems for n in (p.answer, *(n for s in p.steps for n in (s.left, s.right, s.result)))}
    return NumberRange(all(isinstance(n, int) for n in found), min(found), max(found))


def find_links(steps: Sequence[Step]) -> tuple[Links, ...]:
    """Where the operands of each step come from: the latest earlier step whose result they equal, if any.

    Nothing in a written solution says so: a number of the question that happens to equal an earlier result is taken for
    a link, and two earlier steps of one result are told apart by their order alone. The second kind is counted.
    """
    out = []
    for i, step in enumerate(steps):
        # only steps before this one can be a source
        sources = [[j for j in range(i) if steps[j].result == operand] for operand in (step.left, step.right)]
        left, right = (found[-1] if found else None for found in sources)
        out.append(Links(left, right, sum(len(found) > 1 for found in sources)))
    return tuple(out)


def exchange_operation(
    steps: Sequence[Step], a: Operation, b: Operation, numbers: NumberRange | None = None
) -> Reexecution:
    """The steps with every `a` done as `b` and every `b` as `a`, and all that follows from it.

    Args:
        steps: the written solution.
        a: one operation.
        b: the other.
        numbers: the range that results must stay in; None for any.
    """
    return _changed(steps, Change(operations={a: b, b: a}), numbers)


def turn_operations(
    steps: Sequence[Step], into: Operation, only: Operation | None = None, numbers: NumberRange | None = None
) -> Reexecution:
    """The steps with every other operation done as `into`, and all that follows from it.

    Args:
        steps: the written solution.
        into: what is done.
        only: the one operation in whose place; None for all others.
        numbers: the range that results must stay in; None for any.
    """
    others = [operation for operation in OPERATIONS if operation != into and only in (None, operation)]
    return _changed(steps, Change(operations=dict.fromkeys(others, into)), numbers)


def replace_values(
    steps: Sequence[Step], values: Mapping[Number, Number], numbers: NumberRange | None = None
) -> Reexecution:
    """The steps with other values in place of some, and all that follows from it.

    A value is replaced where it is an operand that is no link (a number of the question) and where it is the result of
    a step; later steps take the new result. Links are not replaced themselves: they follow their step.

    Args:
        steps: the written solution.
        values: value -> the one in its place; `{12: 50, 50: 12}` exchanges two.
        numbers: the range that results must stay in; None for any.
    """
    return _changed(steps, Change(values=values), numbers)


def put_result(steps: Sequence[Step], index: int, result: Number, numbers: NumberRange | None = None) -> Reexecution:
    """The steps with another result of the step `index` (from 0), and all that follows from it.

    Unlike the others it may leave everything as it is: where the result is the old one, so is the answer.
    """
    if not 0 <= index < len(steps):
        return Reexecution((), "not in the steps" if steps else "no steps", 0)
    return execute(steps, Change(results={index: result}), numbers)


def execute(steps: Sequence[Step], change: Change, numbers: NumberRange | None = None) -> Reexecution:
    """The steps with a change. Steps that it does not reach keep their written result, rounded or not."""
    if not steps:
        return Reexecution((), "no steps", 0)
    links, done = find_links(steps), list[Step]()
    n_ambiguous = sum(link.n_ambiguous for link in links)
    for i, (step, link) in enumerate(zip(steps, links, strict=True)):
        left, right = _operand(step.left, link.left, done, change), _operand(step.right, link.right, done, change)
        operation = change.operations.get(step.operation, step.operation)
        result = _result(i, step, Step(left, operation, right, step.result), change)
        objection: WhyNot | None = "division by zero" if result is None else None
        if result is not None and numbers is not None:
            objection = numbers.objection(result)
        if result is None or objection:
            return Reexecution((), objection, n_ambiguous)
        done.append(Step(left, operation, right, result))
    return Reexecution(tuple(done), None, n_ambiguous)


def _changed(steps: Sequence[Step], change: Change, numbers: NumberRange | None) -> Reexecution:
    """As `execute`, where a change that reaches no step is no change."""
    found = execute(steps, change, numbers)
    if found.steps and found.steps == tuple(steps):
        return Reexecution((), "not in the steps", found.n_ambiguous)
    return found


def _operand(written: Number, link: int | None, done: Sequence[Step], change: Change) -> Number:
    return change.values.get(written, written) if link is None else done[link].result


def _result(index: int, written: Step, now: Step, change: Change) -> Number | None:
    """The result of a step whose operands and operation are those of `now`."""
    # a result that is set outright wins over a value that is replaced, and both over arithmetic
    if index in change.results:
        return change.results[index]
    if written.result in change.values:
        return change.values[written.result]
    # untouched steps keep what was written: solutions round, and exact arithmetic would change their answers
    return written.result if now == written else calculate_exactly(now.left, now.operation, now.right)
