"""Reading numbers out of text: the one answer extractor of the project, and the parser of `<<...>>` steps."""

import re
from typing import Literal

from codi_int.errors import ConfigError
from codi_int.types import Number, Operation, Step

AnswerRule = Literal["after-phrase", "last"]
ANSWER_RULES: tuple[AnswerRule, ...] = ("after-phrase", "last")

_NUMBER = r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+"
_PHRASE = re.compile(rf"[Tt]he\s+answer\s+is\s*:?\s*[$€£]?\s*({_NUMBER})")
_SIGNS: dict[str, Operation] = {
    "+": "addition",
    "-": "subtraction",
    "*": "multiplication",
    "x": "multiplication",
    "×": "multiplication",
    "/": "division",
    "÷": "division",
}
_MARK = re.compile(r"<<(.*?)>>", re.DOTALL)
_SIMPLE = re.compile(rf"\(?({_NUMBER})\)?([+\-*/x×÷])\(?({_NUMBER})\)?=({_NUMBER})")


def to_number(text: str) -> Number:
    """`"1,200"` -> 1200, `"0.5"` -> 0.5; ValueError where the text is no number."""
    plain = text.replace(",", "").strip()
    value = float(plain)
    return int(value) if value.is_integer() else value


def extract_answer(text: str, rule: str = "after-phrase") -> Number | None:
    """The number that a completion gives as its answer.

    Args:
        text: what the model wrote.
        rule: `after-phrase`: the first number right after "The answer is:"; `last`: the last number in the text, the
            rule of the published evaluation.

    Returns:
        The number, or None where the text gives none.
    """
    if rule not in ANSWER_RULES:
        raise ConfigError(f"Answer rule {rule!r} does not exist.", f"Rules: {', '.join(ANSWER_RULES)}.")
    if rule == "last":
        numbers = re.findall(_NUMBER, text)
        return to_number(numbers[-1]) if numbers else None
    match = _PHRASE.search(text)
    return to_number(match.group(1)) if match else None


def parse_steps(text: str) -> tuple[Step, ...]:
    """The simple calculations (`left sign right = result`) among the `<<...>>` marks of a written solution, in order.

    A mark that is no simple calculation (three operands, an equation, a typing error) gives no step.
    """
    steps = []
    for mark in _MARK.findall(text):
        match = _SIMPLE.fullmatch(re.sub(r"[\s$€£]", "", mark))
        if match:
            left, sign, right, result = match.groups()
            steps.append(Step(to_number(left), _SIGNS[sign], to_number(right), to_number(result)))
    return tuple(steps)


SIGN_OF: dict[Operation, str] = {"addition": "+", "subtraction": "-", "multiplication": "*", "division": "/"}


def write_step(step: Step) -> str:
    """`<<20*3=60>>`, the inverse of `parse_steps` for one step."""
    return f"<<{step.left}{SIGN_OF[step.operation]}{step.right}={step.result}>>"
