"""The figure of a published experiment run again: what was published, and what the same method and a surer one give."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from codi_int.report.documents import Document
from codi_int.report.style import BLUE, GREY, ORANGE, PAGE, new_figure, styled

if TYPE_CHECKING:
    import matplotlib.figure

UNIT = "%"
"""of the lines that share the axis; counts, losses and points have scales of their own"""
MOST_LINES = 60
"""lines that a figure can name below each other"""


def drawn_lines(document: Document) -> Sequence[dict[str, Any]]:
    """The lines that the figure shows: shares that were published, or that stand beside published ones."""
    lines = [line for line in document["lines"] if line["unit"] == UNIT]
    return [line for line in lines if line["published"] is not None or line["honest"] is not None][:MOST_LINES]


@styled
def reproduction_figure(document: Document) -> "matplotlib.figure.Figure":
    """A row for each share: as published, by the published method here, and by a surer one with its interval."""
    lines = drawn_lines(document)
    text = (
        f"{document['model']} on {document['data']} (n = {document['n_problems']:,}). Published: of another model. "
        "Bars: intervals, each as its line in the table says."
    )
    figure = new_figure(PAGE, 1.6 + 0.17 * len(lines), f"{document['experiment']}, again", text, title_share=0.4)
    axis = figure.subplots(1, 1)
    for y, line in enumerate(lines):
        sure = line["honest"]
        if sure is not None:
            if sure["low"] is not None:
                axis.plot([sure["low"], sure["high"]], [y, y], color=BLUE, linewidth=1.2, solid_capstyle="butt")
            axis.plot(sure["value"], y, "o", color=BLUE)
        if line["here"] is not None:
            axis.plot(line["here"], y, "s", color=GREY, markersize=3.2)
        if line["published"] is not None:
            axis.plot(line["published"], y, "D", color=ORANGE, markerfacecolor="none")
    axis.set_yticks(range(len(lines)), [f"{line['subject']}: {line['measure']}" for line in lines])
    axis.set_ylim(len(lines) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("percent")
    _legend(figure)
    return figure


def _legend(figure: "matplotlib.figure.Figure") -> None:
    from matplotlib.lines import Line2D

    marks = (
        Line2D([], [], marker="D", color=ORANGE, markerfacecolor="none", linestyle="none", label="published"),
        Line2D([], [], marker="s", color=GREY, markersize=3.2, linestyle="none", label="here, the published way"),
        Line2D([], [], marker="o", color=BLUE, label="here, with an interval"),
    )
    figure.legend(handles=marks, loc="outside upper right", ncols=3, columnspacing=1.2)
