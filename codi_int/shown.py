"""What public objects can do at a prompt and in a notebook: say what they are, become a table, a picture, files.

The words, pictures and files are made in packages that come after these records (`report`, `interventions`), so they
are looked up by name when they are asked for: `DOERS` is all that is known of them here.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

DOERS = {
    "lines_of": "report.notebook",
    "html_of": "report.notebook",
    "frame_of": "report.notebook",
    "figure_of": "report.figures",
    "save_finding": "interventions.kept",
}
"""function to the module that has it"""


class Shown:
    """An object that is shown in a few lines."""

    def __repr__(self) -> str:
        return "\n".join(_doer("lines_of")(self))

    def _repr_html_(self) -> str:
        """The same for a notebook, with the beginning of its table where it has one."""
        html: str = _doer("html_of")(self)
        return html


class Finding(Shown, ABC):
    """Something that was measured."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The whole of it as one document of plain JSON types, with its `schema`."""

    def to_frame(self) -> "pd.DataFrame":
        """The table of it, as pandas' data frame; its columns are those of the kept tables."""
        frame: pd.DataFrame = _doer("frame_of")(self)
        return frame

    def plot(self, name: str | None = None) -> "matplotlib.figure.Figure":
        """A figure of it, as matplotlib's; a notebook shows it.

        Args:
            name: which of its figures, such as `firing` for a screen; None for the first.

        Raises:
            ConfigError: a name that it has no figure of.
            DataError: there is nothing to draw.
        """
        figure: matplotlib.figure.Figure = _doer("figure_of")(self.to_dict(), name)
        return figure

    def save(self, folder: str | Path, force: bool = False) -> Path:
        """Keep it in a folder, with its tables, as `--out` does; `load_result` reads it back.

        Args:
            folder: where; made where missing.
            force: replace another run that it holds.

        Raises:
            OutputError: the folder cannot be written to, or holds another run.
        """
        path: Path = _doer("save_finding")(self, folder, force)
        return path


def figure_of(document: Mapping[str, Any], name: str | None = None) -> "matplotlib.figure.Figure":
    """A figure of a document, drawn by a package that comes later; see `report.figures.figure_of`."""
    figure: matplotlib.figure.Figure = _doer("figure_of")(document, name)
    return figure


def _doer(name: str) -> Any:
    return getattr(import_module(f"codi_int.{DOERS[name]}"), name)
