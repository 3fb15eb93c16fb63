"""The numbers of the stories: which operands an operation allows, and how likely each of them is."""

from functools import cache

from codi_int.data import wordings as w
from codi_int.types import Operation

MAX_NUMBER = 99
NUMBERS = tuple(range(MAX_NUMBER + 1))
WEIGHTS = tuple(float(w.NUMBER_WEIGHTS.get(n, w.REST_WEIGHT)) for n in NUMBERS)
RARE_WEIGHTS = tuple(0.02 if n in w.NUMBER_WEIGHTS else 15.0 for n in NUMBERS)
"""the other way round: numbers that stories hardly ever use as operands"""


def calculate(left: int, operation: Operation, right: int) -> int | None:
    """The result, or None where it is no whole number from 0 to 99."""
    if operation == "division":
        return left // right if right and left % right == 0 else None
    value = {"addition": left + right, "subtraction": left - right, "multiplication": left * right}[operation]
    return value if 0 <= value <= MAX_NUMBER else None


@cache
def choices(left: int, operation: Operation, rare: bool = False) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Right operands that `operation` allows after `left`, with their weights."""
    least = 2 if operation in ("multiplication", "division") else 1
    # times 1 and divided by 1 would be steps that calculate nothing
    right = tuple(n for n in NUMBERS if n >= least and calculate(left, operation, n) is not None)
    if rare and operation == "division":
        right = tuple(n for n in right if n != left)  # few rare numbers divide another, so most would divide themselves
    weights = RARE_WEIGHTS if rare else WEIGHTS
    return right, tuple(weights[n] for n in right)


@cache
def opening_pairs(operation: Operation, rare: bool = False) -> tuple[tuple[tuple[int, int], ...], tuple[float, ...]]:
    """Pairs of operands that can open a story, with their weights."""
    # weights of operands follow GSM8K's: the number of distinct facts is what training takes its time for
    pairs = [(a, b) for a in NUMBERS if a > 1 for b in choices(a, operation, rare)[0]]
    weights = RARE_WEIGHTS if rare else WEIGHTS
    return tuple(pairs), tuple(weights[a] * weights[b] for a, b in pairs)


@cache
def cumulative(weights: tuple[float, ...]) -> tuple[float, ...]:
    total, out = 0.0, []
    for weight in weights:
        total += weight
        out.append(total)
    return tuple(out)
