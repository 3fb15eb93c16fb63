"""Paired right-or-wrong data: exact McNemar, a score interval for the difference, power.

Everything here works on four counts. Only the discordant problems (right in one arm, wrong in the other) say anything
about a difference; how many problems agree decides how large that difference is.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codi_int.errors import ConfigError

SCORE_INTERVAL = "tango-score, continuity corrected"


@dataclass(frozen=True)
class PairedCounts:
    """Flips between two arms."""

    n: int
    """pairs"""
    broken: int
    """right, then wrong"""
    fixed: int
    """wrong, then right"""

    def __post_init__(self) -> None:
        if min(self.n, self.broken, self.fixed) < 0 or self.broken + self.fixed > self.n or self.n == 0:
            raise ConfigError(
                f"{self.broken} broken and {self.fixed} fixed of {self.n} pairs: these counts cannot be.",
                "Count every pair once: broken + fixed <= n, and n at least 1.",
            )

    @property
    def discordant(self) -> int:
        """Pairs whose correctness flipped, either way."""
        return self.broken + self.fixed

    @property
    def estimate(self) -> float:
        """Second arm's share of right answers minus the first's."""
        return (self.fixed - self.broken) / self.n


@dataclass(frozen=True)
class DeflatedCounts:
    """Flips divided by a design effect: what independent problems that say as much would have shown.

    Source: J. Rao and A. Scott, Biometrics 48 (1992) 577-585.
    """

    n: float
    """pairs"""
    broken: float
    """right, then wrong"""
    fixed: float
    """wrong, then right"""

    @property
    def estimate(self) -> float:
        """The difference, which deflating leaves as it is."""
        return (self.fixed - self.broken) / self.n


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    """lower end"""
    high: float
    """upper end"""
    confidence: float
    """its level"""
    method: str
    """how it was made"""


@dataclass(frozen=True)
class Equivalence:
    """Whether "no effect larger than the bound" has been shown."""

    bound: float
    """the largest change of accuracy that counts as none"""
    p_value: float
    """of the larger of the two one-sided tests"""
    equivalent: bool
    """whether p_value is below the level"""
    alpha: float
    """level of the test"""
    method: str
    """how it was tested"""


def count_flips(clean: NDArray[np.bool_], intervened: NDArray[np.bool_]) -> PairedCounts:
    """Count the flips between two boolean arrays of one length."""
    return PairedCounts(clean.size, int((clean & ~intervened).sum()), int((~clean & intervened).sum()))


def mcnemar_exact(counts: PairedCounts) -> float:
    """Two-sided p-value of the exact McNemar test (a binomial test of the discordant pairs); 1.0 without any."""
    from scipy.stats import binomtest

    # No coin was thrown, so nothing speaks against the null.
    if counts.discordant == 0:
        return 1.0
    # Under the null every discordant pair is a fair coin (Q. McNemar, Psychometrika 12 (1947) 153-157). The binomial
    # test and not its chi-squared approximation: often fewer than ten answers flip.
    return float(binomtest(counts.broken, counts.discordant, 0.5).pvalue)


def fewest_for_significance(alpha: float) -> int:
    """The fewest discordant pairs whose exact test can fall below `alpha`: 6 for 0.05, all of them flipping one way."""
    # m flips all one way have p = 2 * (1/2)^m, which is below alpha where m > log2(2 / alpha). Floor plus one, not
    # ceil: where 2 / alpha is a power of two, p equals alpha there and is not below it.
    return math.floor(math.log2(2.0 / alpha)) + 1


@lru_cache(maxsize=4096)
def score_interval(counts: PairedCounts | DeflatedCounts, confidence: float = 0.95) -> Interval:
    """Tango's score interval for the paired difference of two proportions, with Edwards' continuity correction.

    Chosen over a bootstrap and over Newcombe's method because it stays honest when nothing flips: both of those can
    shrink to a point there. The correction keeps it in step with the exact test, so that 4 flips, all one way, do not
    give p = 0.12 beside an interval without zero. Neither scipy nor statsmodels has it.

    Source: T. Tango, Statistics in Medicine 17 (1998) 891-908; the correction is that of A. Edwards,
    Psychometrika 13 (1948) 185-187: the distance between the discordant counts is reduced by one.
    """
    from scipy.stats import norm

    # two-sided: half of 1 - confidence in either tail
    z = float(norm.ppf(0.5 + confidence / 2))
    low = _score_limit(counts, z, towards=-1.0)
    return Interval(low, _score_limit(counts, z, towards=1.0), confidence, SCORE_INTERVAL)


def deflate(counts: PairedCounts, design_effect: float) -> DeflatedCounts:
    """The counts that as many independent problems would give; see `DeflatedCounts`."""
    return DeflatedCounts(*(getattr(counts, name) / design_effect for name in ("n", "broken", "fixed")))


def _score_limit(counts: PairedCounts | DeflatedCounts, z: float, towards: float) -> float:
    """The difference on one side of the estimate at which the squared score statistic reaches z^2."""
    from scipy.optimize import brentq

    # The interval holds every difference that the score test does not reject; its ends are where gap^2 = z^2 *
    # variance. Not written as gap / sqrt(variance): the variance is 0 at -1 and 1, and at 0 where nothing flips.
    def excess(delta: float) -> float:
        gap = _correct_gap(counts, delta)
        return gap * gap - z * z * _score_variance(counts, delta)

    # At the estimate the gap is 0 and excess is not positive; outwards the gap grows, so each side holds one sign
    # change. The start is a hair outside the estimate: where nothing flips, excess is 0 at the estimate itself, which
    # brentq would take for the limit.
    start = counts.estimate + towards * 1e-12
    # Nothing to bracket where every pair flipped this way, or where the correction eats the whole gap even at the end
    # of the scale (the variance is 0 there, so excess cannot be negative): the end is the limit.
    if abs(counts.estimate - towards) < 1e-12 or excess(towards) <= 0:
        return towards
    return float(brentq(excess, start, towards, xtol=1e-12))


def _correct_gap(counts: PairedCounts | DeflatedCounts, delta: float) -> float:
    """fixed - broken minus what `delta` predicts, one closer to zero; 0 where it is closer than that."""
    # Shortened by one and never past 0: within one flip of the prediction the statistic is 0, not of the other sign.
    gap = counts.fixed - counts.broken - counts.n * delta
    return math.copysign(max(abs(gap) - 1.0, 0.0), gap)


def _score_variance(counts: PairedCounts | DeflatedCounts, delta: float) -> float:
    """Variance of fixed - broken under difference `delta`, with the other parameter at its constrained maximum."""
    # Tango's letters: b and c are the two discordant cells, and delta is (b - c) / n in expectation. With delta held,
    # the likelihood is largest where the share q of the cell c is the larger root of 2n q^2 + linear q + constant = 0;
    # then Var(b - c) = n (2q + delta (1 - delta)).
    n, b, c = counts.n, counts.fixed, counts.broken
    linear = -b - c + (2 * n - b + c) * delta
    constant = -c * delta * (1 - delta)
    # both max(): rounding may leave a hair below 0 where the exact value is 0
    root = math.sqrt(max(linear * linear - 8 * n * constant, 0.0))
    return max(n * (2 * (root - linear) / (4 * n) + delta * (1 - delta)), 0.0)


def power(n: int, loss: float, gain: float, alpha: float = 0.05) -> float:
    """Chance that the exact McNemar test finds a difference, by summing over the number of discordant pairs.

    Args:
        n: pairs.
        loss: true share of pairs that go from right to wrong.
        gain: true share that goes from wrong to right.
        alpha: level of the test.
    """
    from scipy.stats import binom

    rate = loss + gain
    if rate <= 0:
        return 0.0
    # The number m of discordant pairs is Binomial(n, rate) itself; all but 2e-9 of its probability. [m]
    m = np.arange(int(binom.ppf(1e-9, n, rate)), int(binom.ppf(1 - 1e-9, n, rate)) + 1)
    # The largest count whose tail is still below alpha / 2; -1, and so no rejection at all, for m too small.
    critical = binom.ppf(alpha / 2, m, 0.5) - 1
    # counts up to `critical` in the smaller cell are exactly those with p < alpha
    # given m, the flips one way are Binomial(m, loss / rate); by symmetry the other tail begins at m - critical
    reject = binom.cdf(critical, m, loss / rate) + binom.sf(m - critical - 1, m, loss / rate)
    return float((binom.pmf(m, n, rate) * reject).sum())
