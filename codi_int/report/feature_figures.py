"""Figures of an SAE's features: how often each of them fires, and on what problems one of them does."""

from pathlib import Path
from typing import TYPE_CHECKING

from codi_int.report.documents import Document, site_name
from codi_int.report.panels import few_ticks, log_ticks
from codi_int.report.style import BLUE, GREY, PAGE, new_figure, styled, write_figure

if TYPE_CHECKING:
    import matplotlib.figure


def feature_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw a `codi-int/features-rank@1` or `-rank-sites@1` document as `firing-rates`; nothing where no feature lives.

    Raises:
        OutputError: the folder cannot be written to.
    """
    if "sites" in document:
        lives = any(one["n_alive"] for one in document["sites"])
        return write_figure(firing_sites_figure(document), out, "firing-rates") if lives else []
    return write_figure(firing_rate_figure(document), out, "firing-rates") if document["rows"] else []


@styled
def firing_rate_figure(document: Document) -> "matplotlib.figure.Figure":
    """Share of problems on which each feature fires, and its mean activation there, the most frequent first."""
    rows = document["rows"]
    text = (
        f"{document['n_problems']:,} problems of {document['data']}, SAE {document['sae']}. {document['n_alive']:,} of "
        f"{document['d_sae']:,} features are alive; {len(rows):,} are shown."
    )
    title = f"How often features fire at {site_name(document['site'])} of {document['model']}"
    figure = new_figure(PAGE, 2.6, title, text)
    rates, sizes = figure.subplots(1, 2)
    ranks = [row["rank"] for row in rows]
    rates.plot(ranks, [100 * row["firing_rate"] for row in rows], ".", color=BLUE, markersize=3)
    rates.set_yscale("log")
    rates.set_ylabel("fires on (% of problems)")
    sizes.plot(ranks, [row["mean_activation"] for row in rows], ".", color=BLUE, markersize=3)
    sizes.set_ylabel("mean activation where it fires")
    for axis in (rates, sizes):
        axis.set_xlabel("rank by firing rate")
        few_ticks(axis)
    log_ticks(rates)
    few_ticks(sizes, "y")
    return figure


@styled
def firing_sites_figure(document: Document) -> "matplotlib.figure.Figure":
    """Of every site: firing rates of its features as quantiles, and how many live. Only what was asked for is shown."""
    sites = document["sites"]
    first, n_rows = sites[0], sum(len(one["rows"]) for one in sites)
    text = (
        f"{first['n_problems']:,} problems of {first['data']}; {n_rows:,} of {sum(one['n_alive'] for one in sites):,} "
        f"alive features of {len(sites)} sites are shown. Bars: from the 10th to the 90th of 100 features, dots: the "
        "one in the middle, crosses: the most frequent. Sites by layer, then position."
    )
    figure = new_figure(PAGE, 3.0, f"How often features of {len(sites)} sites of {first['model']} fire", text)
    rates, alive = figure.subplots(2, 1, sharex=True)
    for place, one in enumerate(sites):
        found = sorted(100 * row["firing_rate"] for row in one["rows"])
        if found:
            low, middle, high = (found[round(share * (len(found) - 1))] for share in (0.1, 0.5, 0.9))
            rates.plot([place, place], [low, high], color=BLUE, linewidth=1)
            rates.plot([place], [middle], "o", color=BLUE, markersize=3)
            rates.plot([place], [found[-1]], "x", color=GREY, markersize=3)
    alive.bar(range(len(sites)), [one["n_alive"] for one in sites], color=BLUE, width=0.8)
    alive.set_ylabel("alive features")
    rates.set_yscale("log")
    rates.set_ylabel("fires on\n(% of problems)")
    alive.margins(x=0.01)
    step = -(-len(sites) // MOST_SITES_NAMED)
    names = [site_name(one["site"]) for one in sites]
    alive.set_xticks(range(0, len(sites), step), names[::step], rotation=90)
    log_ticks(rates)
    few_ticks(alive, "y", most=4)
    return figure


MOST_SITES_NAMED = 28
"""names below each other that an axis has room for"""
MOST_FEATURES = 6
"""features that one document's figures show"""
KINDS = ("operation", "operation of step", "n_steps", "correct")
"""properties that the figure of a feature has rows for"""


def shown_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw a `codi-int/features-show@1` document: `feature-N` for each of the first features that fire somewhere.

    Raises:
        OutputError: the folder cannot be written to.
    """
    paths: list[Path] = []
    for one in drawable(document)[:MOST_FEATURES]:
        paths += write_figure(feature_figure(one), out, f"feature-{one['profile']['feature']}")
    return paths


def drawable(document: Document) -> list[Document]:
    """The features of a document that fire on problems whose properties are known."""
    return [one for one in document["features"] if one["profile"]["n_firing"] and _groups(one)]


def _groups(one: Document) -> list[Document]:
    return [group for group in one["groups"] if group["kind"] in KINDS]


@styled
def feature_figure(one: Document) -> "matplotlib.figure.Figure":
    """Share of problems on which a feature fires, by operation, number of steps and rightness, with 95% intervals."""
    profile, groups = one["profile"], _groups(one)
    text = (
        f"Share of {profile['n_problems']:,} problems of {one['data']} on which the feature fires, by what holds of "
        "them (n beside each); Wilson's 95% intervals, problems taken as independent. Dashed: of all problems."
    )
    title = f"Feature {profile['feature']} at {one['site']} of {one['model']}"
    figure = new_figure(PAGE * 0.7, 1.2 + 0.17 * len(groups), title, text)
    axis = figure.subplots()
    for place, group in enumerate(groups):
        axis.plot([100 * group["low"], 100 * group["high"]], [place, place], color=BLUE, linewidth=1)
        axis.plot([100 * group["firing_rate"]], [place], "o", color=BLUE, markersize=3)
    axis.axvline(100 * profile["firing_rate"], color=GREY, linewidth=0.7, linestyle="--")
    axis.set_yticks(range(len(groups)), [f"{group['name']} ({group['n']:,})" for group in groups])
    axis.invert_yaxis()
    axis.set_xlabel("fires on (% of problems)")
    few_ticks(axis)
    return figure
