"""What the figures read out of documents: measures, sites, and on which problems."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codi_int.types import Site

Document = Mapping[str, Any]
"""a JSON document with a `schema`, or a record inside one"""
ALPHA = 0.05
"""significance, and share of false discoveries"""


@dataclass(frozen=True)
class Measure:
    """One of the two ways in which an effect is measured, and under which keys documents hold it."""

    name: str
    """accuracy or logprob"""
    effect: str
    """key of the effect"""
    low: str
    """key of the lower end of its interval"""
    high: str
    """key of the upper end"""
    p: str
    """key of the p-value"""
    p_adjusted: str
    """key of the p-value after correction over its family"""
    rank: str
    """key of the rank among matched controls"""
    factor: float
    """from the document's unit to the axis'"""
    label: str
    """what the axis says, in one line"""
    lines: str
    """the same in two lines"""
    short: str
    """the same for a small panel"""


ACCURACY = Measure(
    name="accuracy",
    effect="estimate",
    low="low",
    high="high",
    p="p_value",
    p_adjusted="p_adjusted",
    rank="rank",
    factor=100.0,
    label="change of accuracy (percentage points)",
    lines="change of accuracy\n(percentage points)",
    short="accuracy (points)",
)
LOGPROB = Measure(
    name="logprob",
    effect="logprob",
    low="logprob_low",
    high="logprob_high",
    p="logprob_p",
    p_adjusted="logprob_p_adjusted",
    rank="rank_logprob",
    factor=1.0,
    label="change of the clean answer's log-probability (nats)",
    lines="change of the clean answer's\nlog-probability (nats)",
    short="log-prob. (nats)",
)
MEASURES = (ACCURACY, LOGPROB)


_FOUND = {"accuracy": ("selected", "confirmed"), "logprob": ("selected_logprob", "confirmed_logprob")}


def is_finding(row: Document, measure: Measure) -> bool:
    """Whether a row of a screen or map is a finding: selected, and confirmed where anything confirms."""
    selected, confirmed = _FOUND[measure.name]
    # documents of earlier releases know adjusted p-values alone
    if selected not in row:
        p_value = row[measure.p_adjusted]
        return p_value is not None and p_value < ALPHA
    return bool(row[selected]) and row[confirmed] is not False


def family_words(document: Document, what: str, key: str = "selection") -> str:
    """How findings were found among `what`, for a caption."""
    selection = document.get(key)
    if not selection:
        return f"at 5 % false discoveries (Benjamini-Hochberg over {what})"
    on = selection["confirmed_on"]
    again = "" if on is None else " and confirmed in the other fold" if on == "folds" else f" and confirmed on {on}"
    return f"at 5 % over {what} ({selection['correction']}){again}"


def setting(document: Document) -> str:
    """Which problems, how many, and how many of them the undisturbed model answers rightly."""
    n, right = document["n_problems"], document.get("n_correct")
    known = "" if right is None else f", {100 * right / n:.1f} % right undisturbed"
    return f"{document['data']} (n = {n:,}{known})"


def site_name(site: Document | str) -> str:
    """`L14.P3`, as everywhere."""
    if isinstance(site, str):
        return site
    return str(Site(site["layer"], site["position"], site.get("component", "resid_post")))
