"""Intervals for means of bounded changes that hold at every n, however few problems carry the change.

If the mean were mu, nobody could get rich by betting against it. Each cluster multiplies a gambler's capital by
1 + bet * (sum - mu * size); at the true mean the capital is expected to stay 1, so a mu at which it has grown to
1 / alpha is rejected at level alpha (Markov). All the interval's shape comes from the bets; its validity does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.clusters import ClusterLabels, Clusters, read_clusters
from codi_int.records import Estimate

BETS = np.concatenate([[1.0], 0.5 ** np.arange(1, 11)])
"""shares of the largest bet that cannot lose more than everything"""
WEIGHTS = np.concatenate([[0.5], np.full(10, 0.05)])
"""how the first capital is divided: half on the largest bet, the one that pays where next to nothing changed"""
METHOD = "betting interval"
_BISECTIONS = 44
"""halvings of [-bound, bound]: to 1e-13 of it"""


def estimate_bounded(
    changes: Sequence[float] | ArrayLike,
    bound: float | int = 1.0,
    clusters: ClusterLabels | None = None,
    null: float | int = 0.0,
    confidence: float = 0.95,
) -> Estimate:
    """The mean of changes that lie in [-bound, bound], with an interval and a p-value that need no large sample.

    The bets are a fixed mixture, so that nothing is tuned on the data and the order of problems does not matter. One
    side at a time at half the level each; p is below 1 - confidence exactly where `null` lies outside the interval.
    Where nothing changed on n problems the interval is about +-4.4 * bound / n at 95%.

    Args:
        changes: one per problem. [n]
        bound: the largest possible change of one problem: 1 for a probability or an accuracy, 2 for the difference of
            two changes.
        clusters: label of each problem's cluster. Clusters are taken as independent given their sizes; bets up to one
            over the largest size weigh them by size, larger ones are cut to what a cluster's size allows.
        null: the mean that is tested.
        confidence: level of the interval.

    Raises:
        ConfigError: for changes beyond the bound, none at all, or values that are not finite.

    Source: I. Waudby-Smith and A. Ramdas, Journal of the Royal Statistical Society B 86 (2024) 1-27, section 4: the
    hedged capital process, here with constant bets.
    """
    values = np.asarray(changes, dtype=np.float64)
    if values.ndim != 1:
        raise ConfigError(
            f"changes is a list with one number per problem, got shape {values.shape}.",
            "Give one change for each problem.",
        )
    return estimate_bounded_many(values[:, None], bound, clusters=clusters, null=null, confidence=confidence)[0]


def estimate_bounded_many(
    changes: Sequence[float] | ArrayLike,
    bound: float | int = 1.0,
    clusters: ClusterLabels | None = None,
    null: float | int = 0.0,
    confidence: float = 0.95,
) -> list[Estimate]:
    """`estimate_bounded` for many features at once. `changes` is [n, features]."""
    values = np.asarray(changes, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] == 0:
        raise ConfigError(
            f"changes holds at least one problem, got shape {values.shape}.", "Give one change for each problem."
        )
    if not np.isfinite(values).all():
        raise ConfigError("A change is not finite: the edited activations have overflowed.", "Make the edit smaller.")
    if bound <= 0 or np.abs(values).max(initial=0.0) > bound * (1 + 1e-9):
        raise ConfigError(
            f"A change of {np.abs(values).max(initial=0.0):.6g} lies outside [-{bound:g}, {bound:g}].",
            "Give the bound that every change keeps to: 1 for probabilities, 2 for differences of two changes.",
        )
    groups = read_clusters(clusters, values.shape[0])
    mean = values.mean(0)
    up, down = (_Side.of(sign * groups.sums(values).clip(*_limits(groups, bound)), groups, bound) for sign in (1, -1))
    # half the level on either side
    needed = np.log(2.0 / (1.0 - confidence))
    # weighting by capped bets can leave the plain mean a hair outside; an interval may always be wider
    low, high = np.minimum(up.limit(needed), mean), np.maximum(-down.limit(needed), mean)
    wealth = np.maximum(up.capital(np.full(mean.size, null)), down.capital(np.full(mean.size, -null)))
    p_values = np.minimum(2.0 * np.exp(-np.maximum(wealth, 0.0)), 1.0)
    return [
        Estimate(float(m), float(a), float(b), float(p)) for m, a, b, p in zip(mean, low, high, p_values, strict=True)
    ]


def _limits(groups: Clusters, bound: float | int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the sum of each cluster can be at most; rounding may carry a sum beyond. [clusters, 1]"""
    reach = bound * groups.sizes[:, None].astype(np.float64)
    return -reach, reach


