"""How far two lists of effects agree, with intervals that speak of other problems of the population.

The dictionaries and the pairs of features are given; what varies is which problems were drawn. Effects are means over
problems, so every draw of problems (whole clusters) gives two lists of means, and with them a coefficient.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from codi_int.interventions.evidence.clusters import Clusters
from codi_int.records import Estimate

Floats = NDArray[np.float64]
DRAWS = 2_000
CONFIDENCE = 0.95
METHOD = "BCa bootstrap of problems"
_FEWEST = 0.95
"""share of draws that must have a coefficient; it has none where one list is constant"""


def concordance(a: Floats, b: Floats) -> Floats:
    """Lin's concordance of two lists: 1 where they are equal, less by scatter and by another mean or spread.

    2 s_ab / (s_a^2 + s_b^2 + (mean_a - mean_b)^2), along the last axis; NaN where both are one and the same constant.

    Source: L. Lin, Biometrics 45 (1989) 255-268.
    """
    mean_a, mean_b = a.mean(axis=-1, keepdims=True), b.mean(axis=-1, keepdims=True)
    together = ((a - mean_a) * (b - mean_b)).mean(axis=-1)
    apart = a.var(axis=-1) + b.var(axis=-1) + (mean_a - mean_b)[..., 0] ** 2
    found: Floats = np.divide(2 * together, apart, out=np.full(np.shape(together), np.nan), where=apart > 0)
    return found


def rank_correlation(a: Floats, b: Floats) -> Floats:
    """Spearman's, along the last axis; NaN where one list is constant."""
    first, second = (np.asarray(rankdata(one, axis=-1), dtype=np.float64) for one in (a, b))
    first -= first.mean(axis=-1, keepdims=True)
    second -= second.mean(axis=-1, keepdims=True)
    spread = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    found: Floats = np.divide(
        (first * second).sum(axis=-1), spread, out=np.full(np.shape(spread), np.nan), where=spread > 0
    )
    return found


@dataclass(frozen=True, eq=False)
class Drawn:
    """A coefficient, and what it is on each draw of problems."""

    value: float
    """on all problems; NaN where there is none"""
    drawn: Floats
    """on each draw. [draws]"""

    def estimate(self, method: str) -> Estimate:
        """With its percentile interval; without one where too few draws have the coefficient."""
        known = self.drawn[np.isfinite(self.drawn)]
        if not np.isfinite(self.value):
            return Estimate(0.0, None, None, method="none: the effects do not differ")
        if known.size < _FEWEST * self.drawn.size:
            return Estimate(self.value, None, None, method="none: too few draws have it")
        low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return Estimate(self.value, float(low), float(high), method=method)


@dataclass(frozen=True, eq=False)
class ProblemDraws:
    """Draws of problems, the same for everything that is compared."""

    groups: Clusters
    """the problems' clusters"""
    counts: Floats
    """how often each cluster is in each draw. [draws, clusters]"""

    @classmethod
    def make(cls, groups: Clusters, draws: int = DRAWS, seed: int = 0) -> "ProblemDraws":
        """Whole clusters, with replacement."""
        n = groups.sizes.size
        counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
        return cls(groups, counts.astype(np.float64))

    def concordance(self, first: Floats, second: Floats) -> Drawn:
        """Lin's coefficient of two lists of effects, without what their own uncertainty takes from it.

        Mean effects on some problems scatter about those of the population, so that even equal effects do not agree
        fully. Squares and products of means are therefore less their sampling variances and covariances.

        Args:
            first: changes of each problem under each feature. [n, features]
            second: the same under the partners, in the same order.
        """
        sums = self.groups.sums(first), self.groups.sums(second)
        whole = np.ones((1, self.groups.sizes.size))
        values = [_corrected_concordance(counts, *sums, self.groups.sizes) for counts in (whole, self.counts)]
        return Drawn(float(values[0][0]), values[1])

    @property
    def method(self) -> str:
        """How `concordance` and its interval are made, in words."""
        return self.groups.named("Lin's concordance less sampling noise, percentile bootstrap of problems")

    def bootstrap(self, changes: Floats, statistic: Callable[[Floats], Floats]) -> Estimate:
        """A statistic of the effects, with its BCa interval.

        Args:
            changes: of each problem under each feature. [n, features]
            statistic: from effects [draws, features] to numbers [draws].

        Returns:
            an estimate without interval where too few draws have the statistic; NaN is given as 0 without interval.

        Source: B. Efron, Journal of the American Statistical Association 82 (1987) 171-185.
        """
        sums, sizes = self.groups.sums(changes), self.groups.sizes.astype(np.float64)
        total, n = sums.sum(axis=0), sizes.sum()
        value = float(statistic((total / n)[None])[0])
        if not np.isfinite(value):
            return Estimate(0.0, None, None, method="none: the effects do not differ")
        drawn = statistic((self.counts @ sums) / (self.counts @ sizes)[:, None])
        left_out = statistic((total - sums) / (n - sizes)[:, None])
        interval = bca_interval(value, drawn, left_out)
        low, high = (None, None) if interval is None else interval
        return Estimate(value, low, high, method=self.groups.named(METHOD))


