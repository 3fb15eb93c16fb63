"""`codi-int capture`: activations of many problems on disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli._signature import with_options


@dataclass(frozen=True, kw_only=True)
class CaptureOptions(o.ModelOptions):
    """What to keep, and where."""

    out: Annotated[Path, typer.Option(help="Folder of the capture.")]
    layers: o.Layers = ()
    positions: o.Positions = ()
    data: o.Data = "stories:sae"
    dtype: Annotated[str, typer.Option(help="float32, or bfloat16 for half the disk.")] = "float32"
    padding: Annotated[str, typer.Option(help="masked, or official: padding leaks as published.")] = "masked"


@with_options
def capture(options: CaptureOptions) -> None:
    """Keep the activations of problems: one safetensors file per layer, [position, problem, d_model].

    Without --layer and --position all of them. A stopped capture goes on where it was.
    Example: codi-int capture --layer 14 --position 3 --out runs/activations/train
    """
    from codi_int.cli._capture import capture_and_print

    capture_and_print(options)
