"""`codi-int doctor`: what a checkpoint is, what was assumed about it, and whether it is run rightly."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli._signature import with_options


@dataclass(frozen=True, kw_only=True)
class DoctorOptions(o.ModelOptions):
    """What no file tells about the model, and what to do with it."""

    base: Annotated[str | None, typer.Option(help="Base model of an official checkpoint: folder or hub name.")] = None
    lora_alpha: Annotated[
        float | None,
        typer.Option(parser=o.number("--lora-alpha"), metavar="X", help="LoRA's alpha, which no file tells."),
    ] = None
    remove_eos: Annotated[
        bool | None, typer.Option("--remove-eos/--keep-eos", help="Whether no eos stands before the bot token.")
    ] = None
    thoughts: Annotated[
        int | None, typer.Option(parser=o.whole("--thoughts"), metavar="N", help="Thoughts, which no file tells.")
    ] = None
    parity: Annotated[
        int, typer.Option(parser=o.whole("--parity"), metavar="N", help="Compare so many with a plain loop.")
    ] = 0
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32"
    save: Annotated[Path | None, typer.Option(help="Write the model here, merged: other commands take it.")] = None
    limit: int | None = field(default=None, init=False)
    """--parity says how many problems"""


@with_options
def doctor(options: DoctorOptions) -> None:
    """Look at a model before you trust it: what was found, what was assumed, sizes, memory, hashes.

    Example: codi-int doctor --model codi-mini --parity 8
    """
    from codi_int.cli._checkup import examine
    from codi_int.cli._console import print_json, stdout

    checkup = examine(options)
    if options.as_json:
        print_json(checkup.to_dict())
    else:
        stdout().print(checkup.page())
    if not checkup.healthy:
        raise typer.Exit(1)
