"""Figures of several dictionaries of one site: effects beside those of partners, and sizes of effects side by side."""

from typing import TYPE_CHECKING

from codi_int.report.documents import ACCURACY, Document, site_name
from codi_int.report.panels import few_ticks, panel_grid, zero_line
from codi_int.report.style import BLUE, GREY, ORANGE, PAGE, new_figure, styled

if TYPE_CHECKING:
    import matplotlib.figure

PER_ROW = 3
"""panels beside each other"""
MOST_DICTIONARIES = 9
"""panels that a figure has"""


def drawn_dictionaries(document: Document) -> list[str]:
    """The dictionaries of other seeds that have a panel."""
    return list(dict.fromkeys(row["dictionary"] for row in document["rows"]))[:MOST_DICTIONARIES]


@styled
def seeds_figure(document: Document) -> "matplotlib.figure.Figure":
    """Each feature's change of accuracy against its partner's, a panel for each dictionary of another seed."""
    names = drawn_dictionaries(document)
    text = (
        f"{document['model']} on {document['data']} (n = {document['n_problems']:,}). A dot: a feature and its "
        "partner, each ablated by itself. Filled: alike enough to be the same feature. Dashed: equal effects."
    )
    title = f"Features of {site_name(document['site'])} beside their partners under other seeds"
    figure = new_figure(PAGE, 1.2 + 2.1 * -(-len(names) // PER_ROW), title, text)
    factor = ACCURACY.factor
    for axis, name in zip(panel_grid(figure, len(names), PER_ROW, sharex=True, sharey=True), names, strict=True):
        rows = [row for row in document["rows"] if row["dictionary"] == name]
        zero_line(axis)
        zero_line(axis, vertical=False)
        for matched in (False, True):
            chosen = [row for row in rows if row["matched"] == matched]
            xs, ys = ([factor * row[key] for row in chosen] for key in ("accuracy", "accuracy_partner"))
            face = BLUE if matched else "none"
            axis.plot(xs, ys, "o", color=BLUE if matched else GREY, markerfacecolor=face, markersize=3)
        # the diagonal as far as either axis goes
        ends = [min(*axis.get_xlim(), *axis.get_ylim()), max(*axis.get_xlim(), *axis.get_ylim())]
        axis.plot(ends, ends, color=GREY, linewidth=0.6, linestyle="--", zorder=0)
        axis.set_title(f"{name} ({len(rows):,} features)")
        axis.set_xlabel("accuracy, points")
        axis.set_ylabel("partner's, points")
        few_ticks(axis)
        few_ticks(axis, "y")
    return figure


@styled
def against_figure(document: Document) -> "matplotlib.figure.Figure":
    """Median and 90th percentile of the sizes of effects in each dictionary, with their intervals."""
    rows = document["rows"]
    text = (
        f"{document['model']} on {document['data']} (n = {document['n_problems']:,}). Size of the change of the clean "
        "answer's probability by ablating a feature that fires. Bars: 95% intervals."
    )
    title = f"Dictionaries of {site_name(document['site'])} side by side"
    figure = new_figure(PAGE, 1.5 + 0.3 * len(rows), title, text)
    axis = figure.subplots(1, 1)
    for key, color, shift, label in (("median", BLUE, -0.12, "median"), ("upper", ORANGE, 0.12, "90th percentile")):
        for y, row in enumerate(rows):
            found = row[key]
            if found["low"] is not None:
                ends = [100 * found["low"], 100 * found["high"]]
                axis.plot(ends, [y + shift] * 2, color=color, solid_capstyle="butt")
            # one entry of the legend for each colour
            axis.plot(100 * found["estimate"], y + shift, "o", color=color, label=label if not y else None)
    names = [
        f"{row['name']}: {row['n_selected']:,} of {row['n_tested']:,} selected"
        + ("" if row["n_confirmed"] is None else f", {row['n_confirmed']:,} confirmed")
        for row in rows
    ]
    axis.set_yticks(range(len(rows)), names)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("probability of the clean answer, points")
    axis.legend(loc="lower right")
    few_ticks(axis)
    return figure
