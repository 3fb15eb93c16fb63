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
    """Draw the figures of a kept run as PNG and SVG, without running anything again, and say what they leave out.

    Example: codi-int figures runs/screen --out figures
    """
    from codi_int.cli._console import print_json, tell
    from codi_int.report.figures import draw_kept, kept_documents, left_out
    from codi_int.report.literal import show_controls

    written = [str(path) for path in draw_kept(run, out)]
    missing = [words for _, document in kept_documents(run) for words in left_out(document)]
    if as_json:
        print_json({"schema": "codi-int/figures@1", "files": written, "left_out": missing})
        return
    typer.echo("\n".join(map(show_controls, written)) or "Nothing to draw.")
    for words in missing:
        tell(f"left out: {words}")
