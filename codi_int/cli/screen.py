"""`codi-int screen`: ablate every feature of some sites, one after the other; or pairs of features."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli._signature import with_options


@dataclass(frozen=True, kw_only=True)
class ScreenOptions(o.RunOptions):
    """What to ablate, in which order, and how much of it to show."""

    features: Annotated[
        tuple[int, ...], typer.Option("--feature", help="Only these features.  [default: all]"), o.parse_features
    ] = ()
    layers: o.Layers
    positions: o.Positions = (3,)
    pairs: Annotated[
        Path | None, typer.Option(help="Pairs of features instead, ablated together and alone: lines of 449,332.")
    ] = None
    order: Annotated[str, typer.Option(help="index, or attribution: those first that a gradient points at.")] = "index"
    steps: Annotated[
        int,
        typer.Option(parser=o.whole("--steps"), metavar="N", help="Of attribution: 1, or more to integrate gradients."),
    ] = 1
    top: Annotated[int, typer.Option(parser=o.whole("--top"), metavar="N", help="How many to show.")] = 20
    sae: Annotated[str | None, typer.Option(help="An SAE, or a folder with one for each site (L14.P3/).")] = None


@with_options
def screen(options: ScreenOptions) -> None:
    """Ablate every feature of one or more sites and rank the effects, with p-values corrected over all of them.

    Several layers and positions: every combination that has an SAE. --order attribution also says, at the end, how
    good that approximation was. With --out an interrupted screen goes on where it stopped.

    Example: codi-int screen --layer 14 --out runs/screen
    """
    from codi_int.cli._screen import print_screen

    print_screen(options)
