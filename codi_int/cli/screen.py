"""`codi-int screen`: ablate every feature of some sites, one after the other; or pairs of features."""

from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o


def screen(
    layer: o.Layers,
    position: o.Positions = ["3"],  # noqa: B006
    feature: Annotated[list[str], typer.Option(help="Only these features.  [default: all]")] = [],  # noqa: B006
    pairs: Annotated[
        Path | None, typer.Option(help="Pairs of features instead, ablated together and alone: lines of 449,332.")
    ] = None,
    order: Annotated[str, typer.Option(help="index, or attribution: those first that a gradient points at.")] = "index",
    steps: Annotated[
        int,
        typer.Option(parser=o.whole("--steps"), metavar="N", help="Of attribution: 1, or more to integrate gradients."),
    ] = 1,
    top: Annotated[int, typer.Option(parser=o.whole("--top"), metavar="N", help="How many to show.")] = 20,
    model: o.Model = "codi-mini",
    sae: Annotated[str | None, typer.Option(help="An SAE, or a folder with one for each site (L14.P3/).")] = None,
    data: o.Data = "stories:validation",
    limit: o.Limit = None,
    seed: o.Seed = 0,
    device: o.Device = "cpu",
    as_json: o.Json = False,
    out: o.Out = None,
) -> None:
    """Ablate every feature of one or more sites and rank the effects, with p-values corrected over all of them.

    Several layers and positions: every combination that has an SAE. --order attribution also says, at the end, how
    good that approximation was. With --out an interrupted screen goes on where it stopped.

    Example: codi-int screen --layer 14 --out runs/screen
    """
    features = o.parse_features(feature) if feature else None
    layers, positions = o.whole_numbers(layer, "--layer"), o.whole_numbers(position, "--position")
    from codi_int.cli._screen import ScreenSetting, print_screen

    print_screen(
        ScreenSetting(
            layers, positions, features, pairs, order, steps, top, model, sae, data, limit, seed, device, as_json, out
        )
    )
