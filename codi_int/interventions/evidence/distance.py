"""How far states lie from real ones: Mahalanobis distances, by a covariance that holds for few states of many numbers.

An edited residual that no real one is like may break answers by being odd, whatever its feature means. So it is told
how many of the real ones lie as far from their mean.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class RealStates:
    """Some real states and how far each lies from their mean."""

    mean: NDArray[np.float64]
    """[d]"""
    root: NDArray[np.float64]
    """lower Cholesky factor of their covariance. [d, d]"""
    distances: NDArray[np.float64]
    """of the real states, in rising order. [n]"""

    def distance(self, states: ArrayLike) -> NDArray[np.float64]:
        """Mahalanobis distance of each state. [m, d] -> [m]"""
        return _distances(np.asarray(states, dtype=np.float64) - self.mean, self.root)

    def percentile(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the real states that lie nearer to the mean than each distance, equally far ones half. [m] -> [m]"""
        left, right = (self.distances.searchsorted(distances, side=side) for side in ("left", "right"))
        return np.asarray((left + right) / (2.0 * self.distances.size))

    def beyond(self, distances: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which distances are larger than that of every real state. [m] -> [m]"""
        return np.asarray(distances > self.distances[-1])


def fit_states(states: ArrayLike) -> RealStates | None:
    """Mean and covariance of real states, which are then measured by the same.

    Args:
        states: one row each. [n, d]

    Returns:
        None where they do not vary in every direction even when shrunk, as two states do: nothing has a distance then.
    """
    x = np.asarray(states, dtype=np.float64)
    mean = x.mean(0)
    try:
        root: NDArray[np.float64] = np.asarray(np.linalg.cholesky(ledoit_wolf(x - mean)), dtype=np.float64)
    except np.linalg.LinAlgError:
        return None
    return RealStates(mean, root, np.sort(_distances(x - mean, root)))


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


def _distances(centred: NDArray[np.float64], root: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.linalg import solve_triangular

    return np.asarray(np.sqrt((solve_triangular(root, centred.T, lower=True) ** 2).sum(0)))
