"""The features of a screen document as dots to draw, grouped into panels."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from codi_int.report.documents import ALPHA, MEASURES, Document, Measure, family_words, is_finding, setting, site_name

MOST_PANELS = 24
"""sites in one figure; the others are counted in the caption"""


@dataclass(frozen=True)
class Dot:
    """One feature that is alive, under one measure."""

    feature: int
    """which"""
    site: str
    """where, such as `L14.P3`"""
    firing_rate: float
    """share of problems on which it fires"""
    effect: float
    """change of accuracy in percentage points, or of the log-probability in nats"""
    low: float
    """lower end of its interval"""
    high: float
    """upper end"""
    p: float
    """p-value"""
    significant: bool
    """whether it is found among everything that was screened, and confirmed where anything confirms"""
    rank: float | None
    """share of matched features that do less"""

    @property
    def height(self) -> float:
        """-log10 of the p-value; what underflowed stands at 300."""
        return -math.log10(max(self.p, 1e-300))


@dataclass(frozen=True)
class Panel:
    """What one pair of axes shows."""

    measure: Measure
    """of the effects"""
    site: str | None
    """the only site; None where the screen has one site anyway"""
    dots: tuple[Dot, ...]
    """its features that fire"""


def alive(document: Document, measure: Measure) -> list[Dot]:
    """The features that fire; a dead one has no effect to show. Where nothing could be tested, p is 1."""
    found = []
    for row in document["rows"]:
        if not row["n_touched"]:
            continue
        p, effect = row[measure.p], measure.factor * row[measure.effect]
        # where too few problems carry a mean it has no interval: a dot without a bar
        ends = (row[key] for key in (measure.low, measure.high))
        low, high = (effect if end is None else measure.factor * end for end in ends)
        # where no p-value exists the dot stands at the foot of the plot: untested, and certainly not found
        significant = is_finding(row, measure)
        place = row["feature"], _site(document, row), row["firing_rate"]
        found.append(Dot(*place, effect, low, high, 1.0 if p is None else p, significant, row.get(measure.rank)))
    return found


def panels(document: Document, measures: Sequence[Measure]) -> list[Panel]:
    """One panel for each measure; with several sites one for each site, those with most findings where not all fit."""
    names = sites(document)
    if len(names) == 1:
        return [Panel(measure, None, tuple(alive(document, measure))) for measure in measures]
    out = []
    for measure in measures:
        found = alive(document, measure)
        most = Counter(dot.site for dot in found if dot.significant)
        # panels of one figure keep the screen's order; only which of them are kept is decided by findings
        kept = sorted(names, key=lambda name: -most[name])[:MOST_PANELS]
        out += [Panel(measure, n, tuple(dot for dot in found if dot.site == n)) for n in names if n in kept]
    return out


def sites(document: Document) -> list[str]:
    """The sites of the screen, in its order."""
    return list(dict.fromkeys(_site(document, row) for row in document["rows"])) or [site_name(document["site"])]


def border(found: Sequence[Dot]) -> float:
    """-log10 of the largest p-value that was found; with nothing found of what a lone one would have to pass."""
    p_found = [dot.p for dot in found if dot.significant]
    return -math.log10(max(*p_found, 1e-300)) if p_found else -math.log10(ALPHA / max(len(found), 1))


def where(document: Document) -> str:
    """The site or the number of sites, and the model."""
    names = sites(document)
    return f"{names[0] if len(names) == 1 else f'{len(names)} sites'} of {document['model']}"


def caption(document: Document) -> str:
    """The setting, and how many features fire."""
    n_living, n = len(alive(document, MEASURES[0])), len(document["rows"])
    dead = f"; the {n - n_living:,} others are not shown" if n_living < n else ""
    return f"{document['kind']} one at a time, {setting(document)}. {n_living:,} of {n:,} features fire{dead}."


def caption_of_dots(document: Document) -> str:
    """The caption where features are dots: what filled ones are, and how many."""
    found = [sum(dot.significant for dot in alive(document, measure)) for measure in MEASURES]
    left = len(sites(document)) - MOST_PANELS
    return (
        f"{caption(document)} Filled: found {family_words(document, 'all that fire')}, "
        f"{found[0]} for accuracy and {found[1]} for log-probability."
        + (f" {left} sites with fewer findings are not shown." if left > 0 else "")
    )


def _site(document: Document, row: Document) -> str:
    return site_name(row.get("site") or document["site"])
