"""Clusters: problems that count as one observation, because they ask for the same calculation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codi_int.errors import ConfigError

ClusterLabels = Sequence[int | str] | ArrayLike
"""one label per problem; equal labels are one cluster"""


@dataclass(frozen=True)
class Clusters:
    """Which problems belong together."""

    codes: NDArray[np.int64]
    """number of each problem's cluster, from 0. [n]"""
    sizes: NDArray[np.int64]
    """problems of each cluster. [clusters]"""

    @property
    def singletons(self) -> bool:
        """Whether every problem is a cluster of its own."""
        return self.sizes.size == self.codes.size

    @property
    def design_effect(self) -> float:
        """How many problems count as one at worst, where those of a cluster always do the same: sum m^2 / sum m.

        Source: L. Kish, Survey Sampling (1965); 1 for single problems.
        """
        return float((self.sizes**2).sum() / self.sizes.sum())

    def sums(self, values: ArrayLike) -> NDArray[np.float64]:
        """Sum over each cluster. [n, ...] -> [clusters, ...]"""
        array = np.asarray(values, dtype=np.float64)
        # bit for bit the values themselves where nothing is added up, in the order of the problems
        if self.singletons:
            return array[np.argsort(self.codes)]
        out = np.zeros((self.sizes.size, *array.shape[1:]))
        np.add.at(out, self.codes, array)
        return out

    def within(self, chosen: NDArray[np.bool_]) -> "Clusters":
        """The clusters of some of the problems."""
        _, codes, sizes = np.unique(self.codes[chosen], return_inverse=True, return_counts=True)
        return Clusters(codes.astype(np.int64), sizes.astype(np.int64))

    def named(self, method: str) -> str:
        """The name of a method, with the unit that it works on."""
        return method if self.singletons else f"{method}, by cluster"


def read_clusters(labels: ClusterLabels | None, n: int) -> Clusters:
    """Clusters from one label per problem; without labels every problem is its own.

    Raises:
        ConfigError: for labels of another number of problems, or a single cluster of several problems.
    """
    if labels is None:
        return Clusters(np.arange(n), np.ones(n, dtype=np.int64))
    named = np.asarray(labels)
    if named.shape != (n,):
        raise ConfigError(
            f"clusters has {len(named)} labels for {n} problems.",
            "Give one label per problem (cluster_problems makes them).",
        )
    _, first, codes, sizes = np.unique(named, return_index=True, return_inverse=True, return_counts=True)
    # numbered by their first problems: names must not decide which cluster a random draw falls on
    order = first.argsort()
    codes, sizes = order.argsort()[codes], sizes[order]
    if n > 1 and sizes.size == 1:
        raise ConfigError(
            f"All {n} problems have one and the same chain of calculations: a single cluster has no spread.",
            "Take problems that ask for more than one calculation.",
        )
    return Clusters(codes.astype(np.int64), sizes.astype(np.int64))
