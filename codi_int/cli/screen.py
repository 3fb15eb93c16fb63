"""`codi-int screen`: ablate every feature of a site, one after the other."""

from typing import Annotated

import typer

from codi_int.cli import _options as o


def screen(
    layer: o.Layer,
    position: o.Position = 3,
    feature: Annotated[list[str], typer.Option(help="Only these features.  [default: all]")] = [],  # noqa: B006
    order: Annotated[str, typer.Option(help="index, or attribution: those first that a gradient points at.")] = "index",
    top: Annotated[int, typer.Option(parser=o.whole("--top"), metavar="N", help="How many to show.")] = 20,
    model: o.Model = "codi-mini",
    sae: o.Sae = None,
    data: o.Data = "stories:validation",
    limit: o.Limit = None,
    seed: o.Seed = 0,
    device: o.Device = "cpu",
    as_json: o.Json = False,
    out: o.Out = None,
) -> None:
    """Ablate every feature of a site and rank the effects, with p-values corrected over all of them.

    With --out an interrupted screen goes on where it stopped. Example: codi-int screen --layer 14 --out runs/screen
    """
    features = o.parse_features(feature) if feature else None
    from codi_int.cli._screen import ScreenSetting, print_screen

    print_screen(
        ScreenSetting(layer, position, features, order, top, model, sae, data, limit, seed, device, as_json, out)
    )
