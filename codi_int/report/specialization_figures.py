"""Figures of specialists by three rules: at one site, against the firing rate, or over layers and positions."""

from pathlib import Path
from typing import TYPE_CHECKING

from codi_int.report.documents import Document, site_name
from codi_int.report.panels import Cells, amount_scale, few_ticks, heatmap, log_ticks
from codi_int.report.style import AMOUNT, BLUE, GREY, ORANGE, PAGE, new_figure, styled, write_figure

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure


FEW_LAYERS = 4
"""for as many there is room at least, and room for numbers"""


def specialization_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw a `codi-int/features-specialize@1` document as `rules`; nothing where no feature lives.

    Raises:
        OutputError: the folder cannot be written to.
    """
    return write_figure(rules_figure(document), out, "rules") if document["rows"] else []


def landscape_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw a `codi-int/features-specialize-sites@1` document as `landscape`; nothing where no feature lives.

    Raises:
        OutputError: the folder cannot be written to.
    """
    return write_figure(landscape_figure(document), out, "landscape") if document["rows"] else []


@styled
def landscape_figure(document: Document) -> "matplotlib.figure.Figure":
    """Layers upwards and positions to the right: alive features, and the share that each rule calls specialized."""
    n = len(document["rows"])
    low, high = document["band"]
    text = (
        f"{document['n_problems']:,} problems of {document['data']}, {n:,} alive features at {len(document['sites'])} "
        f"sites, how many at each on the left; confirmed on {document['confirmed_on']}. The tested rule is one family "
        f"over all sites. Below: features that fire on {100 * low:g} to {100 * high:g} % of problems. Hatched: no SAE, "
        "or no such feature. One scale for all shares."
    )
    sites = {(site["site"]["layer"], site["site"]["position"]): site["cells"] for site in document["sites"]}
    layers, positions = (sorted({place[i] for place in sites}) for i in (0, 1))
    height = 1.4 + 2 * (0.35 + 0.115 * max(len(layers), FEW_LAYERS))
    figure = new_figure(
        PAGE, height, f"Specialized features by three rules over the sites of {document['model']}", text
    )
    axes = figure.subplots(2, 4, sharex=True, sharey=True)
    rules = ("published", "ties counted", "tested")
    for below, row in enumerate(axes):
        first = len(rules) * below
        tables = [
            [[_value(sites.get((layer, p)), place, key) for p in positions] for layer in layers]
            for place, key in ((first, "n"), *((first + i, "share") for i in range(3)))
        ]
        for i, (axis, table) in enumerate(zip(row, tables, strict=True)):
            cells = Cells(table, rows=_few([str(one) for one in layers]), columns=[str(p) for p in positions])
            norm = amount_scale([table]) if not i else amount_scale([[[0.0, 100.0]]])
            write = _write if len(layers) <= FEW_LAYERS else None
            image = heatmap(axis, cells, norm=norm, cmap=AMOUNT, write=write)
            words = ("features", *(f"{rule}, %" for rule in rules))[i]
            axis.set_title(f"{words}{', common' if below and not i else ''}")
            if i in (0, 3):
                bar = figure.colorbar(image, ax=axis, shrink=0.9, pad=0.03, aspect=25)
                bar.outline.set_visible(False)
        row[0].set_ylabel("layer")
    for axis in axes[1]:
        axis.set_xlabel("position")
    return figure


def _value(cells: "list[Document] | None", place: int, key: str) -> float | None:
    """None where the site has no SAE, or no feature of that kind."""
    if cells is None or not cells[place]["n"]:
        return None
    return float(cells[place]["n"]) if key == "n" else 100 * float(cells[place]["share"])


def _write(value: float) -> str:
    return f"{value:.0f}"


def _few(names: list[str]) -> list[str]:
    """Every third name where there are many, so that they do not touch."""
    return [name if len(names) < 9 or not i % 3 else "" for i, name in enumerate(names)]


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