@dataclass(frozen=True)
class _Side:
    """Bets that the mean is larger than claimed, on many features; the other side is the same on negated sums."""

    sums: NDArray[np.float64]
    """of the clusters that changed, feature after feature. [entries]"""
    sizes: NDArray[np.float64]
    """of the same clusters. [entries]"""
    starts: NDArray[np.int64]
    """where each feature's entries begin. [features]"""
    unchanged: NDArray[np.float64]
    """how many clusters of each size did not change. [features, distinct sizes]"""
    distinct: NDArray[np.float64]
    """the sizes that there are. [distinct sizes]"""
    counts: NDArray[np.int64]
    """entries of each feature. [features]"""
    bound: float | int
    """of one problem's change"""

    @classmethod
    def of(cls, sums: NDArray[np.float64], groups: Clusters, bound: float | int) -> "_Side":
        """From all cluster sums, [clusters, features]."""
        distinct, code = np.unique(groups.sizes, return_inverse=True)
        changed = sums != 0  # [clusters, features]
        feature, cluster = np.nonzero(changed.T)
        # nearly all clusters of a feature are unchanged: they are counted by size, not calculated one by one
        kinds = np.eye(distinct.size)[code]  # [clusters, distinct]
        counts = changed.sum(0)
        return cls(
            sums=sums[cluster, feature],
            sizes=groups.sizes[cluster].astype(np.float64),
            starts=np.concatenate([[0], np.cumsum(counts)[:-1]]),
            unchanged=(~changed).T.astype(np.float64) @ kinds,
            distinct=distinct.astype(np.float64),
            counts=counts,
            bound=bound,
        )

    def capital(self, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log of the capital after all clusters, if the mean of each feature were `mean`. [features]"""
        from scipy.special import logsumexp

        spread = np.repeat(mean, self.counts)
        # log(0) is a lost stake: minus infinity, and the other bets of the mixture go on
        with np.errstate(divide="ignore", invalid="ignore"):
            gains = np.log1p(self._bets(self.sizes, spread) * (self.sums - spread * self.sizes))
            drift = -mean[:, None] * self.distinct
            idle = np.log1p(self._bets(self.distinct, mean[:, None]) * drift)  # [bets, features, distinct]
            # 0 clusters times minus infinity is nothing
            total = np.where(self.unchanged > 0, self.unchanged * idle, 0.0).sum(2)
        some = self.counts > 0
        if some.any():
            # reduceat gives an empty feature the next one's first entry, so those are left out
            total[:, some] += np.add.reduceat(gains, self.starts[some], axis=1)
        return np.asarray(logsumexp(total + np.log(WEIGHTS)[:, None], axis=0))

    def limit(self, needed: float) -> NDArray[np.float64]:
        """The least mean at which the log capital stays below `needed`. [features]"""
        low, high = np.full(self.counts.size, -self.bound), np.full(self.counts.size, self.bound)
        # the capital falls with the mean that is bet against, so there is one crossing
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            rejected = self.capital(middle) >= needed
            low, high = np.where(rejected, middle, low), np.where(rejected, high, middle)
        return low

    def _bets(self, sizes: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Every bet on clusters of some sizes. [bets, ...]"""
        # a cluster of m problems loses at most m * (bound + mean)
        shares = BETS.reshape(-1, *[1] * np.broadcast(sizes, mean).ndim)
        return np.asarray(np.minimum(shares, 1.0 / sizes) / (self.bound + mean))
