"""`codi-int curve`: how accuracy falls when more and more features are taken out together."""

from typing import Annotated

import typer

from codi_int.cli import _options as o


def curve(
    layer: o.Layer,
    position: o.Position = 3,
    order: Annotated[
        str, typer.Option(help="What ranks the features: attribution, screen (takes a whole one) or frequency.")
    ] = "attribution",
    n: Annotated[
        list[str],
        typer.Option("--n", metavar="N", help="How many to take out; repeat it.  [default: 1, 2, 4, ..., all]"),
    ] = [],  # noqa: B006
    draws: Annotated[int, typer.Option(parser=o.whole("--draws"), metavar="N", help="Random sets for each n.")] = 10,
    model: o.Model = "codi-mini",
    sae: o.Sae = None,
    data: o.Data = "stories:validation",
    limit: o.Limit = None,
    seed: o.Seed = 0,
    device: o.Device = "cpu",
    as_json: o.Json = False,
    out: o.Out = None,
) -> None:
    """Ablate the top n features of a site together, for growing n, against random sets of as many living features.

    Example: codi-int curve --layer 14 --n 1 --n 8 --n 64 --limit 300
    """
    sizes = o.whole_numbers(n, "--n")
    from codi_int.cli._curve import CurveSetting, print_curve

    print_curve(CurveSetting(layer, position, order, sizes, draws, model, sae, data, limit, seed, device, as_json, out))
