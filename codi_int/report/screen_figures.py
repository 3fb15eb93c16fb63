"""Figures of a screen: volcano plot, strongest effects with intervals, effect by firing rate, ranks among controls."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codi_int.report.documents import ACCURACY, MEASURES, Document, Measure
from codi_int.report.pair_figures import pair_figures
from codi_int.report.panels import few_ticks, log_ticks, panel_grid, zero_line
from codi_int.report.screen_rows import Dot, Panel, alive, border, caption, caption_of_dots, panels, sites, where
from codi_int.report.style import BLUE, GREY, PAGE, RED, new_figure, styled, write_figure

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

TOP, PER_ROW, NAMED, BINS = 20, 4, 5, 10
"""features in the forest plot; small panels in a row; features that carry their number; bars of the histogram"""
DASHES = (0, (4, 2))
RINGS = "Larger rings: several features on one spot."
LEAST_COUNT = 5
"""from so many features on one spot on, their number stands beside it"""


def screen_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw a `codi-int/screen@1` document: `volcano`, `effects`, `firing` and `ranks`.

    With pairs also `pairs`. With several sites `volcano` and `firing` become one file for each measure, with a panel
    for each site.

    Raises:
        OutputError: the folder cannot be written to.
    """
    one_site = len(sites(document)) == 1
    paths = []
    for suffix, measures in [("", MEASURES)] if one_site else [(f"-{m.name}", (m,)) for m in MEASURES]:
        paths += write_figure(volcano_figure(document, measures), out, f"volcano{suffix}")
        paths += write_figure(firing_figure(document, measures), out, f"firing{suffix}")
    paths += write_figure(forest_figure(document), out, "effects")
    if document.get("pairs"):
        paths += pair_figures(document, out)
    return paths + write_figure(rank_figure(document), out, "ranks")


@styled
def volcano_figure(document: Document, measures: Sequence[Measure] = MEASURES) -> "matplotlib.figure.Figure":
    """Effect against -log10 p, with the border of what was found; a panel for each measure, or for each site."""
    shown = panels(document, measures)
    text = (
        f"{caption_of_dots(document)} {RINGS} Dashed: the largest p that was found, or what a lone one would have to "
        "pass. On the ground: p = 1, or no p-value."
    )
    figure, axes = _axes(shown, f"Ablating single features at {where(document)}", text)
    line = {measure: border(alive(document, measure)) for measure in measures}
    for axis, panel in zip(axes, shown, strict=True):
        zero_line(axis)
        axis.axhline(line[panel.measure], color=GREY, linewidth=0.8, linestyle=DASHES)
        count = panel.measure is ACCURACY  # whose values are few, so that many features share a spot
        _scatter(axis, panel.dots, [dot.effect for dot in panel.dots], [dot.height for dot in panel.dots], count)
        axis.margins(x=0.14, y=0.1)
        few_ticks(axis, "x", 6 if panel.site is None else 4)
    for axis, panel in zip(axes, shown, strict=True):
        _name_strongest(axis, panel.dots)
    _label(axes, shown, below=None, left="−log₁₀ p")
    return figure


@styled
def firing_figure(document: Document, measures: Sequence[Measure] = MEASURES) -> "matplotlib.figure.Figure":
    """Effect against how often a feature fires; a panel for each measure, or for each site."""
    shown = panels(document, measures)
    figure, axes = _axes(
        shown, f"Effect by how often a feature fires, {where(document)}", f"{caption_of_dots(document)} {RINGS}"
    )
    for axis, panel in zip(axes, shown, strict=True):
        zero_line(axis, vertical=False)
        _scatter(axis, panel.dots, [100 * dot.firing_rate for dot in panel.dots], [dot.effect for dot in panel.dots])
        if panel.dots:
            axis.set_xscale("log")
            log_ticks(axis, "x")
        axis.margins(y=0.12)
        few_ticks(axis, "y")
    _label(axes, shown, below="fires on (% of problems)", left=None)
    return figure


