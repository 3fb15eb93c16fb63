"""The mean change over problems: bootstrap-t, where enough problems carry the mean for that to be honest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.clusters import ClusterLabels, read_clusters
from codi_int.interventions.evidence.draws import interval_place, two_sided_p
from codi_int.records import Estimate

DRAWS = 20_000
MIN_EFFECTIVE = 10.0
"""the least n_eff that gets an interval and a p-value; set by benchmarks/calibration.py on real change vectors"""
LARGEST = 3
_CHUNK = 1_000
"""draws whose counts are held at once; [chunk, clusters] float64"""


@dataclass(frozen=True)
class MeanEstimate(Estimate):
    """A mean over problems; interval and p-value are None where too few problems carry it."""

    n_effective: float = 0.0
    """(sum d^2)^2 / sum d^4 over cluster sums: how many problems carry the mean; 0 where nothing changed"""
    share_of_largest: float = 0.0
    """share of the sum of absolute changes that the three largest clusters hold"""


def estimate_mean(
    changes: Sequence[float] | ArrayLike,
    clusters: ClusterLabels | None = None,
    null: float | int = 0.0,
    seed: int = 0,
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
) -> MeanEstimate:
    """The mean change, its bootstrap-t interval, and the p-value that inverts this interval.

    Whole clusters are drawn. The p-value is 2 * min(tail + 1) / (draws + 1) of the same draws, so that it is below
    1 - confidence exactly where `null` lies outside the interval. Where fewer than `MIN_EFFECTIVE` problems carry the
    mean, neither is given: no resampling knows the tail of a distribution from two problems.

    Args:
        changes: one per problem. [n]
        clusters: label of each problem's cluster; without them every problem is its own. [n]
        null: the mean that is tested.
        seed: of the bootstrap.
        confidence: level of the interval.
        draws: of the bootstrap.

    Raises:
        ConfigError: for no changes, values that are not finite, or labels that do not fit.

    Source: B. Efron, Journal of the American Statistical Association 76 (1981) 139-158; P. Hall, Annals of Statistics
    16 (1988) 927-953.
    """
    values = np.asarray(changes, dtype=np.float64)
    if values.ndim != 1:
        raise ConfigError(
            f"changes is a list with one number per problem, got shape {values.shape}.",
            "Give one change for each problem.",
        )
    return estimate_means(
        values[:, None],
        clusters=clusters,
        null=null,
        seed=seed,
        confidence=confidence,
        draws=draws,
    )[0]


def estimate_means(
    changes: Sequence[float] | ArrayLike,
    clusters: ClusterLabels | None = None,
    null: float | int = 0.0,
    seed: int = 0,
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
) -> list[MeanEstimate]:
    """`estimate_mean` for many features at once, which share their draws. `changes` is [n, features]."""
    values = np.asarray(changes, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] == 0:
        raise ConfigError(
            f"changes holds at least one problem, got shape {values.shape}.", "Give one change for each problem."
        )
    if not np.isfinite(values).all():
        raise ConfigError("A change is not finite: the edited activations have overflowed.", "Make the edit smaller.")
    groups = read_clusters(clusters, values.shape[0])
    sums = groups.sums(values)
    effective, share = effective_problems(sums), share_of_largest(sums)
    means, error = _mean_and_error(sums, groups.sizes)
    # Only these are resampled: in real screens a few in a hundred. Equal changes have no spread but that of rounding.
    enough = np.flatnonzero((effective >= MIN_EFFECTIVE) & (error > 1e-12 * np.abs(sums).max(0)))
    resampled = bootstrap_t(sums[:, enough], groups.sizes, null=null, confidence=confidence, draws=draws, seed=seed)
    made = dict(zip(enough.tolist(), resampled, strict=True))
    few = f"none: fewer than {MIN_EFFECTIVE:g} problems carry the mean"
    return [
        MeanEstimate(
            value=float(means[i]),
            low=low,
            high=high,
            p_value=p_value,
            n_effective=float(effective[i]),
            share_of_largest=float(share[i]),
            method=groups.named("bootstrap-t")
            if i in made
            else few
            if effective[i] < MIN_EFFECTIVE
            else "none: no spread",
        )
        for i, (low, high, p_value) in enumerate(made.get(i, (None, None, None)) for i in range(values.shape[1]))
    ]


def effective_problems(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(sum d^2)^2 / sum d^4: n for n equal changes, 1 where one outweighs all others. [clusters, ...] -> [...]"""
    # scaled to 1 first: the fourth power of 1e-90 nats is 0
    scale = np.abs(sums).max(0)
    squares = (sums / np.where(scale > 0, scale, 1.0)) ** 2
    fourth = (squares**2).sum(0)
    return np.asarray(squares.sum(0) ** 2 / np.where(fourth > 0, fourth, 1.0))


