"""How often the features of a sweep's SAEs fire, and what K does: the published curves and their six panels."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codi_int.report.panels import k_axis, log_ticks, panel_grid
from codi_int.report.style import BLUE, MARKERS, PAGE, SERIES, new_figure, styled
from codi_int.report.sweep_rows import DEAD_TRAIN, EXPLAINED, MSE, SweepData, SweepMeasure

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

RARE = 0.01
"""features that fire on fewer rows than this share count as rare"""
SPECIALIZED = SweepMeasure("specialized_share", "specialized features (%)", 100.0)
Value = Callable[[int, int], float | None]
"""from K and d_sae to what a curve shows"""


@styled
def frequency_figure(sweep: SweepData) -> "matplotlib.figure.Figure":
    """Features alive, from the most to the least frequent, a panel for each size, a curve for each K."""
    here, text = _one_site(sweep)
    sizes = [d for d in here.d_saes if any(here.firing(k, d).size for k in here.ks)]
    text += " Features that fire on none of these rows are not shown; a curve ends at the number of those that do."
    per_row = min(3, max(len(sizes), 1))
    height = 1.1 + 1.8 * max(-(-len(sizes) // per_row), 1)
    figure = new_figure(PAGE if per_row > 1 else 4.6, height, f"How often features fire ({here.sites[0]})", text)
    for number, (axis, d_sae) in enumerate(
        zip(panel_grid(figure, len(sizes), per_row, sharey=True), sizes, strict=True)
    ):
        for k, color in zip(here.ks, _shades(len(here.ks)), strict=True):
            # ranks instead of features: feature numbers of two SAEs have nothing to do with one another
            rates = 100 * here.firing(k, d_sae)
            axis.plot(range(1, len(rates) + 1), rates, color=color, label=f"K = {k}")
        # rates span from one row in thousands to nearly all
        axis.set_yscale("log")
        axis.set_title(f"{d_sae:,} features")
        axis.set_xlabel("rank")
        if number % per_row == 0:
            axis.set_ylabel("fires on (% of rows)")
        if number == len(sizes) - 1:
            axis.legend(loc="upper right", handlelength=1.2)
        log_ticks(axis)
    return figure


@styled
def k_curve_figure(sweep: SweepData) -> "matplotlib.figure.Figure":
    """The six panels of the published comparison of K, a curve for each size.

    A: specialized features, where the table has them, else alive features that fire on fewer than 1 % of rows.
    B: the lowest firing rate. C: explained variance. D: mean squared error. E: spread of firing rates, at the smallest
    size. F: dead features.
    """
    here, text = _one_site(sweep)
    text += " Box: quartiles and median; whiskers: 5th and 95th percentile." if here.frequencies else ""
    figure = new_figure(PAGE, 4.4, f"What K does ({here.sites[0]})", text)
    axes = panel_grid(figure, 6, 3)
    specialized = here.has(SPECIALIZED)
    first: tuple[Value, str] = (
        (lambda k, d: here.mean(SPECIALIZED, k, d), SPECIALIZED.label)
        if specialized
        else (lambda k, d: _share_rare(here.firing(k, d)), "rare among alive (%),\nfire on < 1 % of rows")
    )
    curves: dict[int, tuple[Value, str]] = {
        0: first,
        1: (lambda k, d: _lowest(here.firing(k, d)), "lowest firing rate (%)"),
        2: (lambda k, d: here.mean(EXPLAINED, k, d), EXPLAINED.label),
        3: (lambda k, d: here.mean(MSE, k, d), MSE.label),
        5: (lambda k, d: here.mean(DEAD_TRAIN, k, d), "dead features,\ntraining rows (%)"),
    }
    for place, (value, label) in curves.items():
        _curves(axes[place], here, value)
        axes[place].set_ylabel(label)
    _spread(axes[4], here)
    axes[1].set_yscale("log")
    log_ticks(axes[1])
    for letter, axis in zip("ABCDEF", axes, strict=True):
        axis.set_title(letter, fontweight="bold")
        k_axis(axis, here.ks)
        axis.set_xlabel("K")
    axes[2].legend(title="features", title_fontsize=7)
    return figure


def _one_site(sweep: SweepData) -> tuple[SweepData, str]:
    """The sweep at its first site, and its caption."""
    here = sweep.at(sweep.sites[0])
    more = f" The first of {len(sweep.sites)} sites." if len(sweep.sites) > 1 else ""
    return here, here.caption + more


def _curves(axis: "matplotlib.axes.Axes", sweep: SweepData, value: Value) -> None:
    for number, d_sae in enumerate(sweep.d_saes):
        points = [(k, found) for k in sweep.ks if (found := value(k, d_sae)) is not None]
        style = {"color": SERIES[number % len(SERIES)], "marker": MARKERS[number % len(MARKERS)]}
        axis.plot([k for k, _ in points], [v for _, v in points], label=f"{d_sae:,}", **style)  # type: ignore[arg-type]


def _spread(axis: "matplotlib.axes.Axes", sweep: SweepData) -> None:
    """Boxes of the alive features' firing rates at the smallest size, one for each K."""
    d_sae = sweep.d_saes[0]
    axis.set_ylabel(f"firing rates (%),\n{d_sae:,} features")
    found = [(k, 100 * sweep.firing(k, d_sae)) for k in sweep.ks]
    found = [(k, rates) for k, rates in found if rates.size]
    if found:
        axis.boxplot(
            [rates for _, rates in found],
            positions=[k for k, _ in found],
            widths=[0.35 * k for k, _ in found],
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": "white", "edgecolor": BLUE},
            whiskerprops={"color": BLUE},
            capprops={"color": BLUE},
            medianprops={"color": BLUE},
        )
        axis.set_yscale("log")
        log_ticks(axis)


def _share_rare(rates: NDArray[np.float32]) -> float | None:
    """Share of alive features that fire on fewer than 1 % of rows, in percent."""
    return 100 * float((rates < RARE).mean()) if rates.size else None


def _lowest(rates: NDArray[np.float32]) -> float | None:
    return 100 * float(rates[-1]) if rates.size else None


def _shades(n: int) -> list[tuple[float, float, float, float]]:
    """Dark to bright for small to large K, without the palest."""
    from matplotlib import colormaps

    # neither end: one is lost on a dark page, the other on a white one
    return [colormaps["viridis"](0.3 + 0.58 * i / max(n - 1, 1)) for i in range(n)]
