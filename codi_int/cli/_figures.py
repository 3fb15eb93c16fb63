"""Figures at the end of a run that is kept. Loaded when it is, for drawing is heavy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codi_int.cli._console import tell
from codi_int.report.figures import left_out, save_figures


def keep_figures(document: Mapping[str, Any], out: Path) -> list[Path]:
    """Draw a document into the folder that keeps it, and say so; returns the files."""
    paths = save_figures(document, out)
    # PNG and SVG share a stem; a dict keeps the order in which they were drawn, a set would not
    names = ", ".join(dict.fromkeys(path.stem for path in paths))
    if names:
        tell(f"Figures in {out}, as PNG and SVG: {names}")
    for words in left_out(document):
        tell(f"left out: {words}")
    return paths
