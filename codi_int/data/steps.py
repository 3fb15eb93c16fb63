"""The calculations in a written solution: the `<<20*3=60>>` marks, what each of them says and whether it is right.

Nothing is dropped: a mark is a step (two operands), an expression (several operations that have a value) or malformed,
and `report_steps` counts all three and keeps the text of what is malformed or wrong.
"""

import ast
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from codi_int.types import Number, Operation, Step

MarkKind = Literal["step", "expression", "malformed"]
Agreement = Literal["exact", "rounded", "wrong"]

SIGN_OF: dict[Operation, str] = {"addition": "+", "subtraction": "-", "multiplication": "*", "division": "/"}
_SIGNS: dict[str, Operation] = {sign: name for name, sign in SIGN_OF.items()}
_ARITHMETIC: dict[Operation, Callable[[Fraction, Fraction], Fraction]] = {
    "addition": operator.add,
    "subtraction": operator.sub,
    "multiplication": operator.mul,
    "division": operator.truediv,
}
_PYTHON: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: _ARITHMETIC["addition"],
    ast.Sub: _ARITHMETIC["subtraction"],
    ast.Mult: _ARITHMETIC["multiplication"],
    ast.Div: _ARITHMETIC["division"],
}
LONGEST = 200
"""characters of a mark; a longer one is no calculation but a bracket that was never closed"""

# starts at the beginning of a word only and never gives back what it read: linear however long the text
_UNPAIRED = re.compile(r"<<[^<>]*+|(?<![^<>\s])[^<>\s]*+>>")
_PLAIN = r"(?:\d[\d,]*(?:\.\d*)?|\.\d+)"
_OPERAND = rf"-?{_PLAIN}%?|-?{_PLAIN}/{_PLAIN}|\(-?{_PLAIN}%?\)|\(-?{_PLAIN}/{_PLAIN}\)"
_STEP = re.compile(rf"({_OPERAND})([+\-*/])({_OPERAND})")
_FRACTION = re.compile(rf"(-?)({_PLAIN})/({_PLAIN})")
_MIXED = re.compile(r"(?<![\d.,])(\d+)\s+(\d+)/(\d+)(?![\d.,])")
_ASCII = str.maketrans("×÷−–", "*/--")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


@dataclass(frozen=True)
class Mark:
    """One `<<...>>` of a written solution."""

    text: str
    """what stands between the brackets"""
    kind: MarkKind
    """what it is"""
    step: Step | None
    """the calculation, where it has two operands and gives its result to the last written digit"""
    agreement: Agreement | None
    """whether the result is right, right after rounding to its last written digit, or wrong; None where malformed"""


@dataclass(frozen=True)
class StepReport:
    """The marks of many written solutions."""

    n_problems: int
    """solutions"""
    n_without_marks: int
    """solutions without any mark"""
    n_marks: int
    """marks in all"""
    n_steps: int
    """marks of two operands"""
    n_expressions: int
    """marks of several operations"""
    n_exact: int
    """marks whose result is exactly right"""
    n_rounded: int
    """marks whose result is right after rounding"""
    malformed: tuple[str, ...]
    """marks that have no value, in order"""
    wrong: tuple[str, ...]
    """marks whose result is wrong, in order"""
    n_problems_parsed: int
    """solutions that have marks, all of which have a value"""
    n_problems_consistent: int
    """those of them whose results are all right, exactly or after rounding"""
    n_problems_exact: int
    """those of them whose results are all exactly right"""
    n_problems_simple: int
    """solutions that have marks, all of them steps of two operands with results that are right"""


def to_number(text: str) -> Number:
    """`"1,200"` -> 1200, `"0.5"` -> 0.5; ValueError where the text is no number."""
    plain = text.replace(",", "").strip()
    value = float(plain)
    return int(value) if value.is_integer() else value


def parse_steps(text: str) -> tuple[Step, ...]:
    """The simple calculations (`left sign right = result`) among the `<<...>>` marks of a written solution, in order.

    An operand may be a decimal, have thousands commas, be a percentage (`25%` is 0.25), or a fraction: one in
    parentheses, or a proper one (`60*2/3` is 60 times two thirds). A mark that is none (three operands, an equation, a
    typing error, a result that its arithmetic does not give) gives no step; `read_marks` tells what it is.
    """
    return tuple(mark.step for mark in read_marks(text) if mark.step is not None)


def calculate_exactly(left: Number, operation: Operation, right: Number) -> Number | None:
    """The result of one calculation without rounding, whole where it is; None for a division by zero."""
    if operation == "division" and right == 0:
        return None
    first, second = (Fraction(str(value)) for value in (left, right))
    return _plain(_ARITHMETIC[operation](first, second))


def write_step(step: Step) -> str:
    """`<<20*3=60>>`, the inverse of `parse_steps` for one step."""
    return f"<<{step.left}{SIGN_OF[step.operation]}{step.right}={step.result}>>"


def read_marks(text: str) -> tuple[Mark, ...]:
    """Every `<<...>>` of a written solution, in order; a bracket that is never closed is a malformed mark."""
    marks, around = [], []
    done = 0
    # by hand, not by `<<(.*?)>>`: that looks to the end of the text once for every bracket that is never closed
    while (start := text.find("<<", done)) >= 0 and (end := text.find(">>", start + 2)) >= 0:
        marks.append(_read(text[start + 2 : end]))
        around.append(text[done:start])
        done = end + 2
    around.append(text[done:])
    broken = _UNPAIRED.findall("".join(around))
    return (*marks, *(Mark(piece[:LONGEST], "malformed", None, None) for piece in broken))


