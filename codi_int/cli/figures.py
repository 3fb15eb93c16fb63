"""`codi-int figures`: draw the figures of a kept run, again or elsewhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from codi_int.cli import _options as o

STAGE = "documents drawn"


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
    from codi_int.cli._console import print_json, progress, tell
    from codi_int.report.literal import show_controls

    # said before what draws is loaded, which takes a second or more by itself
    with progress(f"drawing the figures of {run}") as shown:
        from codi_int.report.figures import draw_kept, kept_documents

        def begun(file: Path, done: int, total: int) -> None:
            shown.show(STAGE, done, total, f"now {file}")

        written = [str(path) for path in draw_kept(run, out, begun)]
        missing = _left_out(kept_documents(run))
    if as_json:
        print_json({"schema": "codi-int/figures@1", "files": written, "left_out": missing})
        return
    typer.echo("\n".join(map(show_controls, written)) or "Nothing to draw.")
    for words in missing:
        tell(f"left out: {words}")


def _left_out(documents: Sequence[tuple[Path, dict[str, Any]]]) -> list[str]:
    """What figures leave out; of several runs with the folder of each."""
    from codi_int.report.figures import left_out

    return [
        words if len(documents) == 1 else f"{file.parent}: {words}"
        for file, document in documents
        for words in left_out(document)
    ]
