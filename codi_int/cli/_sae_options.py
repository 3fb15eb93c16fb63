"""Options that the commands of the SAE laboratory share, and how their text becomes values."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from codi_int.errors import ConfigError

Layers = Annotated[list[str], typer.Option("--layer", metavar="N", help="Blocks; 14, or 0-15, or several times.")]
Positions = Annotated[
    list[str],
    typer.Option("--position", metavar="N", help="0 is the bot token, 1 to 6 are the thoughts; 1-6, or several times."),
]
Recipe = Annotated[Path | None, typer.Option(help="JSON file with further fields of SAETrainingConfig.")]
Captures = Annotated[Path | None, typer.Option(help="Folder of captures `train` and `held-out`, made where missing.")]
TrainData = Annotated[str, typer.Option(help="Problems to train on.")]
HeldOut = Annotated[str, typer.Option("--held-out", help="Problems to measure on.")]
Epochs = Annotated[
    int | None, typer.Option(metavar="N", help="Passes over the rows.  [default: 25, or the recipe's]", min=1)
]


def whole_numbers(texts: Sequence[str], option: str) -> tuple[int, ...]:
    """`["14"]`, `["5,10", "20"]` or `["0-3"]` as numbers, in order and each once; ConfigError for the rest."""
    numbers: list[int] = []
    for word in (word.strip() for text in texts for word in text.split(",")):
        match = re.fullmatch(r"(-?\d+)(?:-(\d+))?", word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise ConfigError(
                f"{option} takes whole numbers, got {word!r}.", f"Write {option} 3, {option} 1,2,3 or {option} 1-6."
            )
        numbers += range(first, last + 1)
    return tuple(dict.fromkeys(numbers))
