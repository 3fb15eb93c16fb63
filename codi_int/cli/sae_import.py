"""`codi-int sae import`: an SAE from elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _choices as c
from codi_int.cli import _complete
from codi_int.cli import _options as o


def import_sae(
    source: Annotated[Path, typer.Argument(help="A published .pt checkpoint, or a folder of SAELens, any version.")],
    out: Annotated[Path, o.output(metavar="FOLDER", help="Folder of the SAE, in SAELens' format.")],
    rule: Annotated[c.KeepRule, o.what(help="How a .pt file keeps features; abs as in the published code.")] = "abs",
    model: Annotated[
        str | None,
        o.where(
            metavar="NAME",
            help="The model it belongs to; checked, and its hash is noted.  [default: as it says]",
            autocompletion=_complete.models,
        ),
    ] = None,
    layer: Annotated[
        int | None,
        o.where(parser=o.whole("--layer"), metavar="N", help="Where the source does not say.  [default: as it says]"),
    ] = None,
    position: Annotated[
        int | None,
        o.where(parser=o.whole("--position"), metavar="N", help="The same.  [default: as it says]"),
    ] = None,
    as_json: o.Json = False,
) -> None:
    """Bring an SAE into a folder that every command takes.

    Example: codi-int sae import pos3_layer14_d512_k100.pt --out saes/L14.P3
    """
    from codi_int.cli._sae_files import import_and_print

    import_and_print(source, out, rule=rule, model=model, place=(layer, position), as_json=as_json)
