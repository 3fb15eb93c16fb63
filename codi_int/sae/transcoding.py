"""Is a transcoder better than a linear map? Ridge regression from the same rows to the same targets, beside it.

"At equal k" is a map of rank k: like the transcoder it makes each row of a sum of k directions, only that these are the
same for every row and the transcoder chooses them from d_sae.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from codi_int.data.chains import cluster_problems
from codi_int.errors import DataError
from codi_int.records import Alias, Estimate
from codi_int.sae.base import SAE
from codi_int.sae.metrics import SAEMetrics, check_target
from codi_int.types import Problem, Site

Floats = NDArray[np.float64]
PENALTIES = 10.0 ** np.arange(-6.0, 3.0)
"""in units of the rows' mean variance times their number"""
DRAWS = 2_000
CONFIDENCE = 0.95
METHOD = "percentile bootstrap of held-out problems, by cluster"


@dataclass(frozen=True)
class RidgeComparison:
    """A transcoder beside ridge regression on held-out rows, by explained variance, each dimension about its mean."""

    source: Site | None
    """what both read"""
    target: Site | None
    """what both rebuild"""
    k: int
    """features per row of the transcoder on held-out rows, rounded: the rank that the map is cut to"""
    explained: float
    """of the transcoder: 1 - sum_d var(residual_d) / sum_d var(target_d)"""
    of_rank_k: float
    """of the ridge regression cut to rank k"""
    of_ridge: float
    """of the ridge regression as it is"""
    over_rank_k: Estimate
    """the transcoder's less that of the map of rank k, with its interval"""
    over_ridge: Estimate
    """the transcoder's less that of the whole ridge regression, with its interval"""
    penalty: float
    """of the ridge regression, chosen by leaving out training rows one by one; in units of `PENALTIES`"""

    over_rank_k_estimate = Alias[float]("over_rank_k.value")
    over_rank_k_low = Alias[float]("over_rank_k.low")
    over_rank_k_high = Alias[float]("over_rank_k.high")
    over_ridge_estimate = Alias[float]("over_ridge.value")
    over_ridge_low = Alias[float]("over_ridge.low")
    over_ridge_high = Alias[float]("over_ridge.high")

    columns = (
        *("source", "target", "k", "explained", "of_rank_k", "of_ridge"),
        *("over_rank_k_estimate", "over_rank_k_low", "over_rank_k_high"),
        *("over_ridge_estimate", "over_ridge_low", "over_ridge_high", "penalty"),
    )


@dataclass(frozen=True)
class Rows:
    """The same problems at two sites."""

    read: Float[Tensor, "n d_in"]
    """what is read"""
    target: Float[Tensor, "n d_out"]
    """what is to be rebuilt, row by row"""


@dataclass(frozen=True, eq=False)
class LinearMap:
    """`x @ weights + offset`."""

    weights: Floats
    """[d_in, d_out]"""
    offset: Floats
    """[d_out]"""

    def __call__(self, x: Floats) -> Floats:
        """What the map makes of rows. [n, d_out]"""
        return np.asarray(x @ self.weights + self.offset)


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """Ridge regression of training rows, ready to be cut to any rank."""

    whole: LinearMap
    """the regression as it is"""
    penalty: float
    """that was chosen, in units of `PENALTIES`"""
    directions: Floats
    """of the targets, those first along which the fitted values vary most. [d_out, at most min(d_in, d_out)]"""
    x_mean: Floats
    """of the rows. [d_in]"""
    y_mean: Floats
    """of the targets. [d_out]"""

    def of_rank(self, rank: int) -> LinearMap:
        """The best map of this rank under the same penalty.

        Source: A. Mukherjee and J. Zhu, Statistical Analysis and Data Mining 4 (2011) 612-622.
        """
        kept = self.directions[:, :rank]
        cut = self.whole.weights @ kept @ kept.T
        # the offset carries the means, which cost no direction: rows at their mean are sent to the targets' mean
        return LinearMap(cut, self.y_mean - self.x_mean @ cut)


def fit_ridge(x: Floats, y: Floats) -> RidgeFit:
    """Ridge regression with the penalty of least error on rows left out one by one.

    Args:
        x: rows. [n, d_in]
        y: targets. [n, d_out]
    """
    from sklearn.linear_model import RidgeCV  # a second to import

    x_mean, y_mean = x.mean(0), y.mean(0)
    unit = float(((x - x_mean) ** 2).sum()) / x.shape[1]
    found = RidgeCV(alphas=PENALTIES * unit, fit_intercept=False).fit(x - x_mean, y - y_mean)
    weights = np.asarray(found.coef_).reshape(y.shape[1], x.shape[1]).T
    # ridge is least squares with rows sqrt(penalty) e_i added, whose targets are 0; fitted values are of all of them
    fitted = np.vstack([(x - x_mean) @ weights, np.sqrt(found.alpha_) * weights])
    directions = np.linalg.svd(fitted, full_matrices=False)[2].T
    return RidgeFit(
        whole=LinearMap(weights, y_mean - x_mean @ weights),
        penalty=float(found.alpha_) / unit,
        directions=directions,
        x_mean=x_mean,
        y_mean=y_mean,
    )


