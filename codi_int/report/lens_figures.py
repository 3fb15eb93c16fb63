"""Figures of the thought lens: how often results of steps are seen over a data set; what one problem's cells say."""

from typing import TYPE_CHECKING, Any

from codi_int.report.documents import Document
from codi_int.report.panels import Cells, heatmap, panel_grid
from codi_int.report.style import AMOUNT, PAGE, new_figure, styled

if TYPE_CHECKING:
    import matplotlib.figure

PER_ROW = 3
LONGEST_WORD = 8
"""characters of a token in a cell"""


@styled
def lens_figure(document: Document) -> "matplotlib.figure.Figure":
    """A heatmap for each result, layers upwards, positions to the right; a dot where the interval lies above chance."""
    from matplotlib.colors import Normalize

    groups, size = document["groups"], (document["n_layers"], document["n_positions"])
    rows = -(-len(groups) // PER_ROW)
    text = (
        f"{document['data']} (n = {document['n_problems']:,}). Share of problems whose result is among the top "
        f"{document['top']} tokens. Dot: the {100 * document['confidence']:.0f}% interval lies above chance."
    )
    height = 0.9 + (0.9 + 0.13 * size[0]) * rows
    figure = new_figure(PAGE, height, f"What {document['model']}'s thoughts say", text)
    # one scale for all panels, so that they can be compared
    norm = Normalize(0.0, max(0.01, *(cell["rate"] for group in groups for cell in group["cells"])))
    axes = panel_grid(figure, len(groups), PER_ROW, sharex=True, sharey=True)
    image: Any = None
    for axis, group in zip(axes, groups, strict=True):
        rates = [[cell["rate"] for cell in group["cells"] if cell["layer"] == layer] for layer in range(size[0])]
        dots = [(c["layer"], c["position"]) for c in group["cells"] if c["low"] > c["by_chance"]]
        cells = Cells(rates, columns=_positions(size[1]), marked=dots)
        image = heatmap(axis, cells, norm=norm, cmap=AMOUNT)
        axis.set_yticks(range(0, size[0], max(1, size[0] // 8)))
        name = "the answer" if group["name"] == "answer" else f"the result of {group['name']}"
        axis.set_title(f"{name} (n = {group['n']:,})")
        axis.set_xlabel("position")
    for axis in axes[::PER_ROW]:
        axis.set_ylabel("layer")
    figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02).set_label("share of problems")
    return figure


@styled
def lens_grid_figure(document: Document) -> "matplotlib.figure.Figure":
    """The likeliest token at every layer and position, coloured by its probability; a dot where it is a result."""
    from matplotlib.colors import Normalize

    first = [[cell[0] for cell in row] for row in document["tokens"]]
    known = [(i, j) for i, row in enumerate(first) for j, token in enumerate(row) if token["is_result"]]
    text = f"{document['question']} The likeliest token of each cell; bold: a result of the problem's steps."
    figure = new_figure(PAGE, 1.3 + 0.2 * len(first), f"What the thoughts of {document['problem_id']} say", text)
    axis = figure.subplots()
    norm = Normalize(0.0, 1.0)
    cells = Cells(
        [[token["probability"] for token in row] for row in first],
        rows=[str(layer) for layer in range(len(first))],
        columns=_positions(len(first[0])),
    )
    image = heatmap(axis, cells, norm=norm, cmap=AMOUNT)
    for i, row in enumerate(first):
        for j, token in enumerate(row):
            word = token["text"].strip()[:LONGEST_WORD] or "␣"
            # viridis is dark up to two thirds of its range
            ink = "black" if token["probability"] > 0.65 else "white"
            axis.text(j, i, word, ha="center", va="center", color=ink, weight="bold" if (i, j) in known else "normal")
    axis.set_xlabel("position")
    axis.set_ylabel("layer")
    figure.colorbar(image, ax=axis, pad=0.02).set_label("probability")
    return figure


def _positions(n: int) -> list[str]:
    return ["<bot>", *map(str, range(1, n))]
