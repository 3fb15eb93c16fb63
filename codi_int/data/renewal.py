"""A word problem with other numbers: the same story and the same calculations, worked out again.

A number of the question is renewed where it stands there once, is used in a step, is not also a step's result, and is
not said in other ways as well ("2 friends ... twice a week"); what the text says in words and what nobody wrote (7
days) stays. GSM8K's training problems become as many more as one likes, with other facts of arithmetic in each.
"""

import random
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from codi_int.data.reexecution import NumberRange, find_links, replace_values
from codi_int.data.steps import to_number
from codi_int.types import Number, Problem

NUMBER = re.compile(r"(?<![\w.,/])\d+(?![\w/]|[.,]\d)")
"""a whole number that is no part of a word, a decimal, a fraction or a longer number"""
SAID = {
    2: r"two|twice|doubl|half|halves|couple|pair|both|other",
    3: r"three|thrice|tripl|third",
    4: r"four|quarter",
    5: r"five|fifth",
    6: r"six",
    7: r"seven|week",
    8: r"eight",
    9: r"nine|ninth",
    10: r"ten|dime",
    12: r"twel|dozen|month|year|inch|feet|foot",
    20: r"twent|\bscore\b",
    24: r"hour|day",
    25: r"quarter",
    30: r"thirt|month",
    50: r"fift|half",
    52: r"week|year",
    60: r"minute|hour|second",
    100: r"%|percent|hundred|cent",
    1000: r"thousand|kilo|gram|liter|litre",
}
"""numbers that a text also says in other ways: where it does, a step may mean those"""
LARGEST = 10_000
"""largest number that a result may become: beyond it, arithmetic is copying digits"""
TRIES = 20
"""draws, after which a problem is left as it is"""


def renewable(problem: Problem) -> tuple[int, ...]:
    """The numbers of the question that can be given other values, in the order of the text."""
    if not problem.steps or problem.steps[-1].result != problem.answer:
        return ()
    written = Counter(to_number(found) for found in NUMBER.findall(problem.question))
    results = {step.result for step in problem.steps}
    used = {
        operand
        for step, link in zip(problem.steps, find_links(problem.steps), strict=True)
        for operand, source in ((step.left, link.left), (step.right, link.right))
        if source is None
    }
    # A number that the text does not have was worked out in somebody's head, from numbers that might be renewed.
    # Fractions come from percentages, which no step uses as they stand, so that they stay.
    if any(isinstance(n, int) and n > 1 and n not in written and not _is_said(n, problem.question) for n in used):
        return ()
    once = [n for n, count in written.items() if isinstance(n, int) and count == 1 and n > 1 and n in used - results]
    return tuple(n for n in once if not _is_said(n, problem.question))


def _is_said(number: Number, question: str) -> bool:
    """Whether the text says a number in another way than by its digits."""
    return number in SAID and re.search(SAID[int(number)], question, re.IGNORECASE) is not None


def renew(problem: Problem, seed: str) -> Problem | None:
    """The problem with other numbers of as many digits; None where no draw leaves all results whole and positive.

    Args:
        problem: with its steps, the last of which gives the answer.
        seed: what the draw depends on, besides the problem's id.
    """
    names = renewable(problem)
    generator = random.Random(f"{seed}:{problem.id}")
    for _ in range(TRIES if names else 0):
        drawn: dict[Number, Number] = {name: _draw(name, generator) for name in names}
        found = replace_values(problem.steps, drawn, NumberRange(whole=True, low=1, high=LARGEST))
        # a new number that an earlier step also results in would make that step its source when it is read again
        if found.steps and not set(drawn.values()) & {step.result for step in found.steps}:
            question = _rewritten(problem.question, drawn)
            return replace(problem, question=question, answer=found.steps[-1].result, steps=found.steps)
    return None


def _draw(number: int, generator: random.Random) -> int:
    """A number of as many digits, 2 at least."""
    low = 10 ** (len(str(number)) - 1)
    return generator.randint(max(2, low), 10 * low - 1)


def _rewritten(question: str, drawn: Mapping[Number, Number]) -> str:
    return NUMBER.sub(lambda found: str(drawn.get(to_number(found.group()), found.group())), question)
