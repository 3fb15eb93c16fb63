"""`codi-int patch`: put a piece of one problem's thoughts into another's and see what becomes of the answers."""

from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o


def patch(
    layer: o.Layers = [],  # noqa: B006
    position: o.Positions = ["3"],  # noqa: B006
    what: Annotated[
        str, typer.Option(help="residual, thought (the whole vector that is fed next), or features of the SAE.")
    ] = "residual",
    feature: Annotated[list[str], typer.Option(help="With --what features: only these.  [default: all]")] = [],  # noqa: B006
    pairs: Annotated[
        Path | None, typer.Option(help="A .jsonl or .csv file with the columns target and source (problem ids).")
    ] = None,
    auto: Annotated[
        str | None, typer.Option(help="Find pairs whose results of --step are the same, different, or both in turn.")
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(parser=o.whole("--step"), metavar="N", help="The step, from 1, whose result is thought to move."),
    ] = None,
    underpowered: Annotated[bool, typer.Option("--underpowered", help="Run even with too few problems.")] = False,
    model: o.Model = "codi-mini",
    sae: o.Sae = None,
    data: o.Data = "stories:validation",
    limit: o.Limit = None,
    seed: o.Seed = 0,
    controls: Annotated[
        int,
        typer.Option(parser=o.whole("--controls"), metavar="N", help="Draws of random other problems as sources."),
    ] = 20,
    device: o.Device = "cpu",
    as_json: o.Json = False,
    out: o.Out = None,
) -> None:
    """Put a piece of one problem's thoughts into another's; with --step, say beforehand what should come out.

    Example: codi-int patch --what thought --position 1 --auto both --step 1
    """
    features = o.parse_features(feature) if feature else ()
    layers, positions = o.whole_numbers(layer, "--layer"), o.whole_numbers(position, "--position")
    from codi_int.cli._patch import PatchSetting, print_patch

    print_patch(
        PatchSetting(
            what, layers, positions, features, pairs, auto, step, underpowered, model, sae, data, limit, seed, controls,
            device, as_json, out,
        )
    )  # fmt: skip
