"""How far states lie from real ones: Mahalanobis distances, by a covariance that holds for few states of many numbers.

An edited residual that no real one is like may break answers by being odd, whatever its feature means. So it is told
how many of the real ones lie as far from their mean.

A covariance is smallest around the very states that it was estimated from: with fewer states than numbers anything
else lies beyond all of them, an ordinary state too. So every state, real or edited, is measured by a mean and a
covariance of the states of other folds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FOLDS = 5
"""parts of the real states, each of which is measured by the other four"""


@dataclass(frozen=True, eq=False)
class RealStates:
    """Some real states and how far each lies from the mean of others."""

    fold: NDArray[np.int64]
    """of each real state. [n]"""
    mean: NDArray[np.float64]
    """of the states outside each fold. [folds, d]"""
    root: NDArray[np.float64]
    """lower Cholesky factor of their covariance. [folds, d, d]"""
    distances: NDArray[np.float64]
    """of the real states, in rising order. [n]"""

    def distance(self, states: ArrayLike, rows: ArrayLike) -> NDArray[np.float64]:
        """Mahalanobis distance of what has become of some real states, each by the states outside of its fold.

        Args:
            states: one row each. [m, d]
            rows: of which real state it is what has become. [m]

        Returns:
            one distance each. [m]
        """
        x, fold = np.asarray(states, dtype=np.float64), self.fold[np.asarray(rows, dtype=np.int64)]
        return _distances(x, fold, self.mean, self.root)

    def percentile(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the real states that lie nearer to the mean than each distance, equally far ones half. [m] -> [m]"""
        left, right = (self.distances.searchsorted(distances, side=side) for side in ("left", "right"))
        return np.asarray((left + right) / (2.0 * self.distances.size))

    def beyond(self, distances: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which distances are larger than that of every real state. [m] -> [m]"""
        return np.asarray(distances > self.distances[-1])


def fit_states(states: ArrayLike, clusters: ArrayLike | None = None) -> RealStates | None:
    """Means and covariances of real states, fold by fold.

    Args:
        states: one row each. [n, d]
        clusters: labels of states that are no two observations, which share a fold; default each its own. [n]

    Returns:
        None where the states of some folds do not vary in every direction even when shrunk, as two states do, or where
        all are one cluster: nothing has a distance then.
    """
    x = np.asarray(states, dtype=np.float64)
    labels = np.arange(len(x)) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    fold = np.asarray(labels, dtype=np.int64) % FOLDS
    means, roots = [], []
    for one in range(int(fold.max()) + 1):
        others = x[fold != one]
        if len(others) < 2:
            return None
        means.append(others.mean(0))
        try:
            roots.append(np.linalg.cholesky(ledoit_wolf(others - means[-1])))
        except np.linalg.LinAlgError:
            return None
    mean, root = np.stack(means), np.stack(roots)
    return RealStates(fold, mean, root, np.sort(_distances(x, fold, mean, root)))


def ledoit_wolf(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """The covariance of centred states, shrunk towards a multiple of the identity by as much as they are too few.

    scikit-learn has the same estimate; importing it takes as long as a tenth of a run. [n, d] -> [d, d]

    Source: O. Ledoit and M. Wolf, Journal of Multivariate Analysis 88 (2004) 365-411.
    """
    n, d = centred.shape
    sample = centred.T @ centred / n
    scale = float(np.trace(sample)) / d
    # how far the sample's covariance lies from the target, and how much of that is noise of the sample
    spread = float((sample**2).sum()) - d * scale**2
    noise = (float((centred**2).sum(1) @ (centred**2).sum(1)) / n - float((sample**2).sum())) / n
    shrinkage = min(max(noise, 0.0) / spread, 1.0) if spread > 0 else 0.0
    shrunk = (1.0 - shrinkage) * sample
    shrunk[np.diag_indices(d)] += shrinkage * scale
    return np.asarray(shrunk)


def _distances(
    x: NDArray[np.float64], fold: NDArray[np.int64], mean: NDArray[np.float64], root: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of each state, by the fit that belongs to its fold. [m, d] -> [m]"""
    from scipy.linalg import solve_triangular

    found = np.empty(len(x))
    for one in np.unique(fold):
        own = fold == one
        found[own] = np.sqrt((solve_triangular(root[one], (x[own] - mean[one]).T, lower=True) ** 2).sum(0))
    return found
