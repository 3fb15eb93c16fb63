"""`codi-int sae export`: an SAE for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _choices as c
from codi_int.cli import _complete
from codi_int.cli import _options as o


def export_sae(
    sae: Annotated[str, typer.Argument(help="A shipped SAE or a folder.", autocompletion=_complete.saes)],
    out: Annotated[Path, o.output(metavar="PATH", help="Folder for saelens; for published the .pt file.")],
    format: Annotated[c.SAEFormat, o.output("--format", help="published is a .pt file.")] = "saelens",
    as_json: o.Json = False,
) -> None:
    """Write an SAE in SAELens' format or in the published layout.

    Example: codi-int sae export codi-mini/L14.P3 --format published --out L14.P3.pt
    """
    from codi_int.cli._sae_files import export_and_print

    export_and_print(sae, out, format, as_json)
