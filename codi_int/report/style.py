"""One look for every figure: colours that colour-blind readers tell apart, thin spines, and the same bytes twice."""

import functools
import io
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from codi_int.files import write_bytes

if TYPE_CHECKING:
    import matplotlib.figure

P = ParamSpec("P")
R = TypeVar("R")

COLUMN, PAGE = 3.4, 7.0
"""width of one and of two columns of a paper, inches"""
DPI, NOTEBOOK_DPI = 220, 110

# Okabe and Ito's colours, which keep apart under every common kind of colour blindness
BLUE, ORANGE, GREEN, RED, SKY, PINK, YELLOW, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#F0E442",
    "#000000",
)
SERIES = (BLUE, ORANGE, GREEN, PINK, RED, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY, PALE = "#777777", "#D0D0D0"
SIGNED, AMOUNT = "RdBu", "viridis"
"""colour maps: red for losses and blue for gains about white zero; amounts from dark to bright"""

LOOK = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same glyphs
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.titlelocation": "left",
    "axes.labelsize": 8.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "figure.titlesize": 9.5,
    "hatch.linewidth": 0.5,
    "text.parse_math": False,  # dollar signs in the names of models and data are no formulas
    "svg.hashsalt": "codi-int",
    "svg.fonttype": "path",
}
INK_ON_BRIGHT, INK_ON_DARK = "#010101", "#fefefe"
"""of what stands on a coloured cell: not quite black and white, which take the colours of a page that shows them"""
CHARACTERS_PER_INCH, TITLE_CHARACTERS_PER_INCH = 19.0, 11.8
"""of a caption and of a title, in their sizes"""


@contextmanager
def look() -> Iterator[None]:
    """The style, whatever the reader's own settings are; they come back afterwards."""
    from matplotlib import style

    # "default" first: a matplotlibrc of the reader's own would else show through wherever LOOK is silent
    with style.context(["default", LOOK]):
        yield


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Makes a function draw in this look."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with look():
            return draw(*args, **kwargs)

    return drawn


def new_figure(
    width: float, height: float, title: str = "", caption: str = "", title_share: float = 1.0
) -> "matplotlib.figure.Figure":
    """An empty figure that needs no display.

    Args:
        width, height: in inches, caption included.
        title: over everything, flush left.
        caption: under everything: what was measured, on how many problems, what the intervals are.
        title_share: of the width, for the title; less than 1 leaves the rest to a legend beside it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    class Picture(Figure):
        """A figure that a notebook shows, though pyplot knows nothing of it."""

        def _repr_png_(self) -> bytes:
            file = io.BytesIO()
            with look():
                self.savefig(file, format="png", dpi=NOTEBOOK_DPI, metadata={"Software": None})
            return file.getvalue()

    # the object and not pyplot: pyplot keeps every figure alive, and may want a display when it is imported
    figure = Picture(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.05))
    FigureCanvasAgg(figure)
    if title:
        # matplotlib does not wrap at the figure's edge by itself; by a count of letters it is the same on every machine
        text = textwrap.fill(title, int(TITLE_CHARACTERS_PER_INCH * width * title_share))
        figure.suptitle(text, x=0.01, ha="left", fontweight="bold")
    if caption:
        text = textwrap.fill(caption, int(CHARACTERS_PER_INCH * width))
        figure.supxlabel(text, x=0.01, ha="left", fontsize=7, color="#444444")
    return figure


_COLLECTED: "ContextVar[dict[str, str] | None]" = ContextVar("collected", default=None)


@contextmanager
def collect_figures() -> Iterator[dict[str, str]]:
    """Within the block figures are written nowhere; yields what takes the SVG of each, letters as text, by its name."""
    collected: dict[str, str] = {}
    before = _COLLECTED.set(collected)
    try:
        yield collected
    finally:
        _COLLECTED.reset(before)


def _svg_text(figure: "matplotlib.figure.Figure") -> str:
    from matplotlib import rc_context

    file = io.StringIO()
    with look(), rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def write_figure(figure: "matplotlib.figure.Figure", out: str | Path, name: str) -> list[Path]:
    """Write `name`.png and `name`.svg into the folder `out`, made where missing. The same figure gives the same bytes.

    Raises:
        OutputError: the folder cannot be written to.
    """
    if (collected := _COLLECTED.get()) is not None:
        collected[name] = _svg_text(figure)
        return []
    folder = Path(out)
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    with look():
        # PNG would note matplotlib's version, so that an upgrade alone would change the bytes
        write_bytes(paths[0], lambda file: figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None}))
        figure.set_layout_engine("none")  # everything has found its place; finding it again would take as long
        unnamed = {"Date": None, "Creator": None}  # else each run would give other bytes
        write_bytes(paths[1], lambda file: figure.savefig(file, format="svg", metadata=unnamed))
    return paths
