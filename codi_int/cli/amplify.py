"""`codi-int amplify`: multiply features and see what becomes of the answers."""

from typing import Annotated

import typer

from codi_int.cli import _options as o


def amplify(
    feature: Annotated[list[str], typer.Option(help="Feature to multiply; repeat it for several together.")],
    factor: Annotated[
        float, typer.Option(parser=o.number("--factor"), metavar="X", help="What to multiply with; -1 turns the sign.")
    ],
    layer: o.Layer,
    position: o.Position = 3,
    model: o.Model = "codi-mini",
    sae: o.Sae = None,
    data: o.Data = "stories:validation",
    limit: o.Limit = None,
    seed: o.Seed = 0,
    controls: o.Controls = 20,
    directions: o.Directions = 0,
    splice: o.Splice = "add",
    propagate: o.Propagate = "both",
    device: o.Device = "cpu",
    as_json: o.Json = False,
    out: o.Out = None,
) -> None:
    """Multiply features of a thought and see what becomes of the answers.

    Example: codi-int amplify --feature 449 --layer 14 --factor 5
    """
    features = o.parse_features(feature)
    from codi_int.cli._intervene import Setting, intervene
    from codi_int.interventions.edits import Amplify

    intervene(
        Amplify(features, factor),
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
            splice=splice,
            propagate=propagate,
            as_json=as_json,
            out=out,
        ),
    )
