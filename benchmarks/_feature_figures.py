"""Figures of docs/results/features.md, probes.md and transcoders.md, from what their scripts have written."""

import re
from collections.abc import Sequence
from typing import Any

import _common as common
import numpy as np
from matplotlib.figure import Figure

from codi_int.features.specialization_records import RULES
from codi_int.interventions.evidence.concordance import rank_correlation
from codi_int.report.panels import few_ticks, k_axis, log_ticks, panel_grid, zero_line
from codi_int.report.style import (
    BLUE,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    PAGE,
    PALE,
    RED,
    SERIES,
    new_figure,
    styled,
    write_figure,
)

Rows = Sequence[dict[str, Any]]
FLOOR = 1e-6
"""points; what is less is rounding"""
NUMBERS = re.compile(r"[-+]?\d+\.\d+")


def save(figure: Figure, name: str, quick: bool = False) -> None:
    """PNG and SVG among the images of the docs; of a quick run where they can be taken for no result."""
    write_figure(figure, common.QUICK if quick else common.IMAGES, name)


@styled
def rules_figure(sites: Rows) -> Figure:
    """Share of alive features that each rule calls specialized, site by site, and of those in the common band."""
    text = (
        f"codi-mini, {sites[0]['n_problems']:,} problems of stories:validation, each site a family of its own, "
        "confirmed on stories:confirmation. Bars: Wilson's 95% intervals over features. Above each site: its features."
    )
    figure = new_figure(PAGE, 2.9, "Specialized features by three rules at ten sites", text)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, band in zip(axes, (False, True), strict=True):
        for i, rule in enumerate(RULES):
            for place, site in enumerate(sites):
                cell = site["cells"][i + 3 * band]
                x = place + 0.22 * (i - 1)
                axis.plot([x, x], [100 * cell["low"], 100 * cell["high"]], color=SERIES[i], linewidth=1)
                label = rule.replace("-", " ") if not place else None
                axis.plot([x], [100 * cell["share"]], MARKERS[i], color=SERIES[i], markersize=3, label=label)
        for place, site in enumerate(sites):
            axis.annotate(f"{site['cells'][3 * band]['n']}", (place, 102), ha="center", fontsize=6, color=GREY)
        axis.set_xticks(range(len(sites)), [site["site"] for site in sites], rotation=90)
        axis.set_title("features that fire on 1 to 10 % of problems" if band else "all alive features")
    axes[0].set_ylim(0, 112)
    axes[0].set_yticks(range(0, 101, 20))
    axes[0].set_ylabel("specialized (% of features)")
    axes[0].legend(loc="upper left", bbox_to_anchor=(0, 0.93))
    return figure


