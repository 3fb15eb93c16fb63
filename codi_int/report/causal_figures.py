"""Figures of causes: the position x layer map, its two paths, and cumulative ablation against random sets."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from codi_int.report.documents import (
    ACCURACY,
    LOGPROB,
    MEASURES,
    Document,
    Measure,
    family_words,
    is_finding,
    setting,
    site_name,
)
from codi_int.report.panels import Cells, Table, heatmap, signed_scale, zero_line
from codi_int.report.style import BLUE, COLUMN, GREY, PAGE, PALE, SIGNED, new_figure, styled, write_figure

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

PATHS = {"both": "both paths", "cache": "cache only", "recurrence": "recurrence only"}
CONDITIONS = {"free": "alone", "mean": "later silent", "clean": "later clean", "only": "only this one"}
"""what other positions of a cell's layer do, to what a panel is called"""
FEW_LAYERS = 8
"""rows of a map for whose height the label of its scale needs a second line"""


def map_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw a `codi-int/map@1` document: `map`, or for several paths or contexts `map-accuracy` and `map-logprob`.

    Raises:
        OutputError: the folder cannot be written to.
    """
    if is_single(document):
        return write_figure(map_figure(document, MEASURES), out, "map")
    return [path for m in MEASURES for path in write_figure(map_figure(document, (m,)), out, f"map-{m.name}")]


@styled
def map_figure(document: Document, measures: Sequence[Measure] = (ACCURACY,)) -> "matplotlib.figure.Figure":
    """Heatmaps, positions to the right and layers upwards: one panel for each measure, or of one measure for each path
    or context.

    White is no change. A dot: found, and confirmed. Hatched: no path leads from there to the answer.
    """
    paths = _panels(document)
    panels = [(measure, path) for measure in measures for path in paths]
    layers = sorted({_layer(cell) for cell in document["cells"]})
    height = 1.35 + 0.16 * max(len(layers), FEW_LAYERS)
    width = COLUMN if len(panels) == 1 else PAGE
    figure = new_figure(width, height, _map_title(document), _map_caption(document))
    # sharey: layers are named once, at the left; squeeze=False keeps a 2-d array for a single panel too
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for measure in measures:
        mine = [i for i, (name, _) in enumerate(panels) if name is measure]
        tables = {i: _map_table(document, measure, panels[i][1], layers) for i in mine}
        # one scale for all paths of a measure: else the same shade would mean another loss in each panel
        norm = signed_scale(list(tables.values()))
        for i, table in tables.items():
            path = panels[i][1]
            image = heatmap(
                axes[i],
                Cells(
                    table,
                    rows=_layer_names(layers),
                    columns=_position_names(document),
                    marked=_significant(document, measure, path, layers),
                ),
                norm=norm,
                cmap=SIGNED,
            )
            axes[i].set_xlabel("position")
            axes[i].set_title((PATHS | CONDITIONS)[path] if len(paths) > 1 else "")
        # the panels of one measure share the bar, which takes its room from all of them alike
        bar = figure.colorbar(image, ax=[axes[i] for i in mine], shrink=0.9, pad=0.02, aspect=30)
        bar.outline.set_visible(False)
        bar.set_label(fill(measure.label, 28) if len(layers) <= FEW_LAYERS else measure.label)
    axes[0].set_ylabel("layer")
    return figure


def _paths(document: Document) -> list[str]:
    return list(dict.fromkeys(str(cell["propagate"]) for cell in document["cells"]))


def is_single(document: Document) -> bool:
    """Whether a measure has one panel."""
    return len(_panels(document)) == 1


def _cells(document: Document) -> list[Document]:
    """Those of every path and context."""
    return [*document["cells"], *document.get("contexts", ())]


def _panels(document: Document) -> list[str]:
    """What tells the panels of a measure apart: paths, or what other positions do."""
    return list(dict.fromkeys(_panel_of(document, cell) for cell in _cells(document)))


def _panel_of(document: Document, cell: Document) -> str:
    return str(cell["later"] if document.get("contexts") else cell["propagate"])


def _layer(cell: Document) -> int:
    """-1 for the thoughts that are fed, which belong to no layer."""
    layer = cell["site"]["layer"]
    return -1 if layer is None else int(layer)


def _positions(document: Document) -> list[int]:
    return sorted({int(cell["site"]["position"]) for cell in document["cells"]})


def _position_names(document: Document) -> list[str]:
    return ["bot" if p == 0 else str(p) for p in _positions(document)]


def _layer_names(layers: Sequence[int]) -> list[str]:
    """Every layer where there are few, else every second; the fed thoughts always."""
    step = 1 if len(layers) <= 18 else 2
    return ["fed" if layer == -1 else str(layer) if layer % step == 0 else "" for layer in layers]


def _map_table(document: Document, measure: Measure, path: str, layers: Sequence[int]) -> Table:
    """Values by layer and position; None where no cell is or no path leads."""
    cells = [cell for cell in _cells(document) if _panel_of(document, cell) == path]
    # None twice over: a cell that was not asked for, and one that no path leads from; both are hatched
    found = {(_layer(cell), int(cell["site"]["position"])): cell[measure.effect] for cell in cells}
    rows = [[found.get((layer, position)) for position in _positions(document)] for layer in layers]
    return [[None if value is None else measure.factor * value for value in row] for row in rows]


def _significant(document: Document, measure: Measure, path: str, layers: Sequence[int]) -> list[tuple[int, int]]:
    """(row, column) of the cells that were found."""
    positions = _positions(document)
    return [
        (layers.index(_layer(cell)), positions.index(int(cell["site"]["position"])))
        for cell in _cells(document)
        if _panel_of(document, cell) == path and is_finding(cell, measure)
    ]


def _map_title(document: Document) -> str:
    what = {"mean": "its mean over the problems", "zero": "zero"}.get(document["kind"], document["kind"])
    if not document["cumulative"]:
        return f"What is lost when one residual is replaced by {what}"
    onwards = document.get("direction") == "onwards"
    where = "from a position onwards" if onwards else "up to a position"
    return f"What is lost when the residuals {where} are replaced by {what}"


def _map_caption(document: Document) -> str:
    # the number tested, not the number drawn: it is the family
    with_path = sum(cell["estimate"] is not None for cell in _cells(document))
    path = "" if len(_paths(document)) > 1 else f", change passed on by {PATHS[_paths(document)[0]]}"
    parts = [
        f"{document['model']} on {setting(document)}{path}.",
        f"Dots: found {family_words(document, f'{with_path} cells')}.",
    ]
    if with_path < len(_cells(document)):
        parts.append("Hatched: nothing that comes later reads this place.")
    if -1 in {_layer(cell) for cell in document["cells"]}:
        parts.append("fed: the projected thought that the next position is given.")
    return " ".join(parts)


def curve_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw a `codi-int/curve@1` document as `curve`.

    Raises:
        OutputError: the folder cannot be written to.
    """
    return write_figure(curve_figure(document), out, "curve")