@styled
def forest_figure(document: Document, top: int = TOP) -> "matplotlib.figure.Figure":
    """The strongest effects with their intervals, under both measures: by accuracy's p-value, then log-probability."""
    by_place = {(dot.site, dot.feature): dot for dot in alive(document, MEASURES[1])}
    # by accuracy first, which is coarse and ties often; the size of the log-probability's change decides among equals
    ranked = sorted(alive(document, MEASURES[0]), key=lambda d: (d.p, -abs(by_place[d.site, d.feature].effect)))[:top]
    several = len(sites(document)) > 1
    text = f"{caption_of_dots(document)} Bars: 95% intervals over problems. In brackets: how often it fires."
    title = f"The {len(ranked)} strongest single features at {where(document)}"
    figure = new_figure(PAGE, 1.5 + 0.155 * max(len(ranked), 3), title, text)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, measure, dots in zip(
        axes, MEASURES, (ranked, [by_place[d.site, d.feature] for d in ranked]), strict=True
    ):
        zero_line(axis)
        for y, dot in enumerate(dots):
            color = _color(dot)
            axis.plot([dot.low, dot.high], [y, y], color=color, linewidth=1.0, solid_capstyle="butt")
            axis.plot(dot.effect, y, "o", color=color, markerfacecolor=color if dot.significant else "white")
        axis.set_xlabel(measure.lines)
        axis.tick_params(axis="y", length=0)
        few_ticks(axis)
    names = [f"{f'{d.site} ' if several else ''}{d.feature} ({100 * d.firing_rate:.1f} %)" for d in ranked]
    axes[0].set_yticks(range(len(ranked)), names)
    axes[0].set_ylim(max(len(ranked), 3) - 0.4, -0.6)
    axes[0].set_ylabel("feature")
    return figure


@styled
def rank_figure(document: Document) -> "matplotlib.figure.Figure":
    """How many features do more than how many of their matched controls; flat where nothing stands out."""
    text = (
        f"{caption(document)} Rank: share of features that fire about as often and change less, ties counting half. "
        "Dashed: an even spread, as if every feature were like its controls; not drawn where more than a tenth of the "
        "changes are exactly zero and so tie."
    )
    figure = new_figure(PAGE, 2.5, f"Rank among matched features, {where(document)}", text)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, measure in zip(axes, MEASURES, strict=True):
        dots = [dot for dot in alive(document, measure) if dot.rank is not None]
        edges = [100 * i / BINS for i in range(BINS + 1)]
        axis.hist([100 * (dot.rank or 0) for dot in dots], edges, color=BLUE, edgecolor="white", linewidth=0.6)
        # ties would count as an excess at 50 %: an even spread is expected only where effects are hardly ever equal
        if sum(dot.effect == 0 for dot in dots) <= len(dots) / 10:
            axis.axhline(len(dots) / BINS, color=GREY, linewidth=0.8, linestyle=DASHES)
        axis.set_xlabel("rank among matched features (%)")
        axis.set_title(measure.label.split(" (")[0])
    axes[0].set_ylabel("features")
    return figure


