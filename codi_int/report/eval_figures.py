"""Figures of measured SAEs side by side: what they explain, and how much of it each alive feature carries."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from codi_int.report.documents import Document
from codi_int.report.panels import few_ticks
from codi_int.report.style import MARKERS, PAGE, SERIES, new_figure, styled

if TYPE_CHECKING:
    import matplotlib.figure

MOST, FEWEST = 30, 5
"""SAEs that are named, beyond that those that carry most per feature; places for bars, however few there are"""


@styled
def efficiency_figure(document: Document) -> "matplotlib.figure.Figure":
    """Explained variance against alive features, and explained variance per alive feature; colour by architecture.

    The published comparison of TopK with Matryoshka SAEs, with every SAE's own numbers.
    """
    saes = list(document["saes"])
    kinds = list(dict.fromkeys(sae["trained_as"] for sae in saes))
    ranked = sorted(saes, key=lambda sae: -sae["explained_variance_per_active_feature"])[:MOST]
    figure = new_figure(
        PAGE, 1.5 + max(0.16 * len(ranked), 1.2), "What each alive feature explains", _caption(document)
    )
    across, ranking = figure.subplots(1, 2, width_ratios=(1, 1.1))
    for kind in kinds:
        # marker and colour both: a reader without colours, or of a grey print, tells architectures apart by shape
        color, marker = SERIES[kinds.index(kind) % len(SERIES)], MARKERS[kinds.index(kind) % len(MARKERS)]
        mine = [sae for sae in saes if sae["trained_as"] == kind]
        across.scatter(
            [sae["n_active"] for sae in mine],
            [sae["explained_variance"] for sae in mine],
            22,
            color=color,
            marker=marker,
            linewidths=0,
            label=kind,
        )
        bars = [(y, sae) for y, sae in enumerate(ranked) if sae["trained_as"] == kind]
        ranking.barh(
            [y for y, _ in bars],
            [100 * sae["explained_variance_per_active_feature"] for _, sae in bars],
            0.65,
            color=color,
        )
    across.set_xlabel("features alive")
    across.set_ylabel("explained variance")
    across.margins(0.1)
    few_ticks(across)
    if len(kinds) > 1:
        across.legend(loc="best")
    ranking.set_yticks(range(len(ranked)), _names(ranked))
    # fewer than FEWEST bars would be drawn as thick as the panel allows; empty room below keeps them bars
    ranking.set_ylim(max(len(ranked), FEWEST) - 0.4, -0.6)
    ranking.tick_params(axis="y", length=0)
    ranking.set_xlabel("explained variance per alive feature (%)")
    few_ticks(ranking)
    return figure


def _names(saes: Sequence[Document]) -> list[str]:
    """Architecture and shape; the site where there are several, the seed where that alone tells two apart."""
    several = len({sae["site"] for sae in saes}) > 1

    def name(sae: Document) -> str:
        site = f"{sae['site']} " if several else ""
        k = "" if sae["k"] is None else f" K={sae['k']}"
        return f"{site}{sae['trained_as']}{k} d={sae['d_sae']:,}"

    count = Counter(map(name, saes))
    return [name(sae) + (f" seed {sae['seed']}" if count[name(sae)] > 1 else "") for sae in saes]


def _caption(document: Document) -> str:
    saes = document["saes"]
    rows = f"{int(saes[0]['n_rows']):,} held-out rows" if saes else "no rows"
    # "alive" is by training rows where every SAE has them; one that lacks them moves all to held-out, never a mix
    where = "training" if all(sae["dead_share_train"] is not None for sae in saes) else "held-out"
    left = len(saes) - MOST
    more = f" The {left} that carry least per feature are left out at the right." if left > 0 else ""
    return f"{document['model']} on {document['held_out']}, {rows}. Alive: fires on a {where} row.{more}"
