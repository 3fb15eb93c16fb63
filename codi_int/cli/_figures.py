"""Figures at the end of a run that is kept. Loaded when it is, for drawing is heavy."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codi_int.report.figures import save_figures, sweep_figures


def keep_figures(document: Mapping[str, Any], out: Path) -> None:
    """Draw a document into the folder that keeps it, and say so."""
    _say(save_figures(document, out), out)


def keep_sweep_figures(folder: Path) -> None:
    """The same for the folder of a sweep."""
    _say(sweep_figures(folder, folder), folder)


def _say(paths: Sequence[Path], out: Path) -> None:
    names = ", ".join(dict.fromkeys(path.stem for path in paths))
    if names:
        print(f"Figures in {out}, as PNG and SVG: {names}", file=sys.stderr)