def report_steps(texts: Iterable[str]) -> StepReport:
    """Count the marks of many written solutions and keep what is malformed or wrong."""
    solutions = [read_marks(text) for text in texts]
    marks = [mark for solution in solutions for mark in solution]
    parsed = [s for s in solutions if s and all(mark.kind != "malformed" for mark in s)]
    consistent = [s for s in parsed if all(mark.agreement != "wrong" for mark in s)]
    return StepReport(
        n_problems=len(solutions),
        n_without_marks=sum(not solution for solution in solutions),
        n_marks=len(marks),
        n_steps=sum(mark.kind == "step" for mark in marks),
        n_expressions=sum(mark.kind == "expression" for mark in marks),
        n_exact=sum(mark.agreement == "exact" for mark in marks),
        n_rounded=sum(mark.agreement == "rounded" for mark in marks),
        malformed=tuple(mark.text for mark in marks if mark.kind == "malformed"),
        wrong=tuple(mark.text for mark in marks if mark.agreement == "wrong"),
        n_problems_parsed=len(parsed),
        n_problems_consistent=len(consistent),
        n_problems_exact=sum(all(mark.agreement == "exact" for mark in s) for s in consistent),
        n_problems_simple=sum(all(mark.kind == "step" for mark in s) for s in consistent),
    )


def _read(text: str) -> Mark:
    if len(text) > LONGEST:
        return Mark(text, "malformed", None, None)
    # percent signs first as what they mean, then as a mere unit: <<25%*200=50>> and <<100%-20%=80%>>, <<100-20=80%>>
    readings = [_interpret(text, text)]
    if "%" in text and readings[0].agreement != "exact":
        readings.append(_interpret(text, text.replace("%", "")))
    order = ("exact", "rounded", "wrong", None)
    return min(readings, key=lambda mark: order.index(mark.agreement))


def _interpret(text: str, written: str) -> Mark:
    left, sign, right = _normal(written).rpartition("=")
    value, result = _value(left), _value(right)
    if not sign or value is None or result is None:
        return Mark(text, "malformed", None, None)
    agreement = _agreement(value, result, right)
    match = _STEP.fullmatch(left)
    operands = None if match is None else (_operand(match[1]), _operand(match[3]))
    if match is None or operands is None or None in operands:
        return Mark(text, "expression", None, agreement)
    first, second = operands
    assert first is not None
    assert second is not None
    # 1/2/4 matches as 1/(2/4): the two operands must have the value that the mark has, read from the left
    if (second == 0 and match[2] == "/") or _ARITHMETIC[_SIGNS[match[2]]](first, second) != value:
        return Mark(text, "expression", None, agreement)
    if agreement == "wrong":
        return Mark(text, "step", None, agreement)
    step = Step(_plain(first), _SIGNS[match[2]], _plain(second), _plain(result))
    return Mark(text, "step", step, agreement)


def _normal(text: str) -> str:
    """One way to write things: no blanks, currencies or thousands commas, ASCII signs, mixed numbers as sums."""
    text = _MIXED.sub(r"(\1+\2/\3)", text.strip())
    text = re.sub(r"[\s$€£]", "", text).translate(_ASCII)
    text = re.sub(r"(?<=[\d.)%])[xX](?=[\d.(])", "*", text)
    return _THOUSANDS.sub("", text)


def _operand(text: str) -> Fraction | None:
    """The value of an operand; None for a bare fraction that is not proper, which is a division of its own."""
    fraction = _FRACTION.fullmatch(text)
    if fraction is not None and Fraction(fraction[2]) >= Fraction(fraction[3]):
        return None
    return _value(text)


def _value(text: str) -> Fraction | None:
    """The exact value of an arithmetic expression; None where it is none or divides by nothing."""
    text = re.sub(rf"({_PLAIN})%", r"(\1/100)", text)
    if not re.fullmatch(r"[\d.+\-*/()]+", text):
        return None
    # leading zeros are no Python numbers
    text = re.sub(r"(?<![\d.])0+(?=\d)", "", text)
    try:
        return _evaluate(ast.parse(text, mode="eval").body, text)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _evaluate(node: ast.expr, source: str) -> Fraction:
    if isinstance(node, ast.BinOp) and type(node.op) in _PYTHON:
        return _PYTHON[type(node.op)](_evaluate(node.left, source), _evaluate(node.right, source))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _evaluate(node.operand, source)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Constant):
        return Fraction(str(ast.get_source_segment(source, node)).rstrip("."))
    raise ValueError(f"no arithmetic: {ast.dump(node)}")


def _agreement(value: Fraction, result: Fraction, written: str) -> Agreement:
    if value == result:
        return "exact"
    # half a unit of the last written digit; a percentage counts in hundredths
    digits = len(written.partition(".")[2].rstrip("%)")) if "/" not in written else 0
    unit = Fraction(1, 10**digits) / (100 if "%" in written else 1)
    return "rounded" if "/" not in written and 2 * abs(value - result) <= unit else "wrong"


def _plain(value: Fraction) -> Number:
    return int(value) if value.denominator == 1 else float(value)
