"""Options that the commands of the SAE laboratory share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli._options import ModelOptions, whole

Captures = Annotated[Path | None, typer.Option(help="Folder of captures `train` and `held-out`, made where missing.")]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(ModelOptions):
    """By which recipe, and on what rows."""

    epochs: Annotated[
        int | None,
        typer.Option(
            parser=whole("--epochs", least=1), metavar="N", help="Passes over the rows.  [default: 25, or the recipe's]"
        ),
    ] = None
    products: Annotated[
        str | None,
        typer.Option(help="dtype of matrix products: float32, or bfloat16.  [default: float32, or the recipe's]"),
    ] = None
    recipe: Annotated[Path | None, typer.Option(help="JSON file with further fields of SAETrainingConfig.")] = None
    captures: Captures = None
    data: Annotated[str, typer.Option(help="Problems to train on.")] = "stories:sae"
    held_out: Annotated[str, typer.Option("--held-out", help="Problems to measure on.")] = "stories:validation"
