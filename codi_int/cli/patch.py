"""`codi-int patch`: put a piece of one problem's thoughts into another's and see what becomes of the answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli._signature import with_options


@dataclass(frozen=True, kw_only=True)
class PatchOptions(o.RunOptions):
    """What moves from where, and what should come out."""

    what: Annotated[
        str, typer.Option(help="residual, thought (the whole vector that is fed next), or features of the SAE.")
    ] = "residual"
    features: Annotated[
        tuple[int, ...],
        typer.Option("--feature", help="With --what features: only these.  [default: all]"),
        o.parse_features,
    ] = ()
    layers: o.Layers = ()
    positions: o.Positions = (3,)
    pairs: Annotated[
        Path | None, typer.Option(help="A .jsonl or .csv file with the columns target and source (problem ids).")
    ] = None
    auto: Annotated[
        str | None, typer.Option(help="Find pairs whose results of --step are the same, different, or both in turn.")
    ] = None
    step: Annotated[
        int | None,
        typer.Option(parser=o.whole("--step"), metavar="N", help="The step, from 1, whose result is thought to move."),
    ] = None
    underpowered: Annotated[bool, typer.Option("--underpowered", help="Run even with too few problems.")] = False
    sae: o.Sae = None
    controls: Annotated[
        int,
        typer.Option(parser=o.whole("--controls"), metavar="N", help="Draws of random other problems as sources."),
    ] = 20


@with_options
def patch(options: PatchOptions) -> None:
    """Put a piece of one problem's thoughts into another's; with --step, say beforehand what should come out.

    Example: codi-int patch --what thought --position 1 --auto both --step 1
    """
    from codi_int.cli._patch import print_patch

    print_patch(options)
