"""`codi-int map`: which layers and positions of the thoughts the answer needs."""

from typing import Annotated

import typer

from codi_int.cli import _options as o


def map_thoughts(
    layer: Annotated[
        list[str], typer.Option("--layer", metavar="N", help="Only these blocks: 14, or 8-15.  [default: all]")
    ] = [],  # noqa: B006
    position: Annotated[
        list[str], typer.Option("--position", metavar="N", help="Only these positions: 3, or 1-6.  [default: all]")
    ] = [],  # noqa: B006
    thoughts: Annotated[
        bool | None,
        typer.Option("--thoughts/--no-thoughts", help="A row for the projected thoughts.  [default: without --layer]"),
    ] = None,
    mode: Annotated[
        str, typer.Option(help="What takes a residual's place: mean (over the problems) or zero.")
    ] = "mean",
    cumulative: Annotated[
        bool, typer.Option("--cumulative", help="Replace a position and all later ones together.")
    ] = False,
    direction: Annotated[
        str, typer.Option(help="What --cumulative replaces: onwards, or upto for thoughts 1 to the position.")
    ] = "onwards",
    propagate: Annotated[
        str, typer.Option(help="By which road: both, cache, recurrence, or split to tell them apart.")
    ] = "both",
    model: o.Model = "codi-mini",
    data: o.Data = "stories:validation",
    limit: o.Limit = None,
    seed: o.Seed = 0,
    device: o.Device = "cpu",
    as_json: o.Json = False,
    out: o.Out = None,
) -> None:
    """Replace the residual at each layer and position by its mean over the problems and see what becomes of answers.

    Every cell runs all problems: the whole map of codi-mini takes minutes, so try --limit 100 first.

    Example: codi-int map --layer 14 --position 3
    """
    layers, positions = o.whole_numbers(layer, "--layer"), o.whole_numbers(position, "--position")
    from codi_int.cli._map import MapSetting, print_map

    print_map(
        MapSetting(
            layers, positions, thoughts, mode, cumulative, direction, propagate, model, data, limit, seed, device,
            as_json, out,
        )
    )  # fmt: skip
