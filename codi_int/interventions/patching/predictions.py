"""What an intervention should do to the answers, said before it is done.

A claim such as "addition and subtraction trade places" is carried out on the written steps of every problem; the answer
that comes out is what the model should write if the claim holds. Only problems whose predicted answer differs from the
true one can tell the claim from "nothing happens": they are the informative ones.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

from codi_int.data.answers import is_right
from codi_int.data.reexecution import (
    NumberRange,
    Reexecution,
    exchange_operation,
    number_range,
    put_result,
    replace_values,
    turn_operations,
)
from codi_int.data.steps import to_number
from codi_int.errors import ConfigError
from codi_int.types import OPERATIONS, Number, Operation, Problem, Step

NO_SOURCE, OTHER_END, UNASKED = "no source", "steps do not end in the answer", "no step named"


@runtime_checkable
class Claim(Protocol):
    """What a prediction follows from."""

    @property
    def label(self) -> str:
        """The claim in words."""

    def carry_out(self, steps: Sequence[Step], numbers: NumberRange) -> Reexecution:
        """The steps as they would be if the claim holds."""


@dataclass(frozen=True)
class ExchangeOperations:
    """Two operations trade places."""

    a: Operation
    """one of them"""
    b: Operation
    """the other"""

    @property
    def label(self) -> str:
        """The claim in words."""
        return f"{self.a} and {self.b} trade places"

    def carry_out(self, steps: Sequence[Step], numbers: NumberRange) -> Reexecution:
        """The steps with the operations exchanged."""
        return exchange_operation(steps, self.a, self.b, numbers)


@dataclass(frozen=True)
class ExchangeValues:
    """Two values trade places, as a swap of two features does it: in both directions."""

    a: Number
    """one of them"""
    b: Number
    """the other"""

    @property
    def label(self) -> str:
        """The claim in words."""
        return f"{self.a} and {self.b} trade places"

    def carry_out(self, steps: Sequence[Step], numbers: NumberRange) -> Reexecution:
        """The steps with the values exchanged."""
        # one mapping for both directions at once; two passes would turn a into b and back
        return replace_values(steps, {self.a: self.b, self.b: self.a}, numbers)


@dataclass(frozen=True)
class TurnOperations:
    """Steps are carried out as one operation: what a feature of it would do that fires where it is not meant to."""

    into: Operation
    """the operation"""
    only: Operation | None = None
    """the one in whose place; None for all others"""

    @property
    def label(self) -> str:
        """The claim in words."""
        return f"{self.only or 'every other operation'} becomes {self.into}"

    def carry_out(self, steps: Sequence[Step], numbers: NumberRange) -> Reexecution:
        """The steps with the operation in the others' place."""
        return turn_operations(steps, self.into, self.only, numbers)


@dataclass(frozen=True)
class TurnValue:
    """A value takes another one's place, or the answer's."""

    into: Number
    """the value"""
    only: Number | None = None
    """the one in whose place, wherever it stands in the steps; None for the answer alone"""

    @property
    def label(self) -> str:
        """The claim in words."""
        return f"{'the answer' if self.only is None else self.only} becomes {self.into}"

    def carry_out(self, steps: Sequence[Step], numbers: NumberRange) -> Reexecution:
        """The steps with the value in its new place."""
        if self.only is None:
            return put_result(steps, len(steps) - 1, self.into, numbers)
        return replace_values(steps, {self.only: self.into}, numbers)


@dataclass(frozen=True)
class Prediction:
    """What should become of one problem."""

    problem_id: str
    """which problem"""
    answer: Number | None
    """what the model should answer; None where nothing is predicted"""
    informative: bool
    """whether that differs from the true answer"""
    why_not: str | None
    """why nothing is predicted; None where something is"""
    ambiguous: bool
    """whether some operand could have been the result of either of two earlier steps"""
    source_id: str | None = None
    """the problem that the value comes from, for a patch"""
    source_answer: Number | None = None
    """that problem's own answer: what a model that merely copies would write"""


@dataclass(frozen=True)
class Predictions:
    """What should become of all problems of a run."""

    claim: str
    """what it follows from, in words"""
    rows: tuple[Prediction, ...]
    """one for each problem, in their order"""

    @property
    def n_informative(self) -> int:
        """Problems whose prediction differs from the true answer."""
        return sum(row.informative for row in self.rows)

    @property
    def not_predicted(self) -> dict[str, int]:
        """Reason -> problems without a prediction."""
        # most frequent first; None is a prediction and no reason
        return dict(Counter(row.why_not for row in self.rows if row.why_not).most_common())


def parse_claim(text: str) -> ExchangeOperations | ExchangeValues:
    """`addition:subtraction` or `value:12:50` as a claim.

    Raises:
        ConfigError: for anything else.
    """
    first, _, second = text.partition(":")
    if first == "value":
        return _parse_values(text, second)
    if first not in OPERATIONS or second not in OPERATIONS:
        raise ConfigError(
            f"{text!r} is no prediction.",
            f"Write two of {', '.join(OPERATIONS)}, as in addition:subtraction, or two values, as in value:12:50.",
        )
    # the label would read well and the prediction would be the true answer everywhere
    if first == second:
        raise ConfigError(f"{text!r} exchanges {first} with itself.", "Name two different operations.")
    return ExchangeOperations(first, second)


