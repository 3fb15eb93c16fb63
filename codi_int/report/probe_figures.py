"""Figures of probes: score and selectivity by layer and position, beside what the question's words alone give."""

from typing import TYPE_CHECKING

from codi_int.report.documents import Document
from codi_int.report.panels import Cells, Table, amount_scale, heatmap, signed_scale
from codi_int.report.style import AMOUNT, PAGE, SIGNED, new_figure, styled

if TYPE_CHECKING:
    import matplotlib.figure

FEW_LAYERS = 4


@styled
def probe_figure(document: Document) -> "matplotlib.figure.Figure":
    """Two maps, positions to the right and layers upwards: the score, and the score minus that of the control task."""
    rows = [row for row in document["rows"] if row["k"] is None]
    layers = sorted({_layer(row) for row in rows})
    positions = sorted({int(row["site"]["position"]) for row in rows})
    words = {one["name"]: one["score"] for one in document["baselines"]}
    caption = (
        f"{document['n']:,} problems of {document['data']}; {document['method']}, {document['folds']} folds that share "
        f"no calculation. The words of the question alone: {words['words of the question']:.2f}, the majority: "
        f"{words['majority']:.2f}. Control task: a random label for each {document['control_types']}. A dot: the most "
        "selective site."
    )
    height = 1.5 + 0.16 * max(len(layers), FEW_LAYERS)
    title = f"What {document['source']} of {document['model']} say of {document['target']}"
    figure = new_figure(PAGE, height, title, caption)
    axes = figure.subplots(1, 2, sharey=True)
    best = max(rows, key=lambda row: row["selectivity"])
    for axis, key, title in zip(axes, ("score", "selectivity"), (document["measure"], "selectivity"), strict=True):
        table: Table = [[_value(rows, layer, position, key) for position in positions] for layer in layers]
        signed = key == "selectivity"
        image = heatmap(
            axis,
            Cells(
                table,
                rows=["fed" if layer == -1 else str(layer) for layer in layers],
                columns=["bot" if position == 0 else str(position) for position in positions],
                marked=[(layers.index(_layer(best)), positions.index(best["site"]["position"]))],
            ),
            norm=signed_scale([table]) if signed else amount_scale([table]),
            cmap=SIGNED if signed else AMOUNT,
        )
        axis.set_xlabel("position")
        bar = figure.colorbar(image, ax=axis, shrink=0.9, pad=0.02, aspect=30)
        bar.outline.set_visible(False)
        bar.set_label(title)
    axes[0].set_ylabel("layer")
    return figure


def _layer(row: Document) -> int:
    """-1 for the thoughts that are fed, which belong to no layer."""
    layer = row["site"]["layer"]
    return -1 if layer is None else int(layer)


def _value(rows: list[Document], layer: int, position: int, key: str) -> float | None:
    """None where the site was not asked for."""
    found = (row[key] for row in rows if _layer(row) == layer and row["site"]["position"] == position)
    return next((float(value) for value in found), None)
