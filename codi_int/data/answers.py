"""Reading the answer out of a completion, and grading it: the one extractor and the one grader of the project."""

import math
import re
from fractions import Fraction
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

# possessive quantifiers (`*+`) keep a text of thousands of blanks from taking quadratic time
_PHRASE = re.compile(r"[Tt]he\s++answer\s++is\s*+:?\s*+")
_SIGN = r"[-\u2212\u2013+]?"
_WHOLE = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
# what may not follow, because then only a part of a number was read: 1,23 / 1.2.3 / 3/4/5 / 1e5 / 1 000 / 1'000 / 1_000
# and 3__, the hundreds of a story's number (`story_tokenizer`) of which nothing else was written
_GOES_ON = r"\d|__|[,._'\u2019]\d|\s*+/\s*+\d|\s++\d++/\d|[eE][-+]?\d|[ \u00a0\u2009\u202f]\d{3}(?!\d)|[¼-¾⅐-⅞⁄]"
_NUMBER = re.compile(
    rf"(?P<sign>{_SIGN})\s*+[$€£]?\s*+(?P<inner>{_SIGN})\s*+"
    rf"(?:(?:(?P<mixed>[0-9]+)\s++)?(?P<top>{_WHOLE})\s*+/\s*+(?P<bottom>{_WHOLE})"
    rf"|(?P<decimal>{_WHOLE}(?:\.[0-9]+)?|\.[0-9]+))(?!{_GOES_ON})"
)
_OFFICIAL = re.compile(r"-?\d+\.?\d*")
"""the pattern of the official CODI evaluation"""


def extract_answer(text: str, rule: str = "after-phrase") -> Number | None:
    """The number that a completion gives as its answer.

    Args:
        text: what the model wrote.
        rule: `after-phrase`: the number right after the first "The answer is:" that a number follows, with its sign,
            currency, thousands commas, as a decimal, a fraction or a mixed number; never a part of a number. `last`:
            the last number in the text by the official evaluation's pattern (commas dropped, then `-?\\d+\\.?\\d*`).

    Returns:
        The number, whole where it is; None where the text gives none or one that no float can hold.
    """
    if rule not in ANSWER_RULES:
        raise ConfigError(f"Answer rule {rule!r} does not exist.", f"Rules: {', '.join(ANSWER_RULES)}.")
    if rule == "last":
        # to the letter, errors included ("It is .5" is 5): published accuracies were made with it
        numbers = _OFFICIAL.findall(text.replace(",", ""))
        return _read_decimal(numbers[-1]) if numbers else None
    for phrase in _PHRASE.finditer(text):
        found = _NUMBER.match(text, phrase.end())
        if found:
            return _read_number(found)
        if re.match(r"\W{0,4}\d", text[phrase.end() : phrase.end() + 6]):
            return None  # a number that is not read whole
    return None


def _read_decimal(text: str) -> Number | None:
    """A decimal without commas; an int keeps all of its digits. None where a float would be infinite."""
    value = float(text)
    if not math.isfinite(value):
        return None
    whole, _, digits = text.partition(".")
    if digits.strip("0"):
        return value
    return int(whole or "0")


def _read_number(found: re.Match[str]) -> Number | None:
    """The value of a match of `_NUMBER`; None where it divides by zero, has two signs or no float can hold it."""
    signs = (found["sign"] + found["inner"]).replace("+", "")
    if len(signs) > 1:
        return None
    if found["decimal"]:
        value = _read_decimal(found["decimal"].replace(",", ""))
        return value if value is None or not signs else -value
    try:
        # exact until the end, so that 1/3 + 2 is the float nearest to 7/3
        exact = Fraction(int(found["top"].replace(",", "")), int(found["bottom"].replace(",", "")))
        exact += int(found["mixed"] or 0)
        near = float(exact)
    except (ZeroDivisionError, OverflowError, ValueError):
        return None
    value = exact.numerator if exact.denominator == 1 else near
    return -value if signs else value


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
    # 1e-6 of a large whole number is more than 1, and would make its neighbours right
    if isinstance(true, int) or true.is_integer():
        return given == true
    # 0.333333 lies exactly one millionth of 1/3 below it; the last factor keeps rounding from deciding that case
    return abs(given - true) <= RELATIVE_TOLERANCE * abs(true) * (1 + 1e-9)