def _corrected_concordance(counts: Floats, a: Floats, b: Floats, sizes: NDArray[np.int64]) -> Floats:
    """For each draw, from sums over clusters [clusters, features]; see `ProblemDraws.concordance`."""
    n = sizes.astype(np.float64)
    # of the features one by one, and of their mean, whose noise is less but not nothing
    each = _products(counts, a, b, n)
    mean_a, mean_b = (x.mean(axis=1, keepdims=True) for x in (a, b))
    mean = tuple(part[:, 0] for part in _products(counts, mean_a, mean_b, n))
    together, first, second = (one.mean(axis=1) - other for one, other in zip(each, mean, strict=True))
    shift = mean[1] + mean[2] - 2 * mean[0]
    apart = first + second + shift
    found: Floats = np.divide(2 * together, apart, out=np.full(apart.shape, np.nan), where=apart > 0)
    return found


def _products(counts: Floats, a: Floats, b: Floats, n: Floats) -> tuple[Floats, Floats, Floats]:
    """Unbiased products of the population's effects: a b, a a and b b. [draws, features]"""
    total, n_clusters = (counts @ n)[:, None], counts.sum(axis=1, keepdims=True)
    mean_a, mean_b = counts @ a / total, counts @ b / total
    squares, factor = (counts @ n**2)[:, None], n_clusters / (n_clusters - 1) / total**2
    with_a, with_b = counts @ (n[:, None] * a), counts @ (n[:, None] * b)

    def noise(sums: Floats, means: tuple[Floats, Floats], crossed: tuple[Floats, Floats]) -> Floats:
        # sum over clusters of (a - mean_a n)(b - mean_b n), each as often as it was drawn
        spread = counts @ sums - means[0] * crossed[1] - means[1] * crossed[0] + means[0] * means[1] * squares
        out: Floats = means[0] * means[1] - spread * factor
        return out

    return (
        noise(a * b, (mean_a, mean_b), (with_a, with_b)),
        noise(a * a, (mean_a, mean_a), (with_a, with_a)),
        noise(b * b, (mean_b, mean_b), (with_b, with_b)),
    )


def bca_interval(
    value: float, drawn: Floats, left_out: Floats, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Bias-corrected and accelerated interval of a statistic; None where too few draws have one.

    Args:
        value: on the sample.
        drawn: on each draw. [draws]
        left_out: on the sample without each cluster. [clusters]
        confidence: level.
    """
    known = drawn[np.isfinite(drawn)]
    if known.size < _FEWEST * drawn.size:
        return None
    below = ((known < value).mean() + (known <= value).mean()) / 2
    if not 0 < below < 1:  # all draws on one side: the correction has no finite size
        below = min(max(below, 0.5 / known.size), 1 - 0.5 / known.size)
    bias = ndtri(below)
    one = left_out[np.isfinite(left_out)]
    away = one.mean() - one
    spread = (away**2).sum()
    acceleration = 0.0 if spread == 0 else float((away**3).sum() / (6 * spread**1.5))
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    z = bias + ndtri(tails)
    levels = ndtr(bias + z / (1 - acceleration * z))
    low, high = np.quantile(known, levels)
    return float(low), float(high)
