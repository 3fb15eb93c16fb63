"""The figure of pairs: is what two features do together the sum of what they do alone?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codi_int.report.documents import MEASURES, Document, Measure, family_words, is_finding, setting
from codi_int.report.panels import few_ticks
from codi_int.report.style import BLUE, GREY, PAGE, RED, new_figure, styled, write_figure

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

NAMED = 6
"""pairs in a panel that carry their numbers"""
INTERACTIONS = {"accuracy": "interaction", "logprob": "interaction_logprob"}
"""measure to the key of its interaction"""


def pair_figures(document: Document, out: str | Path) -> list[Path]:
    """Draw the pairs of a `codi-int/screen@1` document as `pairs`.

    Raises:
        OutputError: the folder cannot be written to.
    """
    return write_figure(pair_figure(document), out, "pairs")


@styled
def pair_figure(document: Document) -> "matplotlib.figure.Figure":
    """Joint effect against the sum of the two single ones; on the diagonal they add up."""
    pairs = document["pairs"]
    text = (
        f"{setting(document)}. {len(pairs):,} pairs. Bars: 95% intervals of the departure from the sum. "
        f"Dashed: the sum. Filled: departs from it {family_words(document, 'all pairs', 'pair_selection')}."
    )
    figure = new_figure(PAGE, 3.5, "Two features ablated together, against the sum of each alone", text)
    for axis, measure in zip(figure.subplots(1, 2), MEASURES, strict=True):
        _panel(axis, pairs, measure)
    return figure


def _departs(pair: Document, inter: Document, measure: Measure) -> bool:
    # of earlier documents only the interaction itself has an adjusted p-value
    return is_finding(pair if "selected" in pair else {measure.p_adjusted: inter["p_adjusted"]}, measure)


def _panel(axis: "matplotlib.axes.Axes", pairs: Sequence[Document], measure: Measure) -> None:
    """One dot for each pair; its bar is the interval of the interaction, moved to the joint effect."""
    axis.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    found = []
    for pair in pairs:
        inter = pair[INTERACTIONS[measure.name]]
        total = measure.factor * (pair[f"{measure.effect}_a"] + pair[f"{measure.effect}_b"])
        departs = _departs(pair, inter, measure)
        color = GREY if not departs else RED if inter["estimate"] < 0 else BLUE
        # the interaction is joint - (a + b), so its interval moved by (a + b) is about the joint effect:
        # a bar that does not cross the diagonal is a departure from the sum
        # an interval that is not known has no length
        ends = [
            total + measure.factor * (inter["estimate"] if (e := inter[end]) is None else e) for end in ("low", "high")
        ]
        axis.plot([total, total], ends, color=color, linewidth=0.8, solid_capstyle="butt")
        joint = total + measure.factor * inter["estimate"]
        axis.plot(total, joint, "o", color=color, markerfacecolor=color if departs else "white", markersize=3.5)
        if departs:
            found.append((inter["p_adjusted"] or 0.0, total, joint, f"{pair['a']}, {pair['b']}"))
    # the surest first, for the names of all of them would cover each other
    for _, x, y, name in sorted(found)[:NAMED]:
        axis.annotate(name, (x, y), (4, 0), textcoords="offset points", fontsize=6, va="center")
    axis.set_xlabel(f"sum of each alone: {measure.short}")
    axis.set_ylabel(f"together: {measure.short}")
    axis.margins(0.12)
    few_ticks(axis)
    few_ticks(axis, "y")
