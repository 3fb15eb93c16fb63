"""`codi-int sae train`: one SAE at one site."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli._sae_options import TrainingOptions
from codi_int.cli._signature import with_options


@dataclass(frozen=True, kw_only=True)
class TrainOptions(TrainingOptions):
    """One SAE; None wherever the recipe decides."""

    out: Annotated[Path, typer.Option(help="Folder of the SAE, in SAELens' format.")]
    k: Annotated[
        int | None,
        typer.Option(parser=o.whole("--k"), metavar="N", help="Features kept per row, where the architecture takes k."),
    ] = None
    layer: o.Layer = 14
    position: o.Position = 3
    features: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Size of the dictionary; auto grows it with k.  [default: 512, or the recipe's]"
        ),
    ] = None
    architecture: Annotated[
        str | None,
        typer.Option(
            help="topk, batchtopk, matryoshka, jumprelu, gated or standard.  [default: topk, or the recipe's]"
        ),
    ] = None
    rule: Annotated[
        str | None,
        typer.Option(help="abs keeps magnitudes with their sign, relu the largest values.  [default: abs]"),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(
            parser=o.whole("--seed"), metavar="N", help="Of weights and order.  [default: 0, or the recipe's]"
        ),
    ] = None


@with_options
def train(options: TrainOptions) -> None:
    """Train an SAE at one site, by the published recipe unless told otherwise, and measure it on held-out problems.

    Example: codi-int sae train --k 16 --out runs/sae
    """
    from codi_int.cli._sae_train import train_and_print

    train_and_print(options)
