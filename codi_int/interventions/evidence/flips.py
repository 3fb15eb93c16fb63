"""Changes of accuracy by cluster: exact sign flips of cluster sums, and the interval that goes with them.

Where every cluster is one problem, the test is the exact McNemar test and the interval Tango's, both of `paired`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.clusters import ClusterLabels, Clusters, read_clusters
from codi_int.interventions.evidence.paired import (
    Interval,
    PairedCounts,
    deflate,
    fewest_for_significance,
    score_interval,
)
from codi_int.records import Estimate

METHOD = "exact sign flips"


def estimate_accuracy(
    changes: Sequence[int] | ArrayLike, clusters: ClusterLabels | None = None, confidence: float = 0.95
) -> Estimate:
    """Mean change of accuracy with its exact test and its score interval.

    Args:
        changes: 1 where a wrong answer became right, -1 where a right one became wrong, else 0. [n]
        clusters: label of each problem's cluster; without them every problem is its own.
        confidence: level of the interval.

    Raises:
        ConfigError: for other values than -1, 0 and 1, or none.
    """
    values = read_flips(changes)
    return accuracy_by_cluster(values, read_clusters(clusters, values.size), confidence)


def accuracy_by_cluster(changes: NDArray[np.float64], groups: Clusters, confidence: float = 0.95) -> Estimate:
    """`estimate_accuracy` where the clusters are known already, be it a single one, which has a p-value of 1."""
    interval = cluster_score_interval(changes, groups, confidence)
    return Estimate(
        value=float(changes.mean()),
        low=interval.low,
        high=interval.high,
        p_value=sign_flip_test(groups.sums(changes)),
        method=groups.named(METHOD),
    )


def sign_flip_test(sums: ArrayLike) -> float:
    """Two-sided p-value: how often signs flipped at random give a total as far from 0 as the observed one.

    Exact, over all 2^clusters patterns; with sums of -1, 0 and 1 it is the exact McNemar test. Under the null an edit
    is as likely to have moved a cluster up as down, by whatever it moved it.

    Args:
        sums: a whole number per cluster. [clusters]

    Source: R. Fisher, The Design of Experiments (1935), section 21.
    """
    whole = np.asarray(sums)
    size = np.abs(whole.astype(np.int64))
    if np.any(whole != whole.astype(np.int64)):
        raise ConfigError(
            "Exact sign flips need whole numbers: sums of -1, 0 and 1 over each cluster.",
            "Subtract right before from right after.",
        )
    support, chances = flip_distribution(size)
    # Totals are symmetric about 0; chances below 1e-16 of the largest are rounding of the convolution.
    return float(min(chances[np.abs(support) >= abs(int(whole.sum()))].sum(), 1.0))


def attainable_p_values(sums: ArrayLike) -> NDArray[np.float64]:
    """Every p-value that `sign_flip_test` can give for these sizes of cluster sums, ascending; the last is 1."""
    support, chances = flip_distribution(np.abs(np.asarray(sums)).astype(np.int64))
    positive = support >= 0
    # a total of 0 is in both tails at once
    tail = np.cumsum((np.where(support == 0, 1.0, 2.0) * chances)[positive][::-1])
    # all of it is 1, and not 1 less rounding: a p-value of 1 can never be rejected
    tail[-1] = 1.0
    return np.unique(tail.clip(max=1.0))


def flip_distribution(sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The totals that random signs give, and their probabilities: (totals, chances), the totals ascending.

    Clusters of one size make a binomial on a grid of twice that size; different sizes are convolved, of which there
    are few: this is the dynamic programme over totals with its steps of equal size taken at once.
    """
    from scipy.stats import binom

    chances = np.ones(1)
    kinds, counts = np.unique(sizes[sizes > 0], return_counts=True)
    for size, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        heads = np.zeros(2 * size * count + 1)
        heads[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, heads)
    reach = int(sizes.sum())
    totals = np.arange(-reach, reach + 1)
    # every total has the parity of the largest one; the others cannot be
    return totals[::2], chances[::2]


def cluster_score_interval(changes: ArrayLike, groups: Clusters, confidence: float = 0.95) -> Interval:
    """Tango's interval with Edwards' correction, on counts deflated by the design effect of the clusters.

    The design effect is the variance of the sum over clusters divided by that over problems, at least 1 (problems of a
    cluster that cancel each other are no reason to be surer), and exactly 1 for single problems.

    Source: J. Rao and A. Scott, Biometrics 48 (1992) 577-585, applied to T. Tango, Statistics in Medicine 17 (1998)
    891-908.
    """
    values = read_flips(changes)
    counts = count_changes(values)
    if groups.singletons:
        return score_interval(counts, confidence)
    centred = values - values.mean()
    within, between = float((centred**2).sum()), float((groups.sums(centred) ** 2).sum())
    effect = max(between / within, 1.0) if within > 0 else 1.0
    interval = score_interval(deflate(counts, effect), confidence)
    return Interval(interval.low, interval.high, confidence, groups.named(interval.method))


def count_changes(changes: NDArray[np.float64]) -> PairedCounts:
    """Broken and fixed problems of a vector of -1, 0 and 1."""
    return PairedCounts(changes.size, int((changes < 0).sum()), int((changes > 0).sum()))


def read_flips(changes: ArrayLike) -> NDArray[np.float64]:
    """Changes of correctness as numbers; ConfigError where one is none of -1, 0 and 1."""
    values = np.asarray(changes, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isin(values, (-1.0, 0.0, 1.0)).all():
        raise ConfigError(
            "Changes of accuracy are -1 (broken), 0 or 1 (fixed), one per problem.",
            "Subtract right before from right after.",
        )
    return values


def is_testable(touched: Sequence[bool] | NDArray[np.bool_], groups: Clusters, alpha: float = 0.05) -> bool:
    """Whether an edit that touches these problems could ever be significant: enough clusters are touched at all."""
    # m clusters all moved one way have p = 2 * (1/2)^m, whatever their sizes
    return int((groups.sums(np.asarray(touched, dtype=np.float64)) > 0).sum()) >= fewest_for_significance(alpha)


def at_border(p_value: float, interval: Interval) -> bool:
    """Whether the exact test and the interval disagree about 0, as they may where p is close to the level."""
    return (p_value < 1.0 - interval.confidence) == (interval.low <= 0.0 <= interval.high)
