"""`codi-int curve`: how accuracy falls when more and more features are taken out together."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli._signature import with_options


@dataclass(frozen=True, kw_only=True)
class CurveOptions(o.SiteOptions, o.RunOptions):
    """Which features go, and how many."""

    order: Annotated[
        str, typer.Option(help="What ranks the features: attribution, screen (takes a whole one) or frequency.")
    ] = "attribution"
    sizes: Annotated[
        tuple[int, ...],
        typer.Option("--n", metavar="N", help="How many to take out; repeat it.  [default: 1, 2, 4, ..., all]"),
        partial(o.whole_numbers, option="--n"),
    ] = ()
    draws: Annotated[int, typer.Option(parser=o.whole("--draws"), metavar="N", help="Random sets for each n.")] = 10


@with_options
def curve(options: CurveOptions) -> None:
    """Ablate the top n features of a site together, for growing n, against random sets of as many living features.

    Example: codi-int curve --layer 14 --n 1 --n 8 --n 64 --limit 300
    """
    from codi_int.cli._curve import print_curve

    print_curve(options)