def _axes(
    shown: Sequence[Panel], title: str, text: str
) -> tuple["matplotlib.figure.Figure", list["matplotlib.axes.Axes"]]:
    """Two wide panels for two measures, small ones on common axes for several sites."""
    small = shown[0].site is not None
    per_row = min(PER_ROW if small else 2, len(shown))
    width = PAGE if per_row > 1 else PAGE / 2
    figure = new_figure(width, 1.0 + (1.4 if small else 2.1) * -(-len(shown) // per_row), title, text)
    axes = panel_grid(figure, len(shown), per_row, sharex=small, sharey=small)
    for axis, panel in zip(axes, shown, strict=True):
        if panel.site is not None:
            axis.set_title(panel.site)
    return figure, axes


def _label(axes: Sequence["matplotlib.axes.Axes"], shown: Sequence[Panel], below: str | None, left: str | None) -> None:
    """Names of the axes; None stands for the measure's own. Small panels are named at the border only."""
    per_row = min(PER_ROW, len(shown))
    last_row = (len(shown) - 1) // per_row
    for number, (axis, panel) in enumerate(zip(axes, shown, strict=True)):
        small = panel.site is not None
        own = panel.measure.short if small else panel.measure.lines
        if not small or number % per_row == 0:
            axis.set_ylabel(left or own)
        if not small or number // per_row == last_row:
            axis.set_xlabel(below or own)


def _color(dot: Dot) -> str:
    """Grey where nothing was found, else by the direction of the change."""
    return GREY if not dot.significant else RED if dot.effect < 0 else BLUE


def _scatter(
    axis: "matplotlib.axes.Axes", dots: Sequence[Dot], xs: Sequence[float], ys: Sequence[float], count: bool = False
) -> None:
    """Filled where found, rings elsewhere; several on one spot make one larger ring, with their number if asked."""
    # rounded: sums in another order differ in the last bit, and dots on one spot would not be counted as such
    places = Counter((round(x, 12), round(y, 12), _color(dot)) for x, y, dot in zip(xs, ys, dots, strict=True))
    for found in (False, True):
        chosen = [(x, y, color, n) for (x, y, color), n in places.items() if (color != GREY) is found]
        if not chosen:
            continue
        at_x, at_y, colors, counts = zip(*chosen, strict=True)
        # the area grows slower than the number: at n itself, the spot of all zeros would cover the panel
        sizes = [9 * n**0.6 for n in counts]
        axis.scatter(
            at_x,
            at_y,
            sizes,
            c=list(colors) if found else "none",
            edgecolors=list(colors),
            linewidths=0.6,
            alpha=0.9 if found else 0.6,
            zorder=3 if found else 2,
            clip_on=False,
        )
    for (x, y, color), n in places.items():
        if count and n >= LEAST_COUNT:
            axis.annotate(
                f"{n}",
                (x, y),
                (0, 1.5 + 1.7 * n**0.3),
                textcoords="offset points",
                ha="center",
                fontsize=6,
                color=color,
                bbox={"facecolor": "white", "linewidth": 0, "pad": 0.4},
            )


def _name_strongest(axis: "matplotlib.axes.Axes", dots: Sequence[Dot]) -> None:
    """Numbers beside the strongest of the found features, outwards from zero; none over another or over a dot."""
    # in pixels, for boxes of letters are not in the axes' units; true only once limits are set, so it is called last
    places: list[list[float]] = [axis.transData.transform((dot.effect, dot.height)).tolist() for dot in dots]
    # fonts are in points, 72 to the inch, and the transform above gives pixels of the figure's own dpi
    pixels = axis.get_figure().dpi / 72  # type: ignore[union-attr]
    boxes: list[tuple[float, float, float, float]] = []
    strongest = sorted((i for i, d in enumerate(dots) if d.significant), key=lambda i: -dots[i].height)
    for i in strongest[:NAMED]:
        dot, (x, y), right = dots[i], places[i], dots[i].effect > 0
        far = pixels * (5 + 4.2 * len(str(dot.feature)))
        box = (x + 2 if right else x - far, y - 4 * pixels, x + far if right else x - 2, y + 4 * pixels)
        covered = any(_inside(place, box) for j, place in enumerate(places) if j != i)
        if covered or any(_overlap(box, other) for other in boxes):
            continue
        boxes.append(box)
        axis.annotate(
            str(dot.feature),
            (dot.effect, dot.height),
            (4 if right else -4, 0),
            fontsize=6,
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
        )


def _inside(place: Sequence[float], box: tuple[float, float, float, float]) -> bool:
    return box[0] <= place[0] <= box[2] and box[1] <= place[1] <= box[3]


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
