"""Reading the answer out of a completion: the one answer extractor of the project."""

import re
from typing import Literal

from codi_int.data.steps import SIGN_OF, parse_steps, to_number, write_step
from codi_int.errors import ConfigError
from codi_int.types import Number

__all__ = ["ANSWER_RULES", "SIGN_OF", "AnswerRule", "extract_answer", "parse_steps", "to_number", "write_step"]

AnswerRule = Literal["after-phrase", "last"]
ANSWER_RULES: tuple[AnswerRule, ...] = ("after-phrase", "last")

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
