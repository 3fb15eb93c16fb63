"""Options that several commands take, and how their text becomes values."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from codi_int.errors import ConfigError, FeatureError

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


def number(option: str) -> Callable[[str | float], float]:
    """A parser for numbers."""

    def parse(text: str | float) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):  # float() reads "nan" and "inf", which would spread through every result
            raise ConfigError(f"{option} takes a number, got {text!r}.", f"Write {option} 5, for example.")
        return value

    return parse


def parse_features(texts: Sequence[str], option: str = "--feature") -> tuple[int, ...]:
    """`["449"]` or `["1,2", "3"]` as numbers; FeatureError for anything else."""
    words = [word for text in texts for word in text.split(",")]
    for word in words:
        if not re.fullmatch(r"\s*-?\d+\s*", word):
            raise FeatureError(
                f"{option} takes whole numbers from 0 upwards, got {word!r}.", f"Write {option} 449, or {option} 1,2,3."
            )
    return tuple(check_whole(option, word.strip()) for word in words)


def parse_factors(texts: Sequence[str], option: str = "--factor") -> tuple[float, ...]:
    """`["2", "5,10"]` as numbers; ConfigError for anything else, or for one of them twice."""
    values = tuple(number(option)(word) for text in texts for word in text.split(","))
    # a factor given twice would be tested twice, and Holm's adjustment would pay for the same edit again
    if len(set(values)) < len(values):
        raise ConfigError(f"{option} takes each number once, got {', '.join(f'{value:g}' for value in values)}.")
    return values


def whole_numbers(texts: Sequence[str], option: str) -> tuple[int, ...]:
    """`["14"]`, `["5,10", "20"]` or `["0-3"]` as numbers, in order and each once; ConfigError for the rest."""
    numbers: list[int] = []
    for word in (word.strip() for text in texts for word in text.split(",")):
        match = re.fullmatch(r"(-?\d+)(?:-(\d+))?", word)
        # no match becomes the empty range 1 to 0, so that one test below refuses both a slip and a range turned round
        ends = (match[1], match[2] or match[1]) if match else ("1", "0")
        first, last = (check_whole(option, end, most=MOST_SEED) for end in ends)
        # before the range is made: 0-999999999 is a slip of one digit, and its list would fill the memory
        if last - first >= MOST_VALUES:
            raise ConfigError(
                f"{option} {word} stands for {last - first + 1:,} numbers; it takes {MOST_VALUES:,} at most.",
                f"Write {option} 1-6, for example.",
            )
        if first > last:
            raise ConfigError(
                f"{option} takes whole numbers, got {word!r}.", f"Write {option} 3, {option} 1,2,3 or {option} 1-6."
            )
        numbers += range(first, last + 1)
    # each once and in the order given: a site that is asked for twice is run once
    return tuple(dict.fromkeys(numbers))


Layer = Annotated[int, typer.Option(parser=whole("--layer"), metavar="N", help="Block, counted from 0.")]
Position = Annotated[
    int, typer.Option(parser=whole("--position"), metavar="N", help="0 is the bot token, 1 to 6 are the thoughts.")
]
# These need a parser of the whole list, which Typer cannot do: `with_options` takes the third item of an Annotated.
Layers = Annotated[
    tuple[int, ...],
    typer.Option("--layer", metavar="N", help="Blocks; 14, or 0-15, or several times."),
    partial(whole_numbers, option="--layer"),
]
Positions = Annotated[
    tuple[int, ...],
    typer.Option("--position", metavar="N", help="0 is the bot token, 1 to 6 are the thoughts; 1-6, or several times."),
    partial(whole_numbers, option="--position"),
]
Sae = Annotated[str | None, typer.Option(help="A shipped SAE or a folder.  [default: the model's own at that site]")]
Data = Annotated[str, typer.Option(help="stories:validation, gsm8k:test, or a .jsonl file.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Out = Annotated[Path | None, typer.Option(help="Keep result, outcomes, figures and manifest in this folder.")]
Force = Annotated[bool, typer.Option("--force", help="Replace another run that --out holds.")]


# kw_only throughout: a subclass may add an option without a default to a class whose options all have one
@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """A model, problems for it, and how to print."""

    model: Annotated[str, typer.Option(help="A shipped model, a folder, or a hub name.")] = "codi-mini"
    data: Data = "stories:validation"
    limit: Annotated[
        int | None, typer.Option(parser=whole("--limit", least=1), metavar="N", help="Only the first so many problems.")
    ] = None
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu"
    as_json: Json = False


@dataclass(frozen=True, kw_only=True)
class KeptOptions(ModelOptions):
    """A run that can be kept."""

    out: Out = None
    force: Force = False


@dataclass(frozen=True, kw_only=True)
class RunOptions(KeptOptions):
    """A run that draws at random, too."""

    seed: Annotated[
        int, typer.Option(parser=whole("--seed", least=0, most=MOST_SEED), metavar="N", help="Of everything random.")
    ] = 0


@dataclass(frozen=True, kw_only=True)
class SiteOptions:
    """One site with its SAE."""

    layer: Layer
    position: Position = 3
    sae: Sae = None


@dataclass(frozen=True, kw_only=True)
class EditOptions(RunOptions):
    """How an edit reaches the model, and what stands beside it."""

    controls: Annotated[
        int,
        typer.Option(
            parser=whole("--controls", least=0), metavar="N", help="Matched random features that get the same edit."
        ),
    ] = 20
    directions: Annotated[
        int,
        typer.Option(
            parser=whole("--directions", least=0), metavar="N", help="Random directions that move as many as far."
        ),
    ] = 0
    neurons: Annotated[
        int,
        typer.Option(
            parser=whole("--neurons", least=0),
            metavar="N",
            help="Single neurons put to their mean, and the difference of means.",
        ),
    ] = 0
    splice: Annotated[str, typer.Option(help="add keeps the SAE's error, replace drops it.")] = "add"
    propagate: Annotated[
        str,
        typer.Option(help="By which path: both, cache, recurrence; split tells them apart."),
    ] = "both"


@dataclass(frozen=True, kw_only=True)
class InterventionOptions(SiteOptions, EditOptions):
    """An edit of features at one site."""
