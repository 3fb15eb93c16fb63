"""`codi-int map`: which layers and positions of the thoughts the answer needs."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli._signature import with_options


@dataclass(frozen=True, kw_only=True)
class MapOptions(o.RunOptions):
    """Which cells the map has, and what is replaced in each."""

    layers: Annotated[
        tuple[int, ...],
        typer.Option("--layer", metavar="N", help="Only these blocks: 14, or 8-15.  [default: all]"),
        partial(o.whole_numbers, option="--layer"),
    ] = ()
    positions: Annotated[
        tuple[int, ...],
        typer.Option("--position", metavar="N", help="Only these positions: 3, or 1-6.  [default: all]"),
        partial(o.whole_numbers, option="--position"),
    ] = ()
    thoughts: Annotated[
        bool | None,
        typer.Option("--thoughts/--no-thoughts", help="A row for the projected thoughts.  [default: without --layer]"),
    ] = None
    mode: Annotated[str, typer.Option(help="What takes a residual's place: mean (over the problems) or zero.")] = "mean"
    cumulative: Annotated[
        bool, typer.Option("--cumulative", help="Replace a position and all later ones together.")
    ] = False
    direction: Annotated[
        str, typer.Option(help="What --cumulative replaces: onwards, or upto for thoughts 1 to the position.")
    ] = "onwards"
    propagate: Annotated[
        str, typer.Option(help="By which path: both, cache, recurrence, or split to tell them apart.")
    ] = "both"


@with_options
def map_thoughts(options: MapOptions) -> None:
    """Replace the residual at each layer and position by its mean over the problems and see what becomes of answers.

    Every cell runs all problems: the whole map of codi-mini takes minutes, so try --limit 100 first.

    Example: codi-int map --layer 14 --position 3
    """
    from codi_int.cli._map import print_map

    print_map(options)