@styled
def swaps_figure(sites: Rows) -> Figure:
    """Swaps of the best pair of each site: how many answers tell something, and the share that came as predicted."""
    sites = [site for site in sites if site["swap"] is not None]
    text = (
        f"codi-mini, {sites[0]['n_problems']:,} problems of stories:validation; n: problems on which the swap changes "
        "anything and the predicted answer is not the true one. Right: predicted answers less the mean of as many "
        "swaps of matched random features, 95% betting intervals. Dashed: what the power is for, one answer in ten."
    )
    figure = new_figure(PAGE, 2.6, "The best pair of specialists of each of ten sites, exchanged", text)
    power, outcome = figure.subplots(1, 2, sharey=True)
    for place, site in enumerate(sites):
        told = site["swap"]["prediction"]
        power.plot([100 * site["pair"]["power"]], [place], "o", color=BLUE, markersize=4)
        apart = told["controls"]["difference"]
        outcome.plot([100 * apart["low"], 100 * apart["high"]], [place, place], color=BLUE, linewidth=1)
        outcome.plot([100 * apart.get("value", apart.get("estimate"))], [place], "o", color=BLUE, markersize=3)
    names = [f"{site['site']} ({site['swap']['prediction']['n_tested']})" for site in sites]
    power.set_yticks(range(len(sites)), names)
    power.invert_yaxis()
    power.set_xlim(0, 104)
    power.set_xlabel("power (%)")
    zero_line(outcome)
    outcome.axvline(10, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    outcome.set_xlabel("predicted answers less controls' (points)")
    few_ticks(outcome)
    return figure


@styled
def relevance_figure(screens: dict[str, Rows], n: int) -> Figure:
    """Firing rate against the size of the effect, over all problems and by problem on which the feature fires."""
    text = (
        f"codi-mini, {n:,} problems of stories:validation; every feature that fires, ablated by itself: size of the "
        "mean change of the clean answer's probability; filled: the answer's probability falls. In brackets Spearman's "
        f"coefficient. What is below {FLOOR:g} points stands at the edge."
    )
    figure = new_figure(PAGE, 4.2, "How often a feature fires, and what removing it does", text)
    axes = figure.subplots(2, len(screens), sharex=True, sharey="row")
    for column, (site, rows) in enumerate(screens.items()):
        rate = np.array([float(row["firing_rate"]) for row in rows])
        effect = 100 * np.array([float(row["probability"]) for row in rows])
        for axis, size in ((axes[0][column], np.abs(effect)), (axes[1][column], np.abs(effect) / rate)):
            shown = np.maximum(size, FLOOR)
            falls = effect < 0
            axis.plot(100 * rate[falls], shown[falls], ".", color=BLUE, markersize=3)
            axis.plot(100 * rate[~falls], shown[~falls], ".", color=BLUE, markersize=3.5, markerfacecolor="white")
            axis.set_title(f"{site}, {len(rows)} features ({rank_correlation(rate, size):+.2f})")
            axis.set_xscale("log")
            axis.set_yscale("log")
        axes[1][column].set_xlabel("fires on (% of problems)")
    axes[0][0].set_ylabel("points, over all\nproblems")
    axes[1][0].set_ylabel("points, by problem\non which it fires")
    for row in axes:
        for axis in row:
            log_ticks(axis, "x")
            log_ticks(axis)
    return figure


@styled
def correlations_figure(found: dict[str, Any], sites: Rows) -> Figure:
    """Spearman's coefficients with their intervals: over the features of three sites, and over the sites."""
    text = (
        "Left: measures of a feature against the size of what removing it does to the clean answer's probability, over "
        "all problems (filled) and by problem on which it fires (open); 95% intervals by jackknife over calculations. "
        "Right: measures of a site against what replacing it by its mean does; 95% intervals draw layers again."
    )
    figure = new_figure(PAGE, 3.2, "What goes with what matters", text)
    left, right = figure.subplots(1, 2)
    first = next(iter(found.values()))["correlations"]["rows"]
    names = list(dict.fromkeys(row["measure"] for row in first))
    for i, (site, one) in enumerate(found.items()):
        for open_, effect in enumerate(("probability", "probability where it fires")):
            rows = [row for row in one["correlations"]["rows"] if row["effect"] == effect]
            for row in rows:
                y = names.index(row["measure"]) + 0.25 * (i - 1) + 0.1 * open_
                label = None if open_ or row is not rows[0] else site
                _point(left, row, y, color=SERIES[i], hollow=bool(open_), label=label)
    left.set_yticks(
        range(len(names)),
        [name.replace("the same effect on the other half of the problems", "other half") for name in names],
    )
    measures = list(dict.fromkeys(row["measure"] for row in sites))
    for i, effect in enumerate(dict.fromkeys(row["effect"] for row in sites)):
        rows = [row for row in sites if row["effect"] == effect]
        for row in rows:
            y = measures.index(row["measure"]) + 0.24 * (i - 0.5)
            label = effect if row is rows[0] else None
            _point(right, row["coefficient"], y, color=SERIES[i], hollow=False, label=label)
    right.set_yticks(
        range(len(measures)),
        [name.split(":")[0].replace(" of the activations", "").replace(" of the SAE", "") for name in measures],
    )
    for axis in (left, right):
        zero_line(axis)
        axis.invert_yaxis()
        axis.set_xlim(-0.7, 1)
        axis.set_xlabel("Spearman's coefficient")
        axis.legend(loc="lower left" if axis is left else "lower right")
        few_ticks(axis)
    return figure


def _point(axis: Any, row: dict[str, Any], y: float, *, color: str, hollow: bool, label: str | None) -> None:
    axis.plot([row["low"], row["high"]], [y, y], color=color, linewidth=0.9)
    face = "white" if hollow else color
    axis.plot([row["value"]], [y], "o", color=color, markerfacecolor=face, markersize=3, label=label)


@styled
def transcoders_figure(rows: Rows) -> Figure:
    """Explained variance by transcoders, by ridge of the same rank and by ridge as it is, pair by pair."""
    text = (
        "codi-mini; variance of the target explained on 1,495 problems of stories:validation, dictionaries of 512 "
        "features, one seed. Bars: 95% intervals of the difference to ridge of rank K, around the transcoder's value."
    )
    figure = new_figure(PAGE, 2.5, "Transcoders beside linear maps", text)
    pairs = list(dict.fromkeys((row["source"], row["target"]) for row in rows))
    for axis, pair in zip(panel_grid(figure, len(pairs), 4, sharey=True), pairs, strict=True):
        own = [row for row in rows if (row["source"], row["target"]) == pair]
        ks = [row["k"] for row in own]
        explained = [100 * row["explained"] for row in own]
        reach = np.abs(
            [
                [100 * (row[f"over_rank_k_{end}"] - row["over_rank_k_estimate"]) for row in own]
                for end in ("low", "high")
            ]
        )
        axis.errorbar(ks, explained, yerr=reach, color=BLUE, marker="o", markersize=3, linewidth=1, label="transcoder")
        axis.plot(
            ks,
            [100 * row["of_rank_k"] for row in own],
            "s-",
            color=ORANGE,
            markersize=3,
            linewidth=1,
            label="ridge of rank K",
        )
        axis.axhline(100 * own[0]["of_ridge"], color=GREY, linewidth=0.8, linestyle=(0, (4, 2)), label="ridge")
        axis.set_title(f"{pair[0]} to {pair[1]}".replace(".thought", ""))
        k_axis(axis, ks)
        axis.set_xlabel("K")
    figure.axes[0].set_ylabel("explained variance (%)")
    figure.axes[0].legend(loc="lower right")
    return figure


@styled
def shifted_figure(rows: Rows) -> Figure:
    """What becomes of specialists on shifted stories, and what the SAE explains there."""
    outcomes = (("kept", BLUE), ("unresolved", PALE), ("untestable", GREY), ("lost", RED))
    sites = list(dict.fromkeys(row["site"] for row in rows))
    text = (
        "codi-mini; specialists by the tested rule on stories:validation, their number above each panel. Kept: the "
        "property is found again by the same test, Holm over the site's specialists; lost: the interval of its "
        "difference from the base rate lies below half of what it was. Diamonds: variance that the SAE explains there."
    )
    figure = new_figure(PAGE, 2.8, "Specialists on stories unlike those of training", text)
    axes = figure.subplots(1, len(sites), sharey=True)
    for axis, site in zip(axes, sites, strict=True):
        own = [row for row in rows if row["site"] == site]
        bottom = np.zeros(len(own))
        for name, color in outcomes:
            share = np.array([100 * row[f"n_{name}"] / row["n_specialists"] for row in own])
            axis.bar(range(len(own)), share, bottom=bottom, color=color, width=0.7, label=name)
            bottom += share
        explained = [100 * row["explained_variance"] for row in own]
        axis.plot(
            range(len(own)),
            explained,
            "D",
            color=ORANGE,
            markersize=4,
            label="explained variance",
            markeredgecolor="white",
            markeredgewidth=0.5,
        )
        names = [
            row["split"].removeprefix("shifted-").replace("confirmation, as in training", "as in training")
            for row in own
        ]
        axis.set_xticks(range(len(own)), names, rotation=30, ha="right")
        axis.set_title(f"{site}, {own[0]['n_specialists']} specialists")
    axes[0].set_ylabel("%")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    return figure


@styled
def errors_figure(lines: Sequence[str], n: int) -> Figure:
    """How well latents tell wrong answers, by how many are used: TopK beside Matryoshka. `lines`: the printed table."""
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    scores = [row for row in table if row[0] in {"1", "4", "16", "64", "all"}]
    residual = [
        float(x) for x in NUMBERS.findall(next(row[0] for row in table if row[0].startswith("less the residual")))
    ]
    text = (
        f"codi-mini, L14.P3; {n:,} answers, half of them wrong, with the same numbers of steps; ridge probes, balanced "
        "accuracy on other calculations, chance 0.5. Bars: 95% intervals by bootstrap of calculations; right: paired. "
        "Dashed: a probe of the residual itself, with its interval."
    )
    figure = new_figure(PAGE, 2.5, "Do latents tell a wrong answer?", text)
    left, right = figure.subplots(1, 2)
    names = [row[0] for row in scores]
    left.axhspan(residual[1], residual[2], color=PALE, alpha=0.4, linewidth=0)
    left.axhline(residual[0], color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    for i, name in enumerate(("TopK", "Matryoshka")):
        _bars(left, [row[1 + i] for row in scores], 0.12 * (2 * i - 1), color=SERIES[i], marker=MARKERS[i], label=name)
    _bars(right, [row[3] for row in scores], 0.0, color=GREEN, marker="o", label=None)
    zero_line(right, vertical=False)
    left.axhline(0.5, color=GREY, linewidth=0.6)
    left.set_ylabel("balanced accuracy")
    right.set_ylabel("TopK less Matryoshka")
    left.legend(loc="lower right")
    for axis in (left, right):
        axis.set_xticks(range(len(names)), names)
        axis.set_xlabel("latents used")
    return figure


def _bars(axis: Any, cells: Sequence[str], shift: float, *, color: str, marker: str, label: str | None) -> None:
    """Printed cells such as 0.541 (0.512 to 0.567)."""
    numbers = [[float(x) for x in NUMBERS.findall(cell)] for cell in cells]
    for place, (value, low, high) in enumerate(numbers):
        axis.plot([place + shift] * 2, [low, high], color=color, linewidth=1)
        axis.plot([place + shift], [value], marker, color=color, markersize=3.5, label=None if place else label)
