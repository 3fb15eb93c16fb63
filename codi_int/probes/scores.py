"""How well a target is read: balanced accuracy or R², and intervals that draw whole clusters again."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codi_int.probes.fitting import Outputs
from codi_int.probes.ridge import Array
from codi_int.records import Estimate

DRAWS = 1_000
CONFIDENCE = 0.95
METHOD = "percentile bootstrap, by cluster"


@dataclass(frozen=True)
class Scored:
    """A score, and the same in every bootstrap draw; two of the same draws can be subtracted."""

    value: float
    """on the problems themselves"""
    draws: Array
    """on clusters drawn again. [draws]"""

    @property
    def estimate(self) -> Estimate:
        """With its 95% interval."""
        tail = 100 * (1 - CONFIDENCE) / 2
        low, high = np.nanpercentile(self.draws, [tail, 100 - tail])
        # the share of ties at the ends may leave the score itself a hair outside
        return Estimate(self.value, min(float(low), self.value), max(float(high), self.value), method=METHOD)

    def minus(self, other: "Scored") -> "Scored":
        """The difference, problem by problem: both were drawn with the same clusters."""
        return Scored(self.value - other.value, self.draws - other.draws)


def control_score(scored: list[Scored], numbers: bool) -> Scored:
    """The mean over the draws of the control task.

    An R² below 0 counts as 0: a probe that does worse than the mean has learnt nothing by heart, and must not make the
    target's own look more selective than it is right.
    """
    if numbers:
        scored = [Scored(max(one.value, 0.0), np.maximum(one.draws, 0.0)) for one in scored]
    return mean_of(scored)


def mean_of(scored: list[Scored]) -> Scored:
    """The mean of several scores of the same draws."""
    return Scored(float(np.mean([one.value for one in scored])), np.mean([one.draws for one in scored], axis=0))


class Scorer:
    """Scores of probes on the same problems, all of them with the same bootstrap draws."""

    def __init__(self, clusters: NDArray[np.int64], seed: int = 0, draws: int = DRAWS) -> None:
        """
        Args:
            clusters: of each problem. [n]
            seed: of the draws.
            draws: how many.
        """
        _, self._codes = np.unique(clusters, return_inverse=True)
        self._n = int(self._codes.max()) + 1
        rng = np.random.default_rng([seed, 1])
        # how often each cluster is drawn; the first row is the problems themselves. [1 + draws, clusters]
        drawn = rng.multinomial(self._n, np.full(self._n, 1 / self._n), size=draws)
        self._counts = np.vstack([np.ones(self._n), drawn])

    def score(self, outputs: Outputs, said: Array) -> Scored:
        """Balanced accuracy of classes, R² of numbers.

        Args:
            outputs: the labels.
            said: what probes said of problems that they were not fitted to. [n]
        """
        values = self._balanced(outputs, said) if outputs.n_classes else self._explained(outputs.values, said)
        return Scored(float(values[0]), values[1:])

    def _balanced(self, outputs: Outputs, said: Array) -> Array:
        """Mean recall of the classes; one that a draw has missed does not count in it."""
        columns = outputs.columns
        hits = columns * (said == outputs.values)[:, None]
        right, all_of = (self._counts @ self._sums(part) for part in (hits, columns))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.nanmean(right / all_of, axis=1))

    def _explained(self, values: Array, said: Array) -> Array:
        """1 - squared error / squared distance from the mean."""
        parts = np.stack([(values - said) ** 2, values**2, values, np.ones_like(values)], axis=1)
        error, square, total, n = (self._counts @ self._sums(parts)).T
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(1.0 - error / (square - total**2 / n))

    def _sums(self, values: Array) -> Array:
        """Sums over each cluster. [n, columns] -> [clusters, columns]"""
        return np.stack([np.bincount(self._codes, column, self._n) for column in values.T], axis=1)
