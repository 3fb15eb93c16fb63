"""The figure of swap pairs: how much a swap could show, against how much it has to."""

from pathlib import Path
from typing import TYPE_CHECKING

from codi_int.report.documents import Document, site_name
from codi_int.report.panels import few_ticks
from codi_int.report.style import BLUE, GREY, ORANGE, PAGE, new_figure, styled, write_figure

if TYPE_CHECKING:
    import matplotlib.figure

COLORS = {"tested": BLUE, "published": ORANGE}


def swap_power_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw a `codi-int/features-pairs@1` document as `swap-power`; nothing where no rule has a pair.

    Raises:
        OutputError: the folder cannot be written to.
    """
    some = any(document[rule]["rows"] for rule in COLORS)
    return write_figure(swap_power_figure(document), out, "swap-power") if some else []


@styled
def swap_power_figure(document: Document) -> "matplotlib.figure.Figure":
    """Left: problems on which a swap tells something, pair by pair; right: its power, by how far the two stand out."""
    first = document["tested"]
    kept = "; ".join(
        f"{rule} rule: {document[rule]['n_pairs']:,} pairs, {len(document[rule]['rows']):,} shown" for rule in COLORS
    )
    text = (
        f"{first['n_problems']:,} problems of {first['data']}, SAE {first['sae']}. {kept}. A problem tells something "
        "where a feature of the pair fires and the predicted answer is not the true one. Dashed: as many are needed to "
        "find 10 % predicted answers with 80 % power, where 1 % come by chance."
    )
    title = f"What swaps of two specialists could show at {site_name(first['site'])} of {first['model']}"
    figure = new_figure(PAGE, 2.8, title, text)
    tells, power = figure.subplots(1, 2)
    for rule, color in COLORS.items():
        rows = sorted(document[rule]["rows"], key=lambda row: -row["n_informative"])
        if not rows:
            continue
        ranks = range(1, len(rows) + 1)
        tells.plot(ranks, [row["n_informative"] for row in rows], ".", color=color, markersize=3, label=rule)
        # of a rule that does not test nothing is known of how far its specialists stand out
        known = [row for row in rows if None not in (row["difference"], row["difference_other"])]
        apart = [100 * min(row["difference"], row["difference_other"]) for row in known]
        if known:
            power.plot(apart, [100 * row["power"] for row in known], ".", color=color, markersize=4, label=rule)
        tells.axhline(rows[0]["n_needed"], color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    tells.set_xlabel("pair, by what it tells")
    tells.set_ylabel("problems that tell something")
    power.set_xlabel("the weaker of the two: points above base rate")
    power.set_ylabel("power (%)")
    power.set_ylim(-4, 104)
    for axis in (tells, power):
        axis.legend()
        few_ticks(axis)
        few_ticks(axis, "y")
    return figure
