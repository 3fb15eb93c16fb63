"""One row of a data set as a problem, whatever its fields are called."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from codi_int.data.steps import parse_steps, to_number
from codi_int.errors import DataError
from codi_int.types import OPERATIONS, Number, Problem, Step


@dataclass(frozen=True)
class RowFormat:
    """Where one family of data sets keeps what."""

    name: str
    """what the family is called"""
    question: tuple[str, ...]
    """fields whose texts, joined, are the question"""
    answer: str
    """field of the answer"""
    solution: Callable[[Mapping[str, Any]], str]
    """the written solution with its `<<...>>` marks; empty where there is none"""
    also: tuple[str, ...] = ()
    """further fields that a row of this format has"""

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields that must be there."""
        return (*self.question, *self.also, self.answer)


def _field(name: str) -> Callable[[Mapping[str, Any]], str]:
    def text(row: Mapping[str, Any]) -> str:
        # a missing or odd solution costs the steps only; the problem can be asked without
        return row[name] if isinstance(row.get(name), str) else ""

    return text


def _equation(name: str, answer: str) -> Callable[[Mapping[str, Any]], str]:
    """`( 8.0 - 3.0 )` as a mark: SVAMP and MultiArith give an equation in place of a solution."""

    def text(row: Mapping[str, Any]) -> str:
        equation = _single(row.get(name))
        if not isinstance(equation, str) or not equation.strip():
            return ""
        inner = equation.strip().removeprefix("X=")
        # the outer brackets alone: `( 8.0 - 3.0 )` is a step of two operands, `(8 - 3) * (2 + 1)` keeps its own
        if inner.startswith("(") and inner.endswith(")") and "(" not in inner[1:]:
            inner = inner[1:-1]
        return f"<<{inner}={_single(row.get(answer))}>>"

    return text


CONTROL = re.compile(r"<\|[A-Za-z0-9_]+\|>|</?s>|<(?:bot|eot|pad|unk|bos|eos)>")
"""texts that tokenizers turn into one control token, which would end the question or begin the thoughts"""

# GSM8K-Aug stands before GSM8K, whose fields it has as well
FORMATS = (
    RowFormat("SVAMP", ("Body", "Question"), "Answer", _equation("Equation", "Answer")),
    RowFormat("GSM-Hard", ("input",), "target", lambda row: ""),
    RowFormat("MultiArith", ("question",), "final_ans", lambda row: ""),
    RowFormat("MultiArith", ("sQuestion",), "lSolutions", _equation("lEquations", "lSolutions")),
    RowFormat("GSM8K-Aug", ("question",), "answer", _field("cot"), also=("cot",)),
    RowFormat("GSM8K", ("question",), "answer", _field("answer")),
)
"""tried in order; the first whose fields are there"""


def problem_from_row(row: Any, default_id: str, where: str) -> Problem:
    """The problem that a row is.

    Args:
        row: the row; a mapping in one of `FORMATS`, or our own (question, answer as a number, steps).
        default_id: its id where it has none.
        where: what to call the place in an error.

    Raises:
        DataError: the row is no problem.
    """
    if not isinstance(row, Mapping):
        raise DataError(
            f"{where}: an object is wanted, not {type(row).__name__}.",
            'Give {"question": ..., "answer": ...} on every line.',
        )
    found = next((f for f in FORMATS if set(f.fields) <= set(row)), None)
    if found is None:
        missing = "question" if "question" not in row else "answer"
        raise DataError(
            f"{where}: the field {missing!r} is missing.",
            f"Fields there: {', '.join(map(str, row)) or 'none'}. Known: {known_formats()}.",
        )
    texts = [row[name] for name in found.question]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise DataError(
            f"{where}: '{found.question[0]}' must be a text that is not empty.",
            "Write the question out, or leave the line out.",
        )
    question = " ".join(text.strip() for text in texts)
    if control := CONTROL.search(question):
        raise DataError(
            f"{where}: the question holds {control[0]!r}, which a tokenizer reads as a control token.",
            "Take it out of the text.",
        )
    steps = _own_steps(row["steps"], where) if "steps" in row else parse_steps(found.solution(row))
    identity = next((row[name] for name in ("id", "ID") if row.get(name) is not None), default_id)
    if not isinstance(identity, str | int | float) or isinstance(identity, bool):
        raise DataError(
            f"{where}: 'id' must be a text or a number, not {type(identity).__name__}.",
            "Give every problem an id of its own, or none.",
        )
    answer = _answer(row[found.answer], found.answer, where)
    return Problem(id=str(identity), question=question, answer=answer, steps=steps)


def known_formats() -> str:
    """All formats in words, for errors."""
    return "; ".join(f"{f.name} ({', '.join(f.fields)})" for f in FORMATS)


def _answer(value: Any, field: str, where: str) -> Number:
    value = _single(value)
    if _is_number(value):
        return int(value) if float(value).is_integer() else value
    if isinstance(value, str):
        # GSM8K writes its answer behind the solution; the last mark counts
        final = value.rsplit("####", 1)[-1]
        try:
            number = to_number(re.sub(r"[$%\s]", "", final))
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    raise DataError(f"{where}: '{field}' gives no number.", "Write a number, or a solution that ends in '#### number'.")


def _is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of more than 308 digits
        return False


def _own_steps(rows: Any, where: str) -> tuple[Step, ...]:
    try:
        parts = [(left, operation, right, result) for left, operation, right, result in rows]
    except (TypeError, ValueError):
        raise DataError(
            f"{where}: 'steps' must be a list of [left, operation, right, result].",
            "Write [[3, \"addition\", 4, 7]], or leave 'steps' out.",
        ) from None
    for left, operation, right, result in parts:
        if operation not in OPERATIONS:
            raise DataError(
                f"{where}: 'steps' has the operation {operation!r}, which does not exist.",
                f"Operations: {', '.join(OPERATIONS)}.",
            )
        if not all(map(_is_number, (left, right, result))):
            raise DataError(
                f"{where}: 'steps' holds an operand or a result that is no number.",
                'Write numbers, such as [3, "addition", 4, 7].',
            )
    return tuple(Step(*part) for part in parts)


def _single(value: Any) -> Any:
    """The one item of a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
