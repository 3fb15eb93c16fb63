"""Figures of specialists: three rules side by side, and what the tested one found against the firing rate."""

from pathlib import Path
from typing import TYPE_CHECKING

from codi_int.report.documents import Document, site_name
from codi_int.report.panels import few_ticks, log_ticks
from codi_int.report.style import BLUE, GREY, ORANGE, PAGE, new_figure, styled, write_figure

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure


def specialization_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw a `codi-int/features-specialize@1` document as `rules`; nothing where no feature lives.

    Raises:
        OutputError: the folder cannot be written to.
    """
    return write_figure(rules_figure(document), out, "rules") if document["rows"] else []


@styled
def rules_figure(document: Document) -> "matplotlib.figure.Figure":
    """Share of features that each rule calls specialized; confirmed properties by firing rate."""
    n = len(document["rows"])
    text = (
        f"{document['n_problems']:,} problems of {document['data']}, SAE {document['sae']}, {n:,} alive features; "
        f"confirmed on {document['confirmed_on']}. Left: Wilson's 95% intervals over features, n above each. Right: of "
        "each specialist of the tested rule the property that it is called by, on the problems that confirm."
    )
    title = f"Specialized features by three rules at {site_name(document['site'])} of {document['model']}"
    figure = new_figure(PAGE, 3.0, title, text)
    left, right = figure.subplots(1, 2)
    _draw_cells(left, document)
    _draw_properties(right, document)
    return figure


def _draw_cells(axis: "matplotlib.axes.Axes", document: Document) -> None:
    cells = [cell for cell in document["cells"] if cell["share"] is not None]
    populations = list(dict.fromkeys(cell["population"] for cell in cells))
    for cell in cells:
        place = document["rules"].index(cell["rule"]) + 0.25 * (populations.index(cell["population"]) - 0.5)
        color = BLUE if cell["population"] == "alive" else ORANGE
        axis.plot([place, place], [100 * cell["low"], 100 * cell["high"]], color=color, linewidth=1)
        first = cell["rule"] == document["rules"][0]
        words = "all alive" if cell["population"] == "alive" else f"firing rate {cell['population']}"
        axis.plot([place], [100 * cell["share"]], "o", color=color, markersize=4, label=words if first else None)
        axis.annotate(
            f"{cell['n']:,}",
            (place, 100 * cell["high"]),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=6,
            color=GREY,
        )
    axis.set_xticks(range(3), ["published", "ties counted", "tested"])
    axis.set_ylabel("specialized (% of features)")
    axis.set_ylim(bottom=0)
    axis.margins(x=0.2, y=0.15)
    axis.legend()


def _draw_properties(axis: "matplotlib.axes.Axes", document: Document) -> None:
    kinds = (("value", BLUE, "number"), ("n_steps", GREY, "number of steps"), ("", ORANGE, "operation or pattern"))
    for kind, color, words in kinds:
        points = [
            (100 * row["firing_rate"], 100 * first["confirmation"]["difference"])
            for row in document["rows"]
            if (first := next((one for one in row["properties"] if one["confirmed"]), None)) is not None
            and (first["kind"] == kind or (not kind and first["kind"] not in ("value", "n_steps")))
        ]
        if points:
            axis.plot(*zip(*points, strict=True), ".", color=color, markersize=4, label=f"{words} ({len(points)})")
    axis.set_xlabel("fires on (% of problems)")
    axis.set_ylabel("share given firing - base rate (points)")
    if axis.lines:
        axis.set_xscale("log")
        log_ticks(axis, "x")
        axis.legend()
    few_ticks(axis, "y")
