"""Figures of single experiments: the effect among its controls, and effects of growing size."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codi_int.report.documents import ALPHA, MEASURES, Document, Measure, site_name
from codi_int.report.panels import few_ticks, plain, zero_line
from codi_int.report.prediction_figures import prediction_figures
from codi_int.report.style import BLUE, GREY, PAGE, RED, new_figure, styled, write_figure

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

CONTROLS = {"accuracy": "estimates", "logprob": "logprob_estimates"}
"""measure to the key under which a control set holds it"""
SPREAD = (0.0, 0.22, -0.22, 0.11, -0.11, 0.3, -0.3)
"""heights at which controls with neighbouring effects are drawn, so that they do not hide each other"""
NO_BAR = " No bar: too few problems carry the mean."
WIDE = 8.0
"""factors that differ by more than this stand on a logarithmic axis"""


def result_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw a `codi-int/result@2` document as `effect`, and its `prediction` if any; nothing where nothing was edited.

    Raises:
        OutputError: the folder cannot be written to.
    """
    if document["effect"]["p_value"] is None:
        return []
    return write_figure(result_figure(document), out, "effect") + prediction_figures(document, out)


def dose_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw a `codi-int/results@1` document as `dose`.

    Raises:
        OutputError: the folder cannot be written to.
    """
    return write_figure(dose_figure(document), out, "dose")


@styled
def result_figure(document: Document) -> "matplotlib.figure.Figure":
    """The effect with its interval, over what each kind of control did; a panel for each measure that was taken."""
    effect, controls = document["effect"], document["controls"]
    shown = [m for m in MEASURES if m is MEASURES[0] or effect["logprob"] is not None]
    title = _title(document, _name(document))
    draws = ", ".join(f"{group['draws']} {name.replace('_', ' ')}" for name, group in controls.items())
    text = f"{_setting(document)} Bar: 95% interval over problems." + (f" Rings: {draws}." if draws else "")
    text += NO_BAR if any(math.isnan(_interval(document, measure)[1]) for measure in shown) else ""
    figure = new_figure(PAGE, 1.45 + 0.3 * (1 + len(controls)), title, text)
    axes = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
    for axis, measure in zip(axes, shown, strict=True):
        zero_line(axis)
        estimate, low, high = _interval(document, measure)
        axis.plot([low, high], [0, 0], color=RED, linewidth=1.2, solid_capstyle="butt")
        axis.plot(estimate, 0, "o", color=RED)
        for place, group in enumerate(controls.values(), start=1):
            values = sorted(measure.factor * value for value in group[CONTROLS[measure.name]])
            # constant heights and not a random jitter: the same document has to give the same bytes
            heights = [place + SPREAD[i % len(SPREAD)] for i in range(len(values))]
            axis.plot(values, heights, "o", markerfacecolor="none", color=GREY, markersize=3, markeredgewidth=0.7)
        axis.set_xlabel(measure.lines)
        axis.tick_params(axis="y", length=0)
        few_ticks(axis)
    axes[0].set_yticks(range(1 + len(controls)), ["this edit", *(name.replace("_", " ") for name in controls)])
    # downwards: the edit itself stands on top, its controls below it
    axes[0].set_ylim(len(controls) + 0.5, -0.5)
    return figure


@styled
def comparison_figure(document: Document) -> "matplotlib.figure.Figure":
    """What the second of two runs does beyond the first, each difference of accuracy with its 95% interval."""
    clean, beyond = document["clean"], document["difference"]
    rows = [("intervened arms", document["effect"])]
    # with the same weights there is one clean arm, and the difference of effects is that of the intervened arms
    rows += [] if clean is None else [("clean arms", clean), ("effects of the edits", beyond)]
    names = [document[word]["experiment"]["label"] or document[word]["name"] for word in ("second", "first")]
    text = f"{document['n']:,} problems of both. Bars: 95% intervals over problems."
    figure = new_figure(PAGE, 1.3 + 0.3 * len(rows), " minus ".join(names), text)
    axis = figure.subplots(1, 1)
    zero_line(axis)
    for place, (_, found) in enumerate(rows):
        factor = MEASURES[0].factor
        axis.plot([factor * found["low"], factor * found["high"]], [place, place], color=RED, linewidth=1.2)
        axis.plot(factor * found["estimate"], place, "o", color=RED)
    axis.set_yticks(range(len(rows)), [name for name, _ in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel(MEASURES[0].lines)
    axis.tick_params(axis="y", length=0)
    few_ticks(axis)
    return figure


@styled
def dose_figure(document: Document) -> "matplotlib.figure.Figure":
    """Effect against factor with 95% intervals; edits without a factor stand side by side under their names."""
    results = document["results"]
    factors = [result["experiment"]["factor"] for result in results]
    # a factor is a number and has an axis; one edit without a factor makes all of them mere names
    numbers = all(factor is not None for factor in factors)
    order = sorted(range(len(results)), key=lambda i: factors[i]) if numbers else list(range(len(results)))
    adjusted = document.get("p_adjusted") or [None] * len(results)
    title = _title(results[0], "" if numbers else "several edits")
    figure = new_figure(PAGE, 2.8, title, _dose_caption(results[0], len(results)))
    for axis, measure in zip(figure.subplots(1, 2), MEASURES, strict=True):
        zero_line(axis, vertical=False)
        xs = [float(factors[i]) if numbers else float(place) for place, i in enumerate(order)]
        points = [_interval(results[i], measure) for i in order]
        below, above = [e - low for e, low, _ in points], [high - e for e, _, high in points]
        axis.errorbar(
            xs,
            [e for e, _, _ in points],
            yerr=[below, above],
            color=BLUE,
            elinewidth=0.8,
            linestyle="-" if numbers else "none",
        )
        for x, (estimate, _, _), i in zip(xs, points, order, strict=True):
            # Holm was computed over accuracy's p-values alone, so filled dots exist in the left panel only
            p = adjusted[i] if measure is MEASURES[0] else None
            axis.plot(x, estimate, "o", color=BLUE, markerfacecolor=BLUE if p is not None and p < ALPHA else "white")
        _dose_axis(axis, xs, None if numbers else [_name(results[i]) for i in order])
        axis.set_ylabel(measure.lines)
        few_ticks(axis, "y")
    return figure


def _dose_axis(axis: "matplotlib.axes.Axes", xs: Sequence[float], names: Sequence[str] | None) -> None:
    from matplotlib.ticker import NullLocator

    if names is not None:
        axis.set_xticks(xs, names, rotation=20, ha="right")
        return
    # amplification may be by 0 or below, which a logarithmic axis cannot show
    if min(xs) > 0 and max(xs) / min(xs) > WIDE:
        axis.set_xscale("log")
        axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(xs, [plain(x) for x in xs])
    axis.set_xlabel("factor")


def _interval(result: Document, measure: Measure) -> tuple[float, float, float]:
    """Estimate, low and high in the axis' unit; zeros where the log-probability was not measured.

    Where too few problems carry the mean there is no interval: NaN, of which matplotlib draws nothing.
    """
    found = result["effect"] if measure is MEASURES[0] else result["effect"]["logprob"]
    if found is None:
        return 0.0, 0.0, 0.0
    low, high = (math.nan if found[end] is None else measure.factor * found[end] for end in ("low", "high"))
    return measure.factor * found["estimate"], low, high


def _title(result: Document, what: str) -> str:
    """What was done, without its factor unless `what` says so, and where."""
    experiment = result["experiment"]
    what = what or f"{experiment['kind']} {_features(result)}"
    sites = experiment.get("sites") or [experiment["site"]]
    return f"{what} at {', '.join(map(site_name, sites))}".strip()


def _name(result: Document) -> str:
    return str(result["experiment"].get("label") or f"{result['experiment']['kind']} {_features(result)}").strip()


def _features(result: Document) -> str:
    return ", ".join(map(str, result["experiment"]["features"]))


def _setting(result: Document) -> str:
    experiment, clean = result["experiment"], result["arms"]["clean"]
    right = f"{100 * clean['accuracy']:.1f} % right undisturbed"
    return f"{experiment['model']} on {experiment['data']} (n = {experiment['n_problems']:,}, {right})."


def _dose_caption(result: Document, n: int) -> str:
    text = f"{_setting(result)} Bars: 95% intervals over problems, where enough of them carry the mean."
    return f"{text} Filled, left: p\u00a0<\u00a00.05 for accuracy after Holm over {n} edits."
