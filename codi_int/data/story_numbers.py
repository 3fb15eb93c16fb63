"""The numbers of the stories: which operands an operation allows, and how likely each of them is."""

from functools import cache

from codi_int.data.story_kinds import SHORT, StoryKind
from codi_int.types import Operation

MAX_NUMBER = SHORT.max_number
"""of the stories that codi-mini reads"""


def calculate(left: int, operation: Operation, right: int, max_number: int = MAX_NUMBER) -> int | None:
    """The result, or None where it is no whole number from 0 to the largest."""
    if operation == "division":
        return left // right if right and left % right == 0 else None
    value = {"addition": left + right, "subtraction": left - right, "multiplication": left * right}[operation]
    return value if 0 <= value <= max_number else None


@cache
def choices(
    left: int, operation: Operation, rare: bool = False, kind: StoryKind = SHORT
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Right operands that `operation` allows after `left`, with their weights."""
    least = 2 if operation in ("multiplication", "division") else 1
    # times 1 and divided by 1 would be steps that calculate nothing
    right = tuple(n for n in kind.operands if n >= least and calculate(left, operation, n, kind.max_number) is not None)
    if rare and operation == "division":
        right = tuple(n for n in right if n != left)  # few rare numbers divide another, so most would divide themselves
    weights = number_weights(kind, rare)
    return right, tuple(weights[n] for n in right)


@cache
def opening_pairs(
    operation: Operation, rare: bool = False, kind: StoryKind = SHORT
) -> tuple[tuple[tuple[int, int], ...], tuple[float, ...]]:
    """Pairs of operands that can open a story, with their weights."""
    # weights of operands follow GSM8K's: the number of distinct facts is what training takes its time for
    pairs = [(a, b) for a in kind.operands if a > 1 for b in choices(a, operation, rare, kind)[0]]
    weights = number_weights(kind, rare)
    return tuple(pairs), tuple(weights[a] * weights[b] for a, b in pairs)


@cache
def number_weights(kind: StoryKind = SHORT, rare: bool = False) -> dict[int, float]:
    """The weight of each operand of a kind of stories."""
    return kind.weights(rare)


@cache
def cumulative(weights: tuple[float, ...]) -> tuple[float, ...]:
    """Running sums, which `random.choices` takes."""
    total, out = 0.0, []
    for weight in weights:
        total += weight
        out.append(total)
    return tuple(out)
