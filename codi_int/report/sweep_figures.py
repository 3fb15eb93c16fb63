"""Figures of a sweep: heatmaps of all measures, the Pareto front, layer x position maps, firing rates, the K curve."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codi_int.report.firing_rates import frequency_figure, k_curve_figure
from codi_int.report.panels import Cells, amount_scale, heatmap, k_axis, panel_grid
from codi_int.report.style import AMOUNT, MARKERS, PAGE, SERIES, new_figure, styled, write_figure
from codi_int.report.sweep_rows import DEAD_TRAIN, EXPLAINED, MEASURES, SweepData, SweepMeasure, read_sweep

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import matplotlib.lines

MOST_SITES, MOST_SHAPES = 12, 12
"""panels of the Pareto figure, one for each site; panels of the maps, one for each k and d_sae"""
APART = 1.07
"""factor between dots of different size at the same K"""


def sweep_figures(folder: str | Path, out: str | Path) -> list[Path]:
    """Draw the sweep that lies in `folder` into `out`.

    `heatmaps`, `pareto`, `k-curve`; `frequencies` where the firing rates were kept; with several layers or positions
    `map-explained-variance` and `map-dead-features`.

    Raises:
        DataError: no sweep, or a broken one.
        OutputError: `out` cannot be written to.
    """
    sweep = read_sweep(folder)
    figures = {"heatmaps": heatmaps_figure(sweep), "pareto": pareto_figure(sweep), "k-curve": k_curve_figure(sweep)}
    if sweep.frequencies:
        figures["frequencies"] = frequency_figure(sweep)
    if len(sweep.sites) > 1:
        figures["map-explained-variance"] = site_map_figure(sweep, EXPLAINED)
        figures["map-dead-features"] = site_map_figure(sweep, DEAD_TRAIN)
    return [path for name, figure in figures.items() for path in write_figure(figure, out, name)]


@styled
def heatmaps_figure(sweep: SweepData) -> "matplotlib.figure.Figure":
    """K downwards, dictionary size to the right, one panel for each measure; means where there are seeds or sites."""
    shown = [measure for measure in MEASURES if sweep.has(measure)]
    per_row = 3 if len(sweep.d_saes) > 3 else 4
    lines = -(-len(shown) // per_row)
    height = 0.9 + lines * (0.62 + 0.2 * max(len(sweep.ks), 2))
    figure = new_figure(PAGE, height, f"TopK SAEs by K and size ({_where(sweep)})", sweep.caption)
    axes = panel_grid(figure, len(shown), per_row)
    for number, (axis, measure) in enumerate(zip(axes, shown, strict=True)):
        table = [[sweep.mean(measure, k, d) for d in sweep.d_saes] for k in sweep.ks]
        heatmap(
            axis,
            Cells(table, rows=[str(k) for k in sweep.ks], columns=[f"{d:,}" for d in sweep.d_saes]),
            # each measure has its own scale: they have different units, and numbers stand in the cells
            norm=amount_scale([table]),
            cmap=AMOUNT,
            write=_three_digits,
            upwards=False,
        )
        axis.set_title(measure.label, fontsize=7)
        if number % per_row == 0:
            axis.set_ylabel("K")
        if number >= len(shown) - per_row:
            axis.set_xlabel("features (d_sae)")
    return figure


@styled
def pareto_figure(sweep: SweepData) -> "matplotlib.figure.Figure":
    """Explained variance against K, larger dictionaries larger; filled on the strict front, crossed out on none."""
    names = sweep.sites[:MOST_SITES]
    left = len(sweep.sites) - len(names)
    text = (
        f"{sweep.caption} Sizes side by side at the same K. Filled: on the strict front (none is at least as good in "
        "explained variance, K, size and dead share, and better in one). Hollow: only on the published front (none "
        "explains more with a smaller K). Crosses: on neither."
        + (f" {left} further sites are not shown." if left else "")
    )
    per_row = min(3, len(names))
    height = 1.5 + (2.6 if per_row == 1 else 1.9) * -(-len(names) // per_row)
    figure = new_figure(PAGE if per_row > 1 else 4.6, height, "Quality against sparsity", text)
    axes = panel_grid(figure, len(names), per_row, sharex=True, sharey=True)
    for number, (axis, name) in enumerate(zip(axes, names, strict=True)):
        _front(axis, sweep.at(name), sweep.d_saes)
        k_axis(axis, sweep.ks)
        axis.set_title(name)
        if number % per_row == 0:
            axis.set_ylabel(EXPLAINED.label)
        if number >= len(names) - per_row:
            axis.set_xlabel("K (features kept)")
    axes[-1].legend(handles=_sizes(sweep.d_saes), title="features", loc="lower right", title_fontsize=7)
    return figure


@styled
def site_map_figure(sweep: SweepData, measure: SweepMeasure) -> "matplotlib.figure.Figure":
    """Layers upwards, positions to the right, one panel for each K and size on one scale; hatched: no SAE there."""
    shapes = [(k, d) for d in sweep.d_saes for k in sweep.ks if sweep.mean(measure, k, d) is not None]
    # too many panels to read: the shape that explains most on average stands for all, and the caption says so
    dropped = len(shapes) > MOST_SHAPES
    if dropped:
        shapes = [max(shapes, key=lambda shape: sweep.mean(EXPLAINED, *shape) or 0.0)]
    layers = sorted({row["layer"] for row in sweep.rows if row["layer"] is not None})
    positions = sorted({row["position"] for row in sweep.rows})
    tables = [
        [[_at(sweep, measure, k=k, d_sae=d, layer=la, position=po) for po in positions] for la in layers]
        for k, d in shapes
    ]
    per_row = min(4, len(sweep.ks), len(shapes))
    text = sweep.caption + (" Only the shape that explains most on average is shown." if dropped else "")
    height = 1.0 + (0.45 + 0.11 * max(len(layers), 6)) * -(-len(shapes) // per_row)
    title = f"{measure.label[0].upper()}{measure.label[1:]} by layer and position"
    figure = new_figure(PAGE if per_row > 2 else 4.6, height, title, text)
    axes = panel_grid(figure, len(shapes), per_row, sharex=True, sharey=True)
    names, norm = ["bot" if p == 0 else str(p) for p in positions], amount_scale(tables)
    ticks = [str(layer) if len(layers) <= 8 or layer % 4 == 0 else "" for layer in layers]
    for number, (axis, table, (k, d)) in enumerate(zip(axes, tables, shapes, strict=True)):
        image = heatmap(axis, Cells(table, rows=ticks, columns=names), norm=norm, cmap=AMOUNT)
        axis.set_title(f"K = {k}, {d:,} features", fontsize=7)
        if number % per_row == 0:
            axis.set_ylabel("layer")
        if number >= len(shapes) - per_row:
            axis.set_xlabel("position")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    bar.set_label(measure.label)
    return figure


def _where(sweep: SweepData) -> str:
    return sweep.sites[0] if len(sweep.sites) == 1 else f"means of {len(sweep.sites)} sites"


def _three_digits(value: float) -> str:
    """Three significant digits, without powers of ten."""
    if value == 0:
        return "0"
    return f"{value:.{min(max(2 - math.floor(math.log10(abs(value))), 0), 6)}f}".replace("-", "−")


def _at(sweep: SweepData, measure: SweepMeasure, k: int, d_sae: int, layer: int, position: int) -> float | None:
    here = tuple(row for row in sweep.rows if row["layer"] == layer and row["position"] == position)
    return SweepData(here, {}, "").mean(measure, k, d_sae)


def _front(axis: "matplotlib.axes.Axes", sweep: SweepData, d_saes: Sequence[int]) -> None:
    """One dot for each SAE of a site."""
    for row in sweep.rows:
        number = d_saes.index(row["d_sae"])
        color, size = SERIES[number % len(SERIES)], _size(number)
        # dots of different size at one K would cover each other: shifted by a factor, for the axis is logarithmic
        place = row["k"] * APART ** (number - (len(d_saes) - 1) / 2), EXPLAINED.factor * row[EXPLAINED.key]
        if row["strict_front"] or row["published_front"]:
            axis.scatter(
                *place,
                s=size,
                marker=MARKERS[number % len(MARKERS)],
                linewidths=0.9,
                edgecolors=color,
                c=color if row["strict_front"] else "white",
                zorder=3,
            )
        else:
            axis.scatter(*place, s=size, marker="x", linewidths=0.9, c=color)


def _sizes(d_saes: Sequence[int]) -> list["matplotlib.lines.Line2D"]:
    """What the legend shows: shape, colour and size of each dictionary."""
    from matplotlib.lines import Line2D

    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=MARKERS[i % len(MARKERS)],
            color=SERIES[i % len(SERIES)],
            # a legend's marker is given by its diameter, scatter's by its area
            markersize=_size(i) ** 0.5,
            label=f"{d:,}",
        )
        for i, d in enumerate(d_saes)
    ]


def _size(number: int) -> float:
    """Area of a dot, points squared; dictionaries in ascending order."""
    return 12.0 + 14.0 * min(number, 6)
