"""`codi-int ablate`: take features out and see what becomes of the answers."""

from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.errors import ConfigError


def ablate(
    feature: Annotated[list[str], typer.Option(help="Feature to take out; repeat it to take out several together.")],
    layer: o.Layer,
    position: o.Position = 3,
    mode: Annotated[str, typer.Option(help="What takes its place: zero, mean, resample or set.")] = "zero",
    value: Annotated[
        float | None, typer.Option(parser=o.number("--value"), metavar="X", help="What --mode set puts in its place.")
    ] = None,
    model: o.Model = "codi-mini",
    sae: o.Sae = None,
    data: o.Data = "stories:validation",
    limit: o.Limit = None,
    seed: o.Seed = 0,
    controls: o.Controls = 20,
    directions: o.Directions = 0,
    neurons: o.Neurons = 0,
    splice: o.Splice = "add",
    propagate: o.Roads = "both",
    device: o.Device = "cpu",
    as_json: o.Json = False,
    out: o.Out = None,
) -> None:
    """Take features out of a thought and see what becomes of the answers.

    Example: codi-int ablate --feature 449 --layer 14
    """
    features = o.parse_features(feature)
    if (mode == "set") != (value is not None):
        raise ConfigError("--value belongs to --mode set, which needs it.", "Write --mode set --value 2, for example.")
    from codi_int.cli._intervene import Setting, intervene
    from codi_int.interventions.edits.basic import Ablate

    edit = Ablate(features, mode=mode, value=value or 0.0, seed=seed)
    intervene(
        edit,
        Setting(
            layer=layer,
            position=position,
            model=model,
            sae=sae,
            data=data,
            limit=limit,
            seed=seed,
            device=device,
            controls=controls,
            directions=directions,
            neurons=neurons,
            splice=splice,
            propagate=propagate,
            as_json=as_json,
            out=out,
        ),
    )
