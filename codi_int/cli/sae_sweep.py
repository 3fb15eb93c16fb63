"""`codi-int sae sweep`: a grid of TopK SAEs."""

from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli import _sae_options as s


def sweep(
    out: Annotated[Path, typer.Option(help="Folder of SAEs, tables and figures.")],
    k: Annotated[list[str], typer.Option("--k", metavar="N", help="Features kept per row.")] = ["5,10,20,100"],  # noqa: B006
    features: Annotated[list[str], typer.Option(metavar="N", help="Sizes of the dictionary.")] = ["512,1024,2048"],  # noqa: B006
    layer: o.Layers = ["14"],  # noqa: B006
    position: o.Positions = ["3"],  # noqa: B006
    seed: Annotated[list[str], typer.Option(metavar="N", help="Of weights and order.")] = ["0"],  # noqa: B006
    epochs: s.Epochs = None,
    recipe: s.Recipe = None,
    captures: s.Captures = None,
    splice: Annotated[
        bool, typer.Option("--splice/--no-splice", help="Run the model with every SAE in place, too.")
    ] = False,
    memory_gib: Annotated[float, typer.Option(parser=o.number("--memory-gib"), metavar="GIB", help="Per stack.")] = 4.0,
    model: o.Model = "codi-mini",
    data: s.TrainData = "stories:sae",
    held_out: s.HeldOut = "stories:validation",
    limit: o.Limit = None,
    device: o.Device = "cpu",
    as_json: o.Json = False,
) -> None:
    """Train and measure every combination of layers, positions, k, features and seeds; the default is a published grid.

    A stopped sweep goes on where it was, and a larger grid takes up a smaller one in the same folder.
    Example: codi-int sae sweep --k 5,10,20,100 --features 512,1024 --seed 0,1 --out runs/sweep
    """
    numbers = {
        name: o.whole_numbers(texts, f"--{name}")
        for name, texts in (("layer", layer), ("position", position), ("k", k), ("features", features), ("seed", seed))
    }
    from codi_int.cli._sae_sweep import SweepSetting, sweep_and_print

    sweep_and_print(
        SweepSetting(
            out, numbers, epochs, recipe, captures, splice, memory_gib, model, data, held_out, limit, device, as_json
        )
    )
