"""Is a property more frequent where a feature fires than it is overall? Exact tests of 2 x 2 tables.

A unit is a calculation chain, of which one problem stands for all: operations and numbers are the same in all problems
of a chain, and a feature that fires on one of them fires on most, so that two problems of one chain are not two
observations. The chain is represented by its first problem and not by "fires on any of them": chains of one step have
more problems, and would seem to make every feature fire.

With the two margins fixed, the number of units that have both is hypergeometric where the two are independent
(Fisher 1935). Given strata, such as the number of steps, the sums over the strata are convolved (Birch 1964).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from codi_int.interventions.evidence.grid import GRID, to_grid
from codi_int.proportions import wilson_interval

Counts = NDArray[np.int64]
_SIZES = (12, 24, 48, 96, 192, 384)
"""where groups of features that fire about equally often begin"""


@dataclass(frozen=True)
class Table:
    """How often a feature fires and a property holds, among some units."""

    n: int
    """units"""
    firing: int
    """units on which the feature fires"""
    present: int
    """units that have the property"""
    both: int
    """units with both"""

    @property
    def share(self) -> float:
        """Of the units on which it fires, the share that has the property."""
        return self.both / self.firing if self.firing else 0.0

    @property
    def base_rate(self) -> float:
        """Of all units, the share that has the property."""
        return self.present / self.n

    @property
    def difference(self) -> float:
        """Share given firing minus base rate."""
        return self.share - self.base_rate if self.firing else 0.0

    def interval(self, alpha: float = 0.05) -> tuple[float | None, float | None]:
        """Of the difference: Newcombe's hybrid score interval; None where it fires on no unit or on all.

        The difference from the base rate is (1 - firing / n) times the difference between units with and without
        firing, which are independent groups.

        Source: R. Newcombe, Statistics in Medicine 17 (1998) 873-890, method 10.
        """
        silent = self.n - self.firing
        if not self.firing or not silent:
            return None, None
        without = self.present - self.both
        (a, b), (c, d) = _wilson(self.both, self.firing, alpha), _wilson(without, silent, alpha)
        p, q = self.both / self.firing, without / silent
        scale = silent / self.n
        low = p - q - ((p - a) ** 2 + (d - q) ** 2) ** 0.5
        high = p - q + ((b - p) ** 2 + (q - c) ** 2) ** 0.5
        return scale * low, scale * high


def _wilson(hits: int, n: int, alpha: float) -> tuple[float, float]:
    low, high = wilson_interval(hits, n, alpha)
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Enrichment:
    """Many features against many properties."""

    p_values: NDArray[np.float64]
    """P(as many units with both, or more); NaN for a pair that cannot be tested. [features, properties]"""
    null_sums: NDArray[np.float64]
    """sum over the tested pairs of F / (1 - F) at every threshold t of `GRID`, F(t) = P(p <= t | null). [grid]"""
    both: Counts
    """units with both. [features, properties]"""
    firing: Counts
    """units on which each feature fires. [features]"""
    present: Counts
    """units that have each property. [properties]"""
    n: int
    """units"""

    def table(self, feature: int, prop: int) -> Table:
        """The counts of one pair, by place."""
        both = int(self.both[feature, prop])
        return Table(self.n, int(self.firing[feature]), int(self.present[prop]), both)


def measure_enrichment(
    firing: NDArray[np.bool_], present: NDArray[np.bool_], least_firing: int, least_present: int, alpha: float = 0.05
) -> Enrichment:
    """Test every feature against every property, one-sided.

    Args:
        firing: whether each feature fires on each unit. [n, features]
        present: whether each unit has each property. [n, properties]
        least_firing: units on which a feature has to fire to be tested.
        least_present: units that have to have a property, and that have to lack it.
        alpha: a pair that could not come below this whatever happened is not tested.
    """
    n = len(firing)
    n_firing, n_present = firing.sum(0, dtype=np.int64), present.sum(0, dtype=np.int64)
    both = np.rint(firing.T.astype(np.float32) @ present.astype(np.float32)).astype(np.int64)
    p_values, sums = np.full(both.shape, np.nan), np.zeros(GRID.size)
    # features that fire equally often share their null distribution with every property
    sizes, which, counts = np.unique(n_firing, return_inverse=True, return_counts=True)
    testable = np.flatnonzero(np.minimum(n_present, n - n_present) >= least_present).tolist()
    # in groups of like sizes: a feature that fires on ten units needs eleven columns and not a thousand
    for least, most in pairwise([least_firing, *(size for size in _SIZES if size > least_firing), n + 1]):
        chosen = np.flatnonzero((sizes >= least) & (sizes < most))
        features = np.flatnonzero((n_firing >= least) & (n_firing < most))
        if not chosen.size:
            continue
        row = np.searchsorted(chosen, which[features])
        for j in testable:
            tails = upper_tails(n, int(n_present[j]), sizes[chosen])
            tested = np.where(tails > 0, tails, np.inf).min(1) <= alpha
            p_values[features, j] = np.where(tested[row], tails[row, both[features, j]], np.nan)
            sums += null_sums(tails[tested], counts[chosen][tested])
    return Enrichment(p_values, null_sums=sums, both=both, firing=n_firing, present=n_present, n=n)


def upper_tails(n: int, present: int, firing: Counts) -> NDArray[np.float64]:
    """P(X >= x) for x = 0, 1, ...; X hypergeometric: `firing` drawn of n, of which `present`.

    Returns:
        [firing, values]; values end where none of the sizes can reach further.
    """
    # from the far end, so that small tails keep their digits
    return np.cumsum(_chances(n, present, firing)[:, ::-1], axis=1)[:, ::-1].clip(max=1.0)


def _chances(n: int, present: int, firing: Counts) -> NDArray[np.float64]:
    """P(X = x) for x = 0, 1, ... [firing, values]"""
    x, size = np.arange(min(present, int(firing.max(initial=0))) + 1)[None], firing[:, None]
    other = size - x
    possible = (other >= 0) & (other <= n - present)
    logs = _log_factorials(n)
    # ln C(present, x) + ln C(n - present, size - x) - ln C(n, size)
    kept = np.where(possible, other, 0)
    log_p = logs[present] - logs[x] - logs[present - x] + logs[n - present] - logs[kept]
    log_p = log_p - logs[np.where(possible, n - present - other, 0)] - (logs[n] - logs[size] - logs[n - size])
    return np.asarray(np.exp(np.where(possible, log_p, -np.inf)))


def null_sums(tails: NDArray[np.float64], counts: Counts) -> NDArray[np.float64]:
    """Sum over tests of F / (1 - F) at every threshold of `GRID`, where F(t) is the largest attainable value up to t.

    Args:
        tails: attainable p-values of each kind of test, descending; 0 for what cannot come out. [kinds, values]
        counts: tests of each kind. [kinds]
    """
    out = np.zeros((len(tails), GRID.size))
    rows, columns = np.nonzero(tails > 0)
    values = tails[rows, columns]
    places = to_grid(values)
    # within a row values descend, so written backwards the largest of those that share a place stays
    out[rows[::-1], places[::-1]] = values[::-1]
    reached = np.maximum.accumulate(out, axis=1)
    with np.errstate(divide="ignore"):
        odds = np.where(reached < 1.0, reached / (1.0 - reached), np.inf)
    return np.asarray((counts[:, None] * odds).sum(0)) if len(tails) else np.zeros(GRID.size)


def stratified_p(tables: Sequence[Table]) -> float | None:
    """P(as many units with both, or more) given the margins of every stratum; None where nothing could vary.

    Source: M. Birch, Journal of the Royal Statistical Society B 26 (1964) 313-324: the conditional exact test, whose
    null distribution is the convolution of the strata's hypergeometric ones.
    """
    total = np.ones(1)
    least = 0
    for one in tables:
        if not one.n:
            continue
        low, high = max(0, one.firing + one.present - one.n), min(one.firing, one.present)
        chances = _chances(one.n, one.present, np.array([one.firing], dtype=np.int64))[0, low : high + 1]
        total = np.convolve(total, chances if low < high else np.ones(1))
        least += low
    if total.size == 1:
        return None
    at = sum(one.both for one in tables) - least
    return float(min(total[::-1].cumsum()[::-1][at], 1.0))


def _log_factorials(n: int) -> NDArray[np.float64]:
    """ln 0!, ..., ln n! and beyond"""
    return _log_factorials_up_to(n.bit_length())


@cache
def _log_factorials_up_to(bits: int) -> NDArray[np.float64]:
    from scipy.special import gammaln  # takes a moment to load

    return np.asarray(gammaln(np.arange(2**bits) + 1.0))
