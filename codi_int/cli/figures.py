"""`codi-int figures`: draw the figures of a kept run, again or elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o


def figures(
    run: Annotated[
        Path, typer.Argument(help="A folder that --out has kept, or its JSON document: screen, map, curve, sweep, ...")
    ],
    out: Annotated[
        Path | None, o.output(metavar="FOLDER", help="Folder for the figures.  [default: beside the document]")
    ] = None,
    as_json: o.Json = False,
) -> None:
    """Draw the figures of a kept run as PNG and SVG, without running anything again.

    Example: codi-int figures runs/screen --out figures
    """
    from codi_int.cli._console import print_json
    from codi_int.report.figures import draw_kept
    from codi_int.report.literal import show_controls

    written = [str(path) for path in draw_kept(run, out)]
    if as_json:
        print_json({"schema": "codi-int/figures@1", "files": written})
    else:
        typer.echo("\n".join(map(show_controls, written)) or "Nothing to draw: nothing was edited.")
