"""Options that the commands of the SAE laboratory share, and how their text becomes values."""

from pathlib import Path
from typing import Annotated

import typer

Recipe = Annotated[Path | None, typer.Option(help="JSON file with further fields of SAETrainingConfig.")]
Captures = Annotated[Path | None, typer.Option(help="Folder of captures `train` and `held-out`, made where missing.")]
TrainData = Annotated[str, typer.Option(help="Problems to train on.")]
HeldOut = Annotated[str, typer.Option("--held-out", help="Problems to measure on.")]
Epochs = Annotated[
    int | None, typer.Option(metavar="N", help="Passes over the rows.  [default: 25, or the recipe's]", min=1)
]
