"""Reading the answer out of a completion, and grading it: the one extractor and the one grader of the project."""

import re
from typing import Literal

from codi_int.data.steps import SIGN_OF, parse_steps, to_number, write_step
from codi_int.errors import ConfigError
from codi_int.types import Number

__all__ = [
    "ANSWER_RULES",
    "SIGN_OF",
    "AnswerRule",
    "extract_answer",
    "is_right",
    "parse_steps",
    "to_number",
    "write_step",
]

AnswerRule = Literal["after-phrase", "last"]
ANSWER_RULES: tuple[AnswerRule, ...] = ("after-phrase", "last")

RELATIVE_TOLERANCE = 1e-6
"""how far an answer may be from a true answer that is no whole number, as a share of the latter"""

_NUMBER = r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+"
_PHRASE = re.compile(rf"[Tt]he\s+answer\s+is\s*:?\s*[$€£]?\s*({_NUMBER})")


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


def is_right(given: Number | None, true: Number) -> bool:
    """Whether an answer is the true one: the only rule of being right in the project.

    A whole true answer is right only when equalled, however large it is: 1,234,568 is not 1,234,567. Any other may be
    missed by one millionth of itself, so that 0.333333 is 1/3.

    Args:
        given: what was answered; None, which is never right, where no number was.
        true: the true answer.
    """
    if given is None:
        return False
    if isinstance(true, int) or true.is_integer():
        return given == true
    # 0.333333 lies exactly one millionth of 1/3 below it; the last factor keeps rounding from deciding that case
    return abs(given - true) <= RELATIVE_TOLERANCE * abs(true) * (1 + 1e-9)
