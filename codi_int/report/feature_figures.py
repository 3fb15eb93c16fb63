"""The figure of an SAE's features: how often each of them fires."""

from pathlib import Path
from typing import TYPE_CHECKING

from codi_int.report.documents import Document, site_name
from codi_int.report.panels import few_ticks, log_ticks
from codi_int.report.style import BLUE, PAGE, new_figure, styled, write_figure

if TYPE_CHECKING:
    import matplotlib.figure


def feature_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw a `codi-int/features-rank@1` document as `firing-rates`; nothing where no feature lives.

    Raises:
        OutputError: the folder cannot be written to.
    """
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
