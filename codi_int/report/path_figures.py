"""The figure of one edit by both paths and by each alone."""

from typing import TYPE_CHECKING

from codi_int.report.documents import MEASURES, Document, site_name
from codi_int.report.panels import few_ticks, zero_line
from codi_int.report.style import BLUE, GREY, PAGE, RED, new_figure, styled

if TYPE_CHECKING:
    import matplotlib.figure

ROWS = {
    "both": "both paths",
    "cache": "cache alone",
    "recurrence": "recurrence alone",
    "rest": "both − (cache + recurrence)",
}
"""key of a document to what the axis calls it"""


@styled
def path_figure(document: Document) -> "matplotlib.figure.Figure":
    """Effects with their intervals below each other, and what the two paths do not add up to."""
    text = (
        f"{document['model']} on {document['data']} (n = {document['n_problems']:,}). Bars: 95% intervals over "
        "problems."
    )
    title = f"{document['label']} at {site_name(document['site'])}, by path"
    figure = new_figure(PAGE, 2.3, title, text)
    for axis, measure in zip(figure.subplots(1, 2, sharey=True), MEASURES, strict=True):
        zero_line(axis)
        for y, key in enumerate(ROWS):
            found = _found(document, key, measure.name)
            color = RED if key == "both" else GREY if key == "rest" else BLUE
            ends = [measure.factor * found["low"], measure.factor * found["high"]]
            axis.plot(ends, [y, y], color=color, solid_capstyle="butt")
            axis.plot(measure.factor * found["estimate"], y, "o", color=color)
        axis.set_yticks(range(len(ROWS)), list(ROWS.values()))
        axis.set_ylim(len(ROWS) - 0.5, -0.5)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel(measure.lines)
        few_ticks(axis)
    return figure


def _found(document: Document, key: str, measure: str) -> Document:
    """Estimate, low and high of one row."""
    if key == "rest":
        found: Document = document["rest" if measure == "accuracy" else "rest_logprob"]
        return found
    effect: Document = document[key]
    return effect if measure == "accuracy" else effect["logprob"]
