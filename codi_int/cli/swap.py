"""`codi-int swap`: exchange two features and see what becomes of the answers."""

from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.errors import ConfigError


def swap(
    feature: Annotated[list[str], typer.Option(help="One side; repeat it for a set.")],
    with_: Annotated[list[str], typer.Option("--with", help="The other side, as many features.")],
    layer: o.Layer,
    position: o.Position = 3,
    predict: Annotated[
        str | None, typer.Option(help="What should happen: addition:subtraction, or value:12:50.", metavar="CLAIM")
    ] = None,
    underpowered: Annotated[
        bool, typer.Option("--underpowered", help="With --predict: run even with too few problems.")
    ] = False,
    model: o.Model = "codi-mini",
    sae: o.Sae = None,
    data: o.Data = "stories:validation",
    limit: o.Limit = None,
    seed: o.Seed = 0,
    controls: o.Controls = 20,
    directions: o.Directions = 0,
    splice: o.Splice = "add",
    propagate: o.Roads = "both",
    device: o.Device = "cpu",
    as_json: o.Json = False,
    out: o.Out = None,
) -> None:
    """Exchange the values of two features, or of two sets, and see what becomes of the answers.

    With --predict the steps of every problem are executed again with operations or values exchanged, and the answers
    are held against those that come out.

    Example: codi-int swap --feature 162 --with 165 --layer 14
    """
    left, right = o.parse_features(feature), o.parse_features(with_, "--with")
    if underpowered and predict is None:
        raise ConfigError("--underpowered goes with --predict.", "Leave it out, or say what should happen.")
    from codi_int.cli._intervene import Setting, intervene
    from codi_int.interventions.edits.basic import Swap

    setting = Setting(
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
    )
    if predict is None:
        intervene(Swap(left, right), setting)
        return
    from codi_int.cli._predict import intervene_predicted

    intervene_predicted(Swap(left, right), setting, predict, underpowered)