@styled
def curve_figure(document: Document) -> "matplotlib.figure.Figure":
    """The strongest n features ablated together, with intervals, over the band of as many random ones."""
    site, draws = site_name(document["site"]), document["random"]
    # earlier documents have sets of as many features, whatever these take out
    alike = "that take out as much" if "comparisons" in document else "of as many features that fire"
    title = f"Features of {site} ablated together, ordered by {document['order']}"
    caption = (
        f"{document['model']} on {setting(document)}, SAE {document['sae']}. "
        f"Bars: 95% intervals over problems. Band: least to most of {len(draws)} random sets {alike}; "
        "line: their median."
    )
    figure = new_figure(PAGE, 2.9, title, caption, title_share=0.45)
    axes = figure.subplots(1, 2)
    for axis, measure in zip(axes, (ACCURACY, LOGPROB), strict=True):
        _curve_panel(axis, document["top"], draws, measure)
        axis.set_xlabel("features ablated (n)")
        axis.set_ylabel(measure.lines)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, columnspacing=1.2)
    return figure


def _curve_panel(
    axis: "matplotlib.axes.Axes",
    top: Sequence[Document],
    draws: Sequence[Sequence[Document]],
    measure: Measure,
) -> None:
    import numpy as np
    from matplotlib.ticker import FuncFormatter, NullLocator

    mean, low, high, factor = measure.effect, measure.low, measure.high, measure.factor
    zero_line(axis, vertical=False)
    if draws:
        # random sets stand below the n that they are matched to, however many features they take for it
        ns = [point["n"] for point in top]
        values = factor * np.array([[point[mean] for point in draw] for draw in draws])
        # least to most and the median, not an interval: ten draws are too few for the tails of one
        axis.fill_between(ns, values.min(0), values.max(0), color=PALE, linewidth=0, label="random, least to most")
        axis.plot(ns, np.median(values, axis=0), color=GREY, linewidth=1, label="random, median")
    ns, ys = [point["n"] for point in top], [factor * point[mean] for point in top]
    # a mean that too few problems carry has no interval: its bar has no length
    ends = [(p[mean], p[mean]) if p[low] is None else (p[low], p[high]) for p in top]
    bars = [[factor * (p[mean] - a) for p, (a, _) in zip(top, ends, strict=True)]]
    bars.append([factor * (b - p[mean]) for p, (_, b) in zip(top, ends, strict=True)])
    # at least zero: rounding can put an estimate a hair outside its interval, and matplotlib refuses that
    axis.errorbar(ns, ys, yerr=np.maximum(bars, 0), color=BLUE, marker="o", elinewidth=0.8, label="first in the order")
    # base 2, for the sizes double; on a linear axis the first eight points would lie on one another
    axis.set_xscale("log", base=2)
    # at most eight names: every second or third where there are more sizes (-(-a // b) rounds upwards)
    axis.set_xticks(ns[:: -(-len(ns) // 8)])
    axis.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    axis.xaxis.set_minor_locator(NullLocator())
