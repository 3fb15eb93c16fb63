"""Intervals and tests of trials that are not independent: several may ask for the same calculation.

A patch is a trial of two problems, its target and its source. Two trials with a chain of calculations in common, in
whichever place, are not independent; other ones are. So the share's variance is summed over all pairs of trials that
have one in common, and Wilson's interval is taken of as many independent trials as have that variance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codi_int.errors import ConfigError
from codi_int.proportions import wilson_interval
from codi_int.records import Estimate

METHOD = "Wilson"


@dataclass(frozen=True)
class ShareInterval:
    """How far a share may be off."""

    low: float
    """lower end"""
    high: float
    """upper end"""
    design_effect: float
    """how many trials count as one"""
    method: str
    """Wilson's interval, and whether by cluster"""


def share_interval(hits: ArrayLike, members: ArrayLike | None = None, confidence: float = 0.95) -> ShareInterval:
    """Wilson's interval for a share, by cluster of everybody who takes part in a trial, be they few.

    The variance sums e_i e_j over all trials i and j that have a cluster in common, with e the deviations from the
    share; divided by the variance of independent trials it is the design effect, at least 1 (trials that cancel each
    other are no reason to be surer). Trials divided by it go into Wilson's formula, with Student's quantile for as many
    degrees of freedom as there are clusters less one. Where all trials hit, or none does, nothing deviates and the
    variance is unknown: the design effect is then the largest that the clusters allow.

    Args:
        hits: whether each trial hit. [n]
        members: labels of the clusters that take part in each trial, one or two. [n] or [n, k]; None where each trial
            is a cluster of its own.
        confidence: level of the interval.

    Raises:
        ConfigError: for no trial, labels that do not fit, or more than two clusters in a trial.

    Source: M. Fafchamps and F. Gubert, Journal of Development Economics 83 (2007) 326-350, and P. Aronow, C. Samii and
    V. Assenova, Political Analysis 23 (2015) 564-577, for the variance of pairs; N. Dean and M. Pagano, Statistics in
    Medicine 34 (2015) 1531-1545, and C. Franco, R. Little, T. Louis and E. Slud, Journal of Survey Statistics and
    Methodology 7 (2019) 334-364, for Wilson's interval of an effective number of trials.
    """
    from scipy.special import ndtri, stdtrit

    flags = np.asarray(hits, dtype=np.float64)
    if flags.ndim != 1 or not flags.size:
        raise ConfigError("A share takes at least one trial, yes or no.", "Give one value per trial.")
    n, share = flags.size, float(flags.mean())
    if members is None:
        low, high = wilson_interval(flags.sum(), n, 1.0 - confidence)
        return ShareInterval(float(low), float(high), 1.0, METHOD)
    ends = _read_members(members, n)
    clusters = int(ends.max()) + 1
    deviation = flags - share
    variance = float((deviation**2).sum())
    effect = _over_pairs(np.ones(n), ends) / n if variance == 0 else _over_pairs(deviation, ends) / variance
    alone = clusters == ends.size
    effect = 1.0 if alone else max(effect * clusters / max(clusters - 1, 1), 1.0)
    # a wider quantile is the same as fewer trials, for the formula depends on z^2 / n alone
    tail = 1.0 - (1.0 - confidence) / 2
    wider = 1.0 if alone else float(stdtrit(max(clusters - 1, 1), tail) / ndtri(tail)) ** 2
    few = n / (effect * wider)
    low, high = wilson_interval(share * few, few, 1.0 - confidence)
    return ShareInterval(float(low), float(high), effect, METHOD if alone else f"{METHOD}, by cluster")


def least_sure(estimates: Sequence[Estimate]) -> Estimate:
    """One estimate of the same mean made by several kinds of clusters: the widest interval, and the largest p-value.

    Exact tests take one kind of cluster. Trials of two problems are dependent by either, so each is asked.
    """
    first = estimates[0]
    lows, highs, p_values = (
        [value for one in estimates if (value := getattr(one, name)) is not None] for name in ("low", "high", "p_value")
    )
    return replace(
        first,
        low=min(lows, default=None),
        high=max(highs, default=None),
        p_value=max(p_values, default=None),
        method=max((one.method for one in estimates), key=len),
    )


def _read_members(members: ArrayLike, n: int) -> NDArray[np.int64]:
    """Numbers of the clusters of each trial, from 0. [n, k]"""
    labels = np.asarray(members)
    table = labels[:, None] if labels.ndim == 1 else labels
    if table.ndim != 2 or table.shape[0] != n or table.shape[1] not in (1, 2):
        raise ConfigError(
            f"Clusters of {n} trials are [{n}] or [{n}, 2], got {list(labels.shape)}.",
            "Give the label of one or of two problems for each trial.",
        )
    codes = np.unique(table, return_inverse=True)[1]
    return np.asarray(codes.reshape(table.shape), dtype=np.int64)


def _over_pairs(values: NDArray[np.float64], ends: NDArray[np.int64]) -> float:
    """Sum of values_i * values_j over all i and j that have a cluster in common, each pair once. [n], [n, k]"""
    two = ends[:, -1] != ends[:, 0]
    sums = np.bincount(ends[:, 0], values, minlength=int(ends.max()) + 1)
    np.add.at(sums, ends[two, -1], values[two])
    # trials of the same two clusters were counted in either of them
    _, same = np.unique(np.sort(ends[two], axis=1), axis=0, return_inverse=True)
    both = np.bincount(same.ravel(), values[two]) if two.any() else np.zeros(1)
    return float((sums**2).sum() - (both**2).sum())
