"""What several figures are made of: heatmaps with missing cells, scales centred at zero, grids of panels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from codi_int.report.style import GREY, INK_ON_BRIGHT, INK_ON_DARK, PALE, SIGNED

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.colors
    import matplotlib.figure
    import matplotlib.image

Table = Sequence[Sequence[float | None]]
"""rows of values; None where there is none"""
DARK = 0.45
"""luminance below which text on a cell is white"""
SHORT = {"x": 60.0, "y": 300.0}
"""a logarithmic axis from low to high is short where high / low is less; numbers below each other need less room"""


def panel_grid(
    figure: "matplotlib.figure.Figure", n: int, per_row: int, **sharing: Any
) -> list["matplotlib.axes.Axes"]:
    """`n` panels in rows of `per_row`, in reading order; places left over stay empty."""
    columns = min(n, per_row)
    axes = list(figure.subplots(-(-n // columns), columns, squeeze=False, **sharing).flat)
    for axis in axes[n:]:
        axis.set_axis_off()
    if sharing.get("sharex"):
        for axis in axes[max(n - columns, 0) : n]:  # the lowest panel of a column, where the last row is not full
            axis.tick_params(labelbottom=True)
    return axes[:n]


def signed_scale(tables: Sequence[Table]) -> "matplotlib.colors.Normalize":
    """From -m to +m, m the largest magnitude of all tables, so that white is zero and panels can be compared."""
    from matplotlib.colors import Normalize

    most = max((abs(v) for table in tables for row in table for v in row if v is not None), default=0.0)
    # or 1: with nothing but zeros the two ends would meet, and zero would no longer be white
    return Normalize(-(most or 1.0), most or 1.0)


def amount_scale(tables: Sequence[Table]) -> "matplotlib.colors.Normalize":
    """From the smallest to the largest value of all tables."""
    from matplotlib.colors import Normalize

    values = [v for table in tables for row in table for v in row if v is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    return Normalize(low, high if high > low else low + 1.0)


@dataclass(frozen=True)
class Cells:
    """What a heatmap shows."""

    values: Table
    """by row"""
    rows: Sequence[str] = ()
    """what the ticks of the rows say; empty for none"""
    columns: Sequence[str] = ()
    """the same of the columns"""
    marked: Sequence[tuple[int, int]] = ()
    """(row, column) of cells that get a dot"""


def heatmap(
    axis: "matplotlib.axes.Axes",
    cells: Cells,
    norm: "matplotlib.colors.Normalize",
    cmap: str = SIGNED,
    write: Callable[[float], str] | None = None,
    upwards: bool = True,
) -> "matplotlib.image.AxesImage":
    """One heatmap. Cells without a value are hatched.

    Args:
        axis: where to draw.
        cells: what it shows.
        norm: from a value to a place on the scale of colours.
        cmap: that scale.
        write: how a value is written into its cell; None writes none.
        upwards: whether the first row is the lowest.
    """
    values = np.array([[np.nan if v is None else v for v in row] for row in cells.values], dtype=float)
    # masked: cells without a value have no colour; the hatch is drawn over them
    image = axis.imshow(
        np.ma.masked_invalid(values), cmap=cmap, norm=norm, origin="lower" if upwards else "upper", aspect="auto"
    )
    for i, j in zip(*np.nonzero(np.isnan(values)), strict=True):
        _hatch(axis, int(i), int(j))
    for i, j in cells.marked:
        axis.plot(j, i, ".", color=_ink(image, values[i][j]), markersize=3.2)
    if write is not None:
        for (i, j), value in np.ndenumerate(values):
            if not np.isnan(value):
                axis.text(j, i, write(value), ha="center", va="center", fontsize=6.5, color=_ink(image, value))
    axis.set_xticks(range(len(cells.columns)), cells.columns)
    axis.set_yticks(range(len(cells.rows)), cells.rows)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return image


def _hatch(axis: "matplotlib.axes.Axes", row: int, column: int) -> None:
    from matplotlib.patches import Rectangle

    place = column - 0.5, row - 0.5
    axis.add_patch(Rectangle(place, 1, 1, facecolor="white", edgecolor=PALE, hatch="//////", linewidth=0))


def _ink(image: "matplotlib.image.AxesImage", value: float) -> str:
    """Black or white, whichever can be read on the colour of `value`."""
    red, green, blue, _ = np.asarray(image.to_rgba(np.array([value]))).reshape(-1, 4)[0]
    # luma of ITU-R BT.601: green counts most, for eyes see it brightest
    return INK_ON_DARK if 0.299 * red + 0.587 * green + 0.114 * blue < DARK else INK_ON_BRIGHT


def zero_line(axis: "matplotlib.axes.Axes", vertical: bool = True) -> None:
    """Where nothing changes."""
    line = axis.axvline if vertical else axis.axhline
    line(0.0, color=GREY, linewidth=0.6, zorder=0)


def signed(value: float, digits: int = 1) -> str:
    """With its sign, and a true minus; no sign where nothing but zeros would follow."""
    text = f"{value:+.{digits}f}"
    # -0.04 to one digit is -0.0, whose sign would claim a loss
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def few_ticks(axis: "matplotlib.axes.Axes", which: str = "x", most: int = 6) -> None:
    """A few round numbers without trailing zeros, with true minus signs."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ticks = axis.xaxis if which == "x" else axis.yaxis
    ticks.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]))
    ticks.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def plain(value: float) -> str:
    """As few digits as tell it, never in powers of ten, with a true minus."""
    text = f"{value:.10f}".rstrip("0").rstrip(".")
    return "0" if text in {"-0", "0"} else text.replace("-", "−")


def k_axis(axis: "matplotlib.axes.Axes", ks: Sequence[int]) -> None:
    """A logarithmic axis that names the values of K."""
    from matplotlib.ticker import NullLocator

    axis.set_xscale("log")
    axis.set_xticks(ks, [str(k) for k in ks])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlim(ks[0] / 1.35, ks[-1] * 1.35)


def log_ticks(axis: "matplotlib.axes.Axes", which: str = "y") -> None:
    """Plain numbers at a logarithmic axis: powers of ten, and 2 and 5 times them where the axis is short."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ticks = axis.xaxis if which == "x" else axis.yaxis
    # the view is read now, so this has to come after everything is drawn: later data would move the axis
    low, high = ticks.get_view_interval()
    ticks.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < SHORT[which] else (1.0,)))
    ticks.set_major_formatter(FuncFormatter(lambda value, _: log_number(value)))
    ticks.set_minor_formatter(NullFormatter())


def log_number(value: float) -> str:
    """A tick of a logarithmic axis."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"
