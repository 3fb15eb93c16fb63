"""How the text of an option becomes numbers: one, or a list with commas and ranges."""

import math
import re
from collections.abc import Callable, Sequence

from codi_int.errors import CodiError, ConfigError, FeatureError

LARGEST_BOUND = 0.5
MOST_COUNT = 10**9
"""largest count that an option takes; anything beyond is a slip of the pen, and some would fill the memory"""
MOST_SEED = 2**63 - 1
"""largest seed that torch and numpy both take"""
MOST_VALUES = 100_000
"""numbers that one range such as 0-15 may stand for"""


def whole(option: str, least: int | None = None, most: int = MOST_COUNT) -> Callable[[str | int], int]:
    """A parser for whole numbers from `least` to `most`; typer's own does not say what it got."""

    def parse(text: str | int) -> int:  # typer sends defaults through it, too
        # int() alone would read 1_000 and click's own message does not say what it got: so a pattern and our words
        if not re.fullmatch(r"\s*-?\d+\s*", str(text)):
            raise ConfigError(f"{option} takes a whole number, got {text!r}.", f"Write {option} 3, for example.")
        return check_whole(option, str(text).strip(), least, most)

    return parse


def check_whole(option: str, digits: str, least: int | None = None, most: int = MOST_COUNT) -> int:
    """The number that `digits` write, where it lies between `least` and `most`; ConfigError where it does not."""
    # by length first: Python itself refuses to read more than 4,300 digits, with an error that is not for users
    value = int(digits) if len(digits) <= 30 else None
    if value is None or value > most or (least is not None and value < least):
        got = digits if len(digits) <= 30 else f"a number of {len(digits):,} digits"
        allowed = f"at most {most:,}" if least is None else f"from {least:,} to {most:,}"
        raise ConfigError(f"{option} is {got}; it takes whole numbers {allowed}.", f"Write {option} 3, for example.")
    return value


def number(option: str, least: float | None = None, example: str = "5") -> Callable[[str | float], float]:
    """A parser for numbers, from `least` on where that is given; `example` is one that the option takes."""

    def parse(text: str | float) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):  # float() reads "nan" and "inf", which would spread through every result
            raise ConfigError(f"{option} takes a number, got {text!r}.", f"Write {option} {example}, for example.")
        if least is not None and value < least:
            raise ConfigError(
                f"{option} is {value:g}; it starts at {least:g}.", f"Write {option} {example}, for example."
            )
        return value

    return parse


def parse_bound(text: str | float) -> float:
    """The smallest change of accuracy that matters, a share."""
    value = number("--bound", example="0.005")(text)
    if not 0.0 < value <= LARGEST_BOUND:
        raise ConfigError(
            f"--bound is {value:g}; it is a share above 0 and at most {LARGEST_BOUND:g}.",
            "--bound 0.005 is half a point of accuracy.",
        )
    return value


def parse_clamp(text: str) -> str:
    """`2.5` or `p90`, as it was given; ConfigError for what is neither a number nor a percentile."""
    percentile = re.fullmatch(r"p(\d+(?:\.\d+)?)", text)
    if percentile and float(percentile[1]) <= 100.0:
        return text
    if percentile:
        raise ConfigError(f"--clamp {text} is no percentile: these end at p100.", "Write --clamp p90, or --clamp 2.5.")
    number("--clamp", example="2.5, or --clamp p90")(text)
    return text


def parse_features(texts: Sequence[str], option: str = "--feature") -> tuple[int, ...]:
    """`["449"]`, `["1,2", "3"]` or `["3-6"]` as numbers, each as often as it is given; FeatureError for the rest."""
    refusal = FeatureError(f"{option} takes whole numbers from 0 upwards", f"Write {option} 449, or {option} 3-6,9.")
    return tuple(value for word in _words(texts) for value in _range(word, option, refusal))


def parse_factors(texts: Sequence[str], option: str = "--factor") -> tuple[float, ...]:
    """`["2", "5,10"]` or `["2-4"]` as numbers; ConfigError for anything else, or for one of them twice."""
    values: list[float] = []
    for word in _words(texts):
        # a range counts in whole steps; -3 is a number, and 2-4 is none
        span = re.fullmatch(r"\d+-\d+", word)
        refusal = ConfigError(f"{option} takes numbers", f"Write {option} 2, or {option} 2,5,10.")
        values += map(float, _range(word, option, refusal)) if span else [number(option)(word)]
    # a factor given twice would be tested twice, and Holm's adjustment would pay for the same edit again
    if len(set(values)) < len(values):
        raise ConfigError(
            f"{option} takes each number once, got {', '.join(f'{value:g}' for value in values)}.",
            f"Write {option} 2,5,10, for example.",
        )
    return tuple(values)


def whole_numbers(texts: Sequence[str], option: str) -> tuple[int, ...]:
    """`["14"]`, `["5,10", "20"]` or `["0-3"]` as numbers, in order and each once; ConfigError for the rest."""
    remedy = f"Write {option} 3, {option} 1,2,3 or {option} 1-6."
    refusal = ConfigError(f"{option} takes whole numbers", remedy)
    # each once and in the order given: a site that is asked for twice is run once
    return tuple(dict.fromkeys(value for word in _words(texts) for value in _range(word, option, refusal)))


def _words(texts: Sequence[str]) -> list[str]:
    return [word.strip() for text in texts for word in text.split(",")]


def _range(word: str, option: str, refusal: CodiError) -> range:
    """The numbers that `7` or `3-6` stands for; `refusal`, with the word in it, where it is neither."""
    match = re.fullmatch(r"(-?\d+)(?:-(\d+))?", word)
    # no match becomes the empty range 1 to 0, which a test below refuses
    ends = (match[1], match[2] or match[1]) if match else ("1", "0")
    first, last = (check_whole(option, end, most=MOST_SEED) for end in ends)
    # before the range is made: 0-999999999 is a slip of one digit, and its list would fill the memory
    if last - first >= MOST_VALUES:
        raise ConfigError(
            f"{option} {word} stands for {last - first + 1:,} numbers; it takes {MOST_VALUES:,} at most.",
            f"Write {option} 1-6, for example.",
        )
    if match and first > last:
        raise type(refusal)(f"{option} {word} runs downwards.", f"Write {option} {last}-{first}.")
    if first > last:
        raise type(refusal)(f"{refusal.rule}, got {word!r}.", refusal.remedy)
    return range(first, last + 1)
