"""Equivalence, exactly: how sure it is that accuracy changes by less than a bound declared beforehand.

The score test of `paired` leans on a normal approximation where next to nothing flips, which is where equivalence is
claimed. Here the chance of every outcome is added up. The rate of flips against the change is not known under the
null; the p-value is the largest over all rates that the data do not rule out.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.clusters import ClusterLabels, read_clusters
from codi_int.interventions.evidence.flips import count_changes, read_flips
from codi_int.interventions.evidence.paired import Equivalence, PairedCounts

BOUND = 0.005
"""the smallest effect of interest where none is declared: half a point of accuracy"""
LARGEST_BOUND = 0.5
Counts = NDArray[np.int64] | int
METHOD = "two exact one-sided tests"
_RULED_OUT = 1e-5
"""chance that the nuisance rate lies beyond what is searched; added to the p-value"""
_GRID = 200
_SLACK = 1e-9
_NEGLIGIBLE = 1e-12


def check_bound(bound: float | int) -> float:
    """The bound itself; ConfigError outside (0, 0.5]."""
    # written so that NaN is refused too
    if not 0.0 < bound <= LARGEST_BOUND:
        raise ConfigError(
            f"The smallest effect of interest is a share above 0 and at most {LARGEST_BOUND:g}, got {bound:g}.",
            "--bound 0.005 is half a point of accuracy.",
        )
    return float(bound)


def fewest_for_equivalence(bound: float | int = BOUND, alpha: float = 0.05) -> int:
    """The fewest problems that can show equivalence, without a single flip: (1 - bound)^n <= alpha. 598 for 0.005."""
    return math.ceil(math.log(alpha) / math.log1p(-check_bound(bound)))


def equivalence_exact(counts: PairedCounts, bound: float | int = BOUND, alpha: float = 0.05) -> Equivalence:
    """Test that the true change of accuracy lies within +-`bound`: the larger of two exact one-sided p-values.

    Outcomes are ordered by the score statistic at the bound; the p-value is the largest chance, over the rate of flips
    the other way, of an outcome at least as far from the bound as the one observed.

    Raises:
        ConfigError: for a bound outside (0, 0.5].

    Source: H. Hsueh, J. Liu and J. Chen, Biometrics 57 (2001) 478-483; the rates are searched within a confidence
    limit as R. Berger and D. Boos, Journal of the American Statistical Association 89 (1994) 1012-1016, propose.
    """
    bound = check_bound(bound)
    loss = _p_not_worse(counts.n, counts.broken, counts.fixed, bound)
    # a gain is a loss with the two arms exchanged
    gain = _p_not_worse(counts.n, counts.fixed, counts.broken, bound)
    p_value = max(loss, gain)
    return Equivalence(bound, p_value, p_value < alpha, alpha, METHOD)


def equivalence_by_cluster(
    changes: ArrayLike,
    clusters: ClusterLabels | None = None,
    bound: float | int = BOUND,
    alpha: float = 0.05,
) -> Equivalence:
    """`equivalence_exact` on changes of -1, 0 and 1 whose problems come in clusters.

    Problems of a cluster may always do the same, and where nothing flips no data can tell; so all counts are divided by
    the largest design effect that the clusters' sizes allow, and rounded away from equivalence.
    """
    values = read_flips(changes)
    groups, counts = read_clusters(clusters, values.size), count_changes(values)
    if groups.singletons:
        return equivalence_exact(counts, bound, alpha)
    effect, bound = groups.design_effect, check_bound(bound)
    n = math.floor(counts.n / effect)
    worse, better = (
        (a / effect, b / effect) for a, b in ((counts.broken, counts.fixed), (counts.fixed, counts.broken))
    )
    p_value = max(_p_not_worse(n, math.ceil(a - _SLACK), math.floor(b + _SLACK), bound) for a, b in (worse, better))
    return Equivalence(bound, p_value, p_value < alpha, alpha, groups.named(METHOD))


@lru_cache(maxsize=65536)
def _p_not_worse(n: int, broken: int, fixed: int, bound: float) -> float:
    """p-value against the null that accuracy falls by `bound` or more."""
    from scipy.optimize import minimize_scalar
    from scipy.stats import beta, binom

    # Under the null's edge problems break at rate q + bound and are fixed at rate q; q is the nuisance.
    largest = (1.0 - bound) / 2
    if fixed < n:
        largest = min(largest, float(beta.ppf(1 - _RULED_OUT, fixed + 1, n - fixed)))
    # all counts but those with a chance of 1e-12
    b = np.arange(int(binom.ppf(1 - _NEGLIGIBLE, n, largest + bound)) + 2).clip(max=n)
    f = np.arange(max(int(binom.ppf(1 - _NEGLIGIBLE, n, largest)), fixed) + 2)
    least = _least_fixed(_score(n, b[:, None], f, bound) >= _score(n, broken, fixed, bound) - _SLACK)

    def chance(q: NDArray[np.float64] | float) -> NDArray[np.float64]:
        rate = np.asarray(q, dtype=np.float64)[..., None]
        # at the largest rate all other problems are fixed, and rounding must not carry the share beyond 1
        at_least = binom.sf(least - 1, n - b, np.minimum(rate / (1.0 - rate - bound), 1.0))
        return np.asarray(np.sum(binom.pmf(b, n, rate + bound) * at_least, axis=-1))

    grid = np.linspace(0.0, largest, _GRID)
    chances = chance(grid)
    best, step = int(chances.argmax()), grid[1]
    around = (max(grid[best] - step, 0.0), min(grid[best] + step, largest))
    refined = minimize_scalar(lambda q: -float(chance(q)), bounds=around, method="bounded")
    return min(max(float(chances.max()), -float(refined.fun)) + _RULED_OUT, 1.0)


def _least_fixed(extreme: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each number of broken problems the fewest fixed ones that are as extreme; beyond all where none is."""
    # the statistic rises with the number of fixed problems, so everything from the first on is extreme
    return np.asarray(np.where(extreme.any(1), extreme.argmax(1), extreme.shape[1]))


def _score(n: int, broken: Counts, fixed: Counts, bound: float) -> NDArray[np.float64]:
    """Tango's score statistic for a loss of `bound`: how far fixed - broken lies above it, in standard errors."""
    # the same constrained rate as in `paired`, for arrays: the larger root of 2n q^2 + linear q + constant = 0
    b, f = np.asarray(broken, dtype=np.float64), np.asarray(fixed, dtype=np.float64)
    linear = -b - f + (2 * n - f + b) * -bound
    constant = b * bound * (1 + bound)
    root = np.sqrt(np.maximum(linear * linear - 8 * n * constant, 0.0))
    variance = n * (2 * (root - linear) / (4 * n) - bound * (1 + bound))
    return np.asarray((f - b + n * bound) / np.sqrt(np.maximum(variance, _NEGLIGIBLE)))
