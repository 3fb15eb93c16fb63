"""`codi-int lens`: what each thought says at each layer, for one problem or over a data set."""

from dataclasses import dataclass
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli._signature import with_options


@dataclass(frozen=True, kw_only=True)
class LensOptions(o.ModelOptions):
    """What to look into, and how deep."""

    question: Annotated[str | None, typer.Argument(help="One question to look into.")] = None
    problem: Annotated[
        int | None,
        typer.Option(parser=o.whole("--problem"), metavar="N", help="Look into this problem of the data, from 0."),
    ] = None
    top: Annotated[
        int | None,
        typer.Option(parser=o.whole("--top"), metavar="N", help="Top tokens.  [default: 3 for one problem, else 5]"),
    ] = None
    out: o.Out = None


@with_options
def lens(options: LensOptions) -> None:
    """Read each thought at each layer as a word: which results of the written steps does it say, and how often?

    With a question or --problem: the top tokens of that problem. Else: how often the results of the steps are among
    the top tokens, with 95% intervals and the share by chance; --out keeps lens.json, lens.png and lens.svg.

    Example: codi-int lens --problem 0
    """
    from codi_int.cli._console import print_json, stdout
    from codi_int.cli._lenses import look_into_one, look_over_all

    over_all = options.question is None and options.problem is None
    found = look_over_all(options) if over_all else look_into_one(options)
    if options.as_json:
        print_json(found.document)
    else:
        stdout().print(found.page)
