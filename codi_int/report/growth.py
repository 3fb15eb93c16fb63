"""How cost grows: small multiples on logarithmic axes, a line for each peer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codi_int.errors import DataError
from codi_int.report.literal import literal_document, show_controls
from codi_int.report.panels import log_number, log_ticks
from codi_int.report.style import MARKERS, PAGE, SERIES, new_figure, styled, write_figure

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

LABELS = {
    "seconds": "time (s)",
    "seconds_per_epoch": "time per epoch (s)",
    "milliseconds": "time (ms)",
    "peak_mib": "peak memory (MiB)",
    "memory_mib": "memory (MiB)",
    "memory_gib": "memory (GiB)",
    "d_sae": "features in the SAE",
    "k": "K",
    "rows": "rows",
    "saes": "SAEs trained together",
    "stacked": "SAEs trained together",
    "features": "features screened",
    "problems": "problems",
    "sites": "sites",
}
"""what the axes say; other names are written as they are, with spaces"""
MOST_TICKS = {1: 8, 2: 6, 3: 5, 4: 3}
"""columns of panels to how many sizes are named below each; 2 where there are more columns"""


def growth_figure(
    rows: Sequence[Mapping[str, Any]],
    x: str | Sequence[str],
    ys: str | Sequence[str],
    out: str | Path,
    name: str = "growth",
    title: str = "",
    caption: str = "",
) -> list[Path]:
    """Draw how each of `ys` grows with each of `x`, log-log, and write `name`.png and `name`.svg into `out`.

    Args:
        rows: one measurement each: `{"peer": "ours", "d_sae": 512, "seconds": 1.2, "peak_mib": 300}`. With several
            `x`, a row belongs to the panel that its `"varies"` names, or without one to each whose key it has. A
            measurement that was not made is None or missing. `<y>_low` and `<y>_high`, where given, are drawn as bars.
        x: key or keys of what was varied: one column of panels each.
        ys: key or keys of what was measured: one row of panels each.
        out: folder.
        name: of the files.
        title, caption: over and under the panels.

    Raises:
        DataError: no row holds any pair of `x` and `ys`.
        OutputError: the folder cannot be written to.
    """
    return write_figure(draw_growth(rows, x, ys, title, caption), out, name)


@styled
def draw_growth(
    rows: Sequence[Mapping[str, Any]],
    x: str | Sequence[str],
    ys: str | Sequence[str],
    title: str = "",
    caption: str = "",
) -> "matplotlib.figure.Figure":
    """The figure of `growth_figure`, not yet written."""
    rows = [literal_document(row) for row in rows]
    title, caption = show_controls(title), show_controls(caption)
    # as in the rows, whose keys are shown too
    across, down = ([show_controls(key) for key in _names(keys)] for keys in (x, ys))
    if not any(_points(rows, a, b) for a in across for b in down):
        raise DataError(
            f"No row holds one of {', '.join(across)} together with one of {', '.join(down)}.", "Give measured rows."
        )
    peers = list(dict.fromkeys(str(row.get("peer", "")) for row in rows))
    width = PAGE if len(across) > 1 else PAGE / 2
    figure = new_figure(
        width,
        0.8 + 1.75 * len(down),
        show_controls(title),
        show_controls(caption),
        title_share=0.5 if len(peers) > 1 else 1.0,
    )
    panels = figure.subplots(len(down), len(across), squeeze=False, sharey="row", sharex="col")
    for i, y in enumerate(down):
        for j, a in enumerate(across):
            _panel(panels[i][j], rows, peers=peers, x=a, y=y, most=MOST_TICKS.get(len(across), 2))
        panels[i][0].set_ylabel(label(y))
    for j, a in enumerate(across):
        panels[-1][j].set_xlabel(label(a))
    if len(peers) > 1:
        handles, labels = _legend(panels.flat)
        figure.legend(handles, labels, loc="outside upper right", ncols=min(len(labels), 4))
    return figure


def label(key: str) -> str:
    """What an axis says about `key`."""
    return LABELS.get(key, key.replace("_", " "))


def _names(keys: str | Sequence[str]) -> list[str]:
    return [keys] if isinstance(keys, str) else list(keys)


def _points(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> list[Mapping[str, Any]]:
    """Rows of the panel x, y, in the order of x; what was not measured or cannot stand on a log axis is left out."""
    chosen = [row for row in rows if row.get("varies", x) == x and (row.get(x) or 0) > 0 and (row.get(y) or 0) > 0]
    return sorted(chosen, key=lambda row: float(row[x]))


def _panel(
    axis: "matplotlib.axes.Axes", rows: Sequence[Mapping[str, Any]], peers: Sequence[str], x: str, y: str, most: int
) -> None:
    """One line for each peer."""
    # log-log: a cost that grows as a power is a straight line there, and its slope is the power
    axis.set_xscale("log")
    axis.set_yscale("log")
    for number, peer in enumerate(peers):
        mine = [row for row in _points(rows, x, y) if str(row.get("peer", "")) == peer]
        if not mine:
            continue
        xs, values = [float(row[x]) for row in mine], [float(row[y]) for row in mine]
        style = {"color": SERIES[number % len(SERIES)], "marker": MARKERS[number % len(MARKERS)]}
        axis.plot(xs, values, label=peer, **style)  # type: ignore[arg-type]
        # a missing end is the value itself: no bar on that side
        low = [v - float(row.get(f"{y}_low") or v) for v, row in zip(values, mine, strict=True)]
        high = [float(row.get(f"{y}_high") or v) - v for v, row in zip(values, mine, strict=True)]
        if any(low) or any(high):
            axis.errorbar(xs, values, yerr=[low, high], fmt="none", ecolor=style["color"], elinewidth=0.8)
    _ticks(axis, sorted({float(row[x]) for row in _points(rows, x, y)}), most)
    axis.grid(axis="y", color="#E8E8E8", linewidth=0.5)
    axis.set_axisbelow(True)


def _ticks(axis: "matplotlib.axes.Axes", xs: Sequence[float], most: int) -> None:
    """Plain numbers; below, a mark for each size that was measured, and its number where there is room."""
    from matplotlib.ticker import NullLocator

    step = -(-len(xs) // most)
    if xs:
        axis.set_xticks(xs, [log_number(x) if i % step == 0 else "" for i, x in enumerate(xs)])
        # else matplotlib puts its own minor ticks with numbers between the measured sizes, once the axis is short
        axis.xaxis.set_minor_locator(NullLocator())
    log_ticks(axis)


def _legend(axes: Any) -> tuple[list[Any], list[str]]:
    """Every peer once, whichever panel it stands in."""
    found: dict[str, Any] = {}
    for axis in axes:
        # by name and not by panel: a peer may be missing from the first panel and stand in a later one
        for handle, text in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(text, handle)
    return list(found.values()), list(found)
