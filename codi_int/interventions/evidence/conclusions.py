"""What the evidence on accuracy comes to: one of four words, in a fixed order, and what could have been seen at all."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codi_int.interventions.evidence.clusters import ClusterLabels, read_clusters
from codi_int.interventions.evidence.paired import PairedCounts, power
from codi_int.records import Conclusion

CONCLUSIONS: tuple[Conclusion, ...] = ("changed", "equivalent", "untested", "unresolved")
_DIGITS = 1000
"""detectable changes are rounded up to a tenth of a point"""


@dataclass(frozen=True)
class Findings:
    """What is known of one edit's effect on accuracy."""

    p_change: float | None
    """of the change, adjusted over its family, of the confirmation where there was one; None where not tested"""
    p_equivalence: float | None
    """of equivalence, adjusted over its own family; None where not tested"""
    testable: bool
    """whether the edit touches enough problems ever to be significant; see `is_testable`"""
    confirmed: bool | None = None
    """whether a selection was confirmed; None where nothing was selected or nothing should be confirmed"""


@dataclass(frozen=True)
class Verdict:
    """The word, and whether a change is nevertheless a small one."""

    conclusion: Conclusion
    """changed; else equivalent; else untested; else unresolved"""
    within_bound: bool
    """whether equivalence is shown as well: a change that is surely smaller than the bound"""


def conclude(findings: Findings, alpha: float = 0.05) -> Verdict:
    """The first of the four that the evidence allows.

    Changed: the adjusted p-value is below the level, and a selection was confirmed. Equivalent: the change is surely
    smaller than the bound; the confirmation's data may show it as well. Untested: the edit touches too few problems
    ever to be significant. Unresolved: everything else, also what was selected and not confirmed.
    """
    changed = _below(findings.p_change, alpha) and findings.confirmed is not False
    equivalent = _below(findings.p_equivalence, alpha)
    if changed:
        return Verdict("changed", within_bound=equivalent)
    if equivalent:
        return Verdict("equivalent", within_bound=True)
    return Verdict("unresolved" if findings.testable else "untested", within_bound=False)


def _below(p_value: float | None, alpha: float) -> bool:
    return p_value is not None and p_value < alpha


@dataclass(frozen=True)
class LargestPossible:
    """How much an edit can change accuracy at most, because it does nothing to all other problems."""

    here: float
    """n_touched / n: on these problems, without doubt"""
    population: float
    """Clopper and Pearson's upper limit of the share that is touched: on other problems of the population"""
    confidence: float
    """of the upper limit, one-sided"""


def largest_possible(
    touched: NDArray[np.bool_], clusters: ClusterLabels | None = None, confidence: float = 0.95
) -> LargestPossible:
    """Bounds from the share of problems that an edit touches.

    Where problems come in clusters, counts are divided by the largest design effect that their sizes allow.

    Source: C. Clopper and E. Pearson, Biometrika 26 (1934) 404-413.
    """
    flags = np.asarray(touched, dtype=np.bool_)
    groups = read_clusters(clusters, flags.size)
    n = math.floor(flags.size / groups.design_effect)
    hits = min(math.ceil(int(flags.sum()) / groups.design_effect), n)
    return LargestPossible(float(flags.mean()), clopper_pearson_upper(hits, n, confidence), confidence)


def clopper_pearson_upper(hits: int, n: int, confidence: float = 0.95) -> float:
    """One-sided exact upper limit of a share."""
    from scipy.special import betaincinv

    # the limit that scipy's binomtest gives, a hundred times as fast: a screen asks for one for every feature
    return 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, confidence))


def detectable_change(
    counts: PairedCounts,
    largest: float,
    level: float = 0.05,
    target: float = 0.8,
) -> float | None:
    """The smallest true change of accuracy that is found with power `target`, rounded up to a tenth of a point.

    Flips against the effect are taken to be as frequent as the rarer kind could be: its one-sided 95% upper limit, for
    none in a thousand does not mean never.

    Args:
        counts: flips and number of problems.
        largest: the largest change that the edit can make, n_touched / n.
        level: what a p-value has to be below to be found: 0.05 for a single test, for a family its first critical value
            (`critical_level`).
        target: power.

    Returns:
        None where it exceeds what the edit can do: no effect that this edit can have would be found.
    """
    rate = clopper_pearson_upper(min(counts.broken, counts.fixed), counts.n)
    # an edit cannot flip, one way or the other, more problems than it touches
    noise = min(rate, largest / 2)

    # In steps of a tenth of a point, and so rounded up by itself. Power rises with the change, so halving finds it.
    def found(steps: int) -> bool:
        change = min(steps / _DIGITS, 1.0 - 2 * noise)
        return power(counts.n, noise + change, noise, level) >= target

    low, high = 0, math.floor(largest * _DIGITS + 1e-9)
    if level <= 0 or not found(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high / _DIGITS
