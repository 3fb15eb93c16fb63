"""`codi-int amplify`: multiply features and see what becomes of the answers."""

from typing import Annotated

import typer

from codi_int.cli import _options as o


def amplify(
    feature: Annotated[list[str], typer.Option(help="Feature to multiply; repeat it for several together.")],
    factor: Annotated[
        list[str],
        typer.Option(metavar="X", help="What to multiply with; -1 turns the sign. Repeat it to compare several."),
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
    neurons: o.Neurons = 0,
    splice: o.Splice = "add",
    propagate: o.Roads = "both",
    device: o.Device = "cpu",
    as_json: o.Json = False,
    out: o.Out = None,
) -> None:
    """Multiply features of a thought and see what becomes of the answers.

    Example: codi-int amplify --feature 449 --layer 14 --factor 2 --factor 5 --factor 10
    """
    features, factors = o.parse_features(feature), o.parse_factors(factor)
    from codi_int.cli._intervene import Setting, intervene_many
    from codi_int.interventions.edits.basic import Amplify

    intervene_many(
        {f"x{value:g}": Amplify(features, value) for value in factors},
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
