"""`codi-int capture`: activations of many problems on disk."""

from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o


def capture(
    out: Annotated[Path, typer.Option(help="Folder of the capture.")],
    layer: o.Layers = [],  # noqa: B006
    position: o.Positions = [],  # noqa: B006
    model: o.Model = "codi-mini",
    data: o.Data = "stories:sae",
    limit: o.Limit = None,
    dtype: Annotated[str, typer.Option(help="float32, or bfloat16 for half the disk.")] = "float32",
    padding: Annotated[str, typer.Option(help="masked, or official: padding leaks as published.")] = "masked",
    device: o.Device = "cpu",
    as_json: o.Json = False,
) -> None:
    """Keep the activations of problems: one safetensors file per layer, [position, problem, d_model].

    Without --layer and --position all of them. A stopped capture goes on where it was.
    Example: codi-int capture --layer 14 --position 3 --out runs/activations/train
    """
    layers = o.whole_numbers(layer, "--layer") or None
    positions = o.whole_numbers(position, "--position") or None
    from codi_int.cli._capture import CaptureSetting, capture_and_print

    capture_and_print(CaptureSetting(out, layers, positions, model, data, limit, dtype, padding, device, as_json))