def share_of_largest(sums: NDArray[np.float64], largest: int = LARGEST) -> NDArray[np.float64]:
    """Share of the sum of absolute changes that the `largest` clusters hold; 0 where nothing changed."""
    sizes = np.sort(np.abs(sums), axis=0)[::-1]
    total = sizes.sum(0)
    return np.asarray(sizes[:largest].sum(0) / np.where(total > 0, total, 1.0))


Triple = tuple[float, float, float]


def bootstrap_t(
    sums: NDArray[np.float64],
    sizes: NDArray[np.int64],
    *,
    null: float | int | NDArray[np.float64] = 0.0,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Triple]:
    """(low, high, p) of each column of cluster sums, however few clusters carry it: `estimate_means` asks that first.

    Args:
        sums: of the changes over each cluster; every column has some spread. [clusters, features]
        sizes: problems of each cluster. [clusters]
        null: the mean that is tested, one for all or one for each column.
        confidence: level of the intervals.
        draws: of the bootstrap, the same for all columns.
        seed: of the draws.
    """
    if not sums.shape[1]:
        return []
    mean, error = _mean_and_error(sums, sizes)
    observed = (mean - null) / error
    t = np.sort(np.concatenate(list(_draw_t(sums, sizes, mean, draws, np.random.default_rng(seed)))), axis=0)
    p_value = two_sided_p((t >= observed).sum(0), (t <= observed).sum(0), draws)
    place = interval_place(draws, confidence)
    low, high = mean - t[draws - 1 - place] * error, mean - t[place] * error
    return [(float(a), float(b), float(p)) for a, b, p in zip(low, high, p_value, strict=True)]


def _mean_and_error(
    sums: NDArray[np.float64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean per problem and its standard error by cluster: that of a ratio, sum of changes to number of problems."""
    mean = sums.sum(0) / sizes.sum()
    # For single problems the residuals are d - mean, and this is the textbook standard error.
    residuals = sums - sizes[:, None] * mean
    n = sizes.size
    return mean, np.sqrt((residuals**2).sum(0) * n / max(n - 1, 1)) / sizes.sum()


def _draw_t(
    sums: NDArray[np.float64],
    sizes: NDArray[np.int64],
    mean: NDArray[np.float64],
    draws: int,
    generator: np.random.Generator,
) -> Iterator[NDArray[np.float64]]:
    """Statistics of resampled clusters about the observed mean, in chunks of [draws, features]."""
    n, size = sums.shape[0], sizes.astype(np.float64)
    # Residuals of a draw are S - mean* m; multiplied out, all features' sums are products of one count matrix.
    columns = np.concatenate([sums, sums**2, sums * size[:, None], size[:, None], size[:, None] ** 2], axis=1)
    k = sums.shape[1]
    for start in range(0, draws, _CHUNK):
        counts = _count_matrix(min(_CHUNK, draws - start), n, generator)
        total, squares, cross, problems, sizes2 = np.split(counts @ columns, [k, 2 * k, 3 * k, 3 * k + 1], axis=1)
        drawn = total / problems
        spread = squares - 2 * drawn * cross + drawn**2 * sizes2
        error = np.sqrt(np.maximum(spread, 0.0) * n / (n - 1)) / problems
        # A draw without spread is infinitely far from the mean, or, where it hits it, not at all.
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (drawn - mean) / error
        yield np.where(np.isnan(t), 0.0, t)


def _count_matrix(draws: int, n: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """How often each of n clusters is drawn in each of some draws of n. [draws, n]"""
    picked = generator.integers(0, n, size=(draws, n))
    picked += np.arange(draws)[:, None] * n
    return np.bincount(picked.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)
