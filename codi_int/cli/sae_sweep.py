"""`codi-int sae sweep`: a grid of TopK SAEs."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli._sae_options import TrainingOptions
from codi_int.cli._signature import with_options


@dataclass(frozen=True, kw_only=True)
class SweepOptions(TrainingOptions):
    """The grid and where it goes."""

    out: Annotated[Path, typer.Option(help="Folder of SAEs, tables and figures.")]
    layers: o.Layers = (14,)
    positions: o.Positions = (3,)
    k: Annotated[
        tuple[int, ...],
        typer.Option("--k", metavar="N", help="Features kept per row."),
        partial(o.whole_numbers, option="--k"),
    ] = (5, 10, 20, 100)
    features: Annotated[
        tuple[int, ...],
        typer.Option(metavar="N", help="Sizes of the dictionary."),
        partial(o.whole_numbers, option="--features"),
    ] = (512, 1024, 2048)
    seeds: Annotated[
        tuple[int, ...],
        typer.Option("--seed", metavar="N", help="Of weights and order."),
        partial(o.whole_numbers, option="--seed"),
    ] = (0,)
    splice: Annotated[
        bool, typer.Option("--splice/--no-splice", help="Run the model with every SAE in place, too.")
    ] = False
    memory_gib: Annotated[float, typer.Option(parser=o.number("--memory-gib"), metavar="GIB", help="Per stack.")] = 4.0


@with_options
def sweep(options: SweepOptions) -> None:
    """Train and measure every combination of layers, positions, k, features and seeds; the default is a published grid.

    A stopped sweep goes on where it was, and a larger grid takes up a smaller one in the same folder.

    Example: codi-int sae sweep --k 5,10,20,100 --features 512,1024 --seed 0,1 --out runs/sweep
    """
    from codi_int.cli._sae_sweep import sweep_and_print

    sweep_and_print(options)
