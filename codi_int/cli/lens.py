"""`codi-int lens`: what each thought says at each layer, for one problem or over a data set."""

from typing import Annotated

import typer

from codi_int.cli import _options as o


def lens(
    question: Annotated[str | None, typer.Argument(help="One question to look into.")] = None,
    problem: Annotated[
        int | None,
        typer.Option(parser=o.whole("--problem"), metavar="N", help="Look into this problem of the data, from 0."),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(parser=o.whole("--top"), metavar="N", help="Top tokens.  [default: 3 for one problem, else 5]"),
    ] = None,
    model: o.Model = "codi-mini",
    data: o.Data = "stories:validation",
    limit: o.Limit = None,
    device: o.Device = "cpu",
    as_json: o.Json = False,
    out: o.Out = None,
) -> None:
    """Read each thought at each layer as a word: which results of the written steps does it say, and how often?

    With a question or --problem: the top tokens of that problem. Else: how often the results of the steps are among
    the top tokens, with 95% intervals and the share by chance; --out keeps lens.json, lens.png and lens.svg.

    Example: codi-int lens --problem 0
    """
    from codi_int.cli._console import print_json, stdout
    from codi_int.cli._lenses import LensSetting, look_into_one, look_over_all

    setting = LensSetting(model, data, limit, device, top, out)
    found = (
        look_over_all(setting) if question is None and problem is None else look_into_one(setting, question, problem)
    )
    if as_json:
        print_json(found.document)
    else:
        stdout().print(found.page)