def compare_with_ridge(
    transcoder: SAE,
    train: Rows,
    held_out: Rows,
    problems: Sequence[Problem],
    seed: int = 0,
) -> RidgeComparison:
    """A transcoder against ridge regression from and to the same rows, measured on held-out problems.

    Args:
        transcoder: the transcoder.
        train: rows that the regression is fitted to.
        held_out: rows that both are measured on.
        problems: the held-out problems, in the order of the rows; intervals draw whole clusters of them again.
        seed: of the draws.

    Raises:
        DataError: rows that do not belong together, or fewer than two held-out clusters.
    """
    for rows in (train, held_out):
        check_target(rows.read, rows.target)
    clusters = cluster_problems(problems)
    if len(clusters) != len(held_out.read) or clusters.max() < 1:
        raise DataError(
            f"{len(held_out.read)} held-out rows are of {len(clusters)} problems in {len(set(clusters))} calculations.",
            "Give the rows of these problems, with two calculations at least.",
        )
    fit = fit_ridge(_array(train.read), _array(train.target))
    x, y = _array(held_out.read), _array(held_out.target)
    with torch.no_grad():
        latents = transcoder.encode(held_out.read)
        rebuilt = _array(transcoder.decode(latents))
    k = max(1, round(float((latents.values != 0).sum()) / len(x)))
    score = _Explained(y, clusters, seed)
    own, cut, whole = (score.of(y - said) for said in (rebuilt, fit.of_rank(k)(x), fit.whole(x)))
    return RidgeComparison(
        source=transcoder.site,
        target=transcoder.target,
        k=k,
        explained=float(own[0]),
        of_rank_k=float(cut[0]),
        of_ridge=float(whole[0]),
        over_rank_k=_difference(own, cut),
        over_ridge=_difference(own, whole),
        penalty=fit.penalty,
    )


def comparison_measures(found: RidgeComparison) -> dict[str, float]:
    """What an SAE's provenance keeps of it."""
    known = {
        "ridge_rank": found.k,
        "ridge_of_rank_k_explained_variance_per_dimension": found.of_rank_k,
        "ridge_explained_variance_per_dimension": found.of_ridge,
    }
    for name in ("over_rank_k", "over_ridge"):
        known |= {f"{name}_{part}": getattr(found, f"{name}_{part}") for part in ("estimate", "low", "high")}
    return {name: float(value) for name, value in known.items() if value is not None}


def summary_of(metrics: SAEMetrics, found: RidgeComparison | None) -> dict[str, float]:
    """All measures that are one number, the regression's behind the transcoder's own."""
    return metrics.summary() | (comparison_measures(found) if found is not None else {})


class _Explained:
    """Explained variance per dimension, on the rows themselves and on clusters of them drawn again."""

    def __init__(self, y: Floats, clusters: NDArray[np.int64], seed: int) -> None:
        self._clusters, self._n = clusters, int(clusters.max()) + 1
        drawn = np.random.default_rng(seed).multinomial(self._n, np.full(self._n, 1 / self._n), size=DRAWS)
        # the first row is the problems themselves. [1 + draws, clusters]
        self._counts = np.vstack([np.ones(self._n), drawn])
        self._rows = self._counts @ np.bincount(clusters, minlength=self._n)
        self._total = self._spread(y)

    def of(self, residual: Floats) -> Floats:
        """For residuals [n, d_out]. [1 + draws]"""
        return np.asarray(1.0 - self._spread(residual) / self._total)

    def _spread(self, values: Floats) -> Floats:
        """Sum over dimensions of the variance about each one's mean. [1 + draws]"""
        sums = np.zeros((self._n, values.shape[1] + 1))
        np.add.at(sums, self._clusters, np.column_stack([values, (values**2).sum(1)]))
        drawn = self._counts @ sums / self._rows[:, None]
        return np.asarray(drawn[:, -1] - (drawn[:, :-1] ** 2).sum(1))


def _difference(first: Floats, second: Floats) -> Estimate:
    difference = first - second
    low, high = np.quantile(difference[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(difference[0]), float(low), float(high), method=METHOD)


def _array(rows: Tensor) -> Floats:
    return rows.detach().cpu().double().numpy()
