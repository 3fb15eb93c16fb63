"""Options that the commands of the SAE laboratory share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from codi_int.cli import _choices as c
from codi_int.cli import _complete
from codi_int.cli import _options as o

Captures = Annotated[
    Path | None,
    o.where(
        metavar="FOLDER", help="Folder of captures `train` and `held-out`, made where missing.  [default: in memory]"
    ),
]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(o.ModelOptions):
    """By which recipe, and on what rows."""

    epochs: Annotated[
        int | None,
        o.what(
            parser=o.whole("--epochs", least=1),
            metavar="N",
            help="Passes over the rows.  [default: 25, or the recipe's]",
        ),
    ] = None
    products: Annotated[
        c.CaptureType | None,
        o.what(help="dtype of matrix products.  [default: float32, or the recipe's]"),
    ] = None
    recipe: Annotated[
        Path | None,
        o.what(
            metavar="FILE", help="JSON file with further fields of SAETrainingConfig.  [default: the published recipe]"
        ),
    ] = None
    captures: Captures = None
    data: Annotated[str, o.where(metavar="NAME", help="Problems to train on.", autocompletion=_complete.data)] = (
        "stories:sae"
    )
    held_out: Annotated[
        str,
        o.where("--held-out", metavar="NAME", help="Problems to measure on.", autocompletion=_complete.data),
    ] = "stories:validation"