def parse_pull(text: str) -> TurnOperations | TurnValue:
    """`multiplication`, `addition:multiplication`, `value:12` or `value:50:12` as a claim of what is pulled where.

    Raises:
        ConfigError: for anything else.
    """
    words = text.split(":")
    if words[0] == "value":
        if len(words) == 2:
            return TurnValue(_number(text, words[1]))
        values = _parse_values(text, text.partition(":")[2])
        return TurnValue(into=values.b, only=values.a)
    *only, into = words
    if len(only) > 1 or any(word not in OPERATIONS for word in words):
        raise ConfigError(
            f"{text!r} is no prediction.",
            f"Write one of {', '.join(OPERATIONS)} (every other becomes it), two as in addition:multiplication, or a "
            "value, as in value:12 (the answer becomes it) or value:50:12.",
        )
    if only == [into]:
        raise ConfigError(f"{text!r} turns {into} into itself.", "Name two different operations, or one.")
    return TurnOperations(cast(Operation, into), cast(Operation, only[0]) if only else None)


def _number(text: str, word: str) -> Number:
    try:
        value = to_number(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{text!r} names something that is no number.", "Write one, as in value:12.")
    return value


def predict_answers(claim: Claim, problems: Sequence[Problem]) -> Predictions:
    """What a claim predicts for every problem.

    Results must stay among the numbers that the problems hold (between the smallest and the largest, whole where all of
    them are); where they do not, nothing is predicted.

    Raises:
        ConfigError: where the prediction differs from the true answer on no problem at all.
    """
    # What no problem of the data holds (a fraction, a number far too large) was never taught, so that such an answer
    # would miss for reasons of its own.
    numbers = number_range(problems)
    rows = tuple(_make_prediction(problem, claim.carry_out(problem.steps, numbers)) for problem in problems)
    return _check_supported(Predictions(claim.label, rows))


def predict_patch(problems: Sequence[Problem], sources: Sequence[int], step: int) -> Predictions:
    """What every problem should answer if its result of one step were that of its source.

    Args:
        problems: of the run.
        sources: for each problem the row of its source, or -1.
        step: which step, counted from 1.
    """
    numbers = number_range(problems)
    claim = f"the result of step {step} is the source's"
    rows = tuple(
        patched_prediction(problem, problems[source], step, numbers)
        if source >= 0
        else Prediction(problem.id, answer=None, informative=False, why_not=NO_SOURCE, ambiguous=False)
        for problem, source in zip(problems, sources, strict=True)
    )
    return Predictions(claim, rows)


def name_sources(problems: Sequence[Problem], sources: Sequence[int]) -> Predictions:
    """Sources and targets with nothing predicted: for a patch of which nobody says what it moves."""
    rows = (
        Prediction(
            problem_id=problem.id,
            answer=None,
            informative=False,
            why_not=UNASKED,
            ambiguous=False,
            source_id=problems[source].id,
            source_answer=problems[source].answer,
        )
        if source >= 0
        else Prediction(problem.id, answer=None, informative=False, why_not=NO_SOURCE, ambiguous=False)
        for problem, source in zip(problems, sources, strict=True)
    )
    return Predictions("nothing", tuple(rows))


def patched_prediction(target: Problem, source: Problem, step: int, numbers: NumberRange) -> Prediction:
    """What `target` should answer with the result that `source` has in the same step (from 1)."""
    if len(source.steps) < step:
        # the source is too short to have this step: the reason is its own, and the target's steps are not looked at
        again = Reexecution((), "not in the steps", 0)
    else:
        # `step` counts from 1 as people do, indices from 0. Later steps that use the result follow; see `reexecution`.
        again = put_result(target.steps, step - 1, source.steps[step - 1].result, numbers)
    return _make_prediction(target, again, source)


def _make_prediction(problem: Problem, again: Reexecution, source: Problem | None = None) -> Prediction:
    why_not: str | None = again.why_not
    # Where the written steps do not lead to the true answer, executing them again predicts nothing about it. This
    # outranks the reason of the execution itself.
    if problem.steps and not is_right(problem.steps[-1].result, problem.answer):
        why_not = OTHER_END
    answer = None if why_not else again.answer
    # by `is_right`, like every comparison of answers: 0.333333 is no prediction that differs from 1/3
    informative = answer is not None and not is_right(answer, problem.answer)
    identity, theirs = (source.id, source.answer) if source else (None, None)
    return Prediction(
        problem_id=problem.id,
        answer=answer,
        informative=informative,
        why_not=why_not,
        ambiguous=again.n_ambiguous > 0,
        source_id=identity,
        source_answer=theirs,
    )


def _check_supported(predictions: Predictions) -> Predictions:
    """The predictions; ConfigError where none of them could be seen."""
    if predictions.n_informative:
        return predictions
    reasons = dict(predictions.not_predicted)
    # predicted, and yet nothing to see: a reason of its own, which `not_predicted` does not hold
    same = sum(row.answer is not None for row in predictions.rows)
    if same:
        reasons["answer stays the same"] = same
    why = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
    raise ConfigError(
        f"No problem supports the prediction that {predictions.claim}: {why} of {len(predictions.rows):,}.",
        "Predict something that changes an answer, or take other problems (--data, a larger --limit).",
    )


def _parse_values(text: str, values: str) -> ExchangeValues:
    if not re.fullmatch(r"[^:]+:[^:]+", values):
        raise ConfigError(f"{text!r} is no prediction.", "Write two values, as in value:12:50.")
    try:
        a, b = (to_number(word) for word in values.split(":"))
    except ValueError:
        # NaN fails the check below, so that words and infinities share one message
        a = b = math.nan
    if not (math.isfinite(a) and math.isfinite(b)):
        raise ConfigError(f"{text!r} names something that is no number.", "Write two, as in value:12:50.")
    if a == b:
        raise ConfigError(f"{text!r} exchanges a value with itself.", "Name two different values.")
    return ExchangeValues(a, b)
