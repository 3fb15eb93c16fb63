"""Subgroups as contrasts: the effect on problems of a kind minus the effect on the others, never two p-values."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.clusters import ClusterLabels, Clusters, read_clusters
from codi_int.interventions.evidence.draws import interval_place, two_sided_p
from codi_int.records import Estimate

DRAWS = 9_999
METHOD = "permutation of clusters"
_SLACK = 1e-9


def contrast(
    changes: ArrayLike,
    members: ArrayLike,
    strata: ArrayLike | None = None,
    clusters: ClusterLabels | None = None,
    seed: int = 0,
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
) -> Estimate | None:
    """Mean change of the members minus that of the others, stratum by stratum, with a permutation test by cluster.

    Within a stratum the labels of whole clusters are exchanged. The strata's differences are averaged with weights
    n1 n0 / (n1 + n0), so that a stratum without one of the kinds says nothing; an effect that grows with the number of
    steps is then no effect of an operation that long problems use more often. The interval inverts the same
    permutations under a shift: it holds every difference that, taken off the members, would not be rejected.

    Args:
        changes: one per problem, of accuracy or of anything else. [n]
        members: whether each problem is of the kind in question. [n]
        strata: the stratum of each problem, such as its number of steps; None for one stratum. [n]
        clusters: label of each problem's cluster. A cluster lies in one stratum and is of one kind.
        seed: of the permutations.
        confidence: level of the interval.
        draws: permutations.

    Returns:
        the contrast; None where no stratum has both kinds.

    Raises:
        ConfigError: for arrays that do not fit, or a cluster of both kinds or of several strata.

    Source: R. Fisher, The Design of Experiments (1935); N. Mantel and W. Haenszel, Journal of the National Cancer
    Institute 22 (1959) 719-748, for the weights; E. Pitman, Journal of the Royal Statistical Society Supplement 4
    (1937) 119-130, for inverting under a shift.
    """
    values = np.asarray(changes, dtype=np.float64)
    inside = np.asarray(members, dtype=np.bool_)
    layers = np.zeros(values.shape, dtype=np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]
    if values.ndim != 1 or inside.shape != values.shape or layers.shape != values.shape:
        raise ConfigError(
            f"A contrast takes one value per problem: {values.shape}, {inside.shape}, {layers.shape}.",
            "Give changes, members and strata of the same length.",
        )
    groups = read_clusters(clusters, values.size)
    sums, sizes = groups.sums(values), groups.sizes.astype(np.float64)
    labels, layers = _of_clusters(inside, groups, "kind").astype(np.float64), _of_clusters(layers, groups, "stratum")
    both = [layer for layer in np.unique(layers) if 0 < labels[layers == layer].sum() < (layers == layer).sum()]
    if not both:
        return None
    keep = np.isin(layers, both)
    sums, sizes, labels, layers = sums[keep], sizes[keep], labels[keep], layers[keep]
    drawn = _permuted(labels, layers, draws, np.random.default_rng(seed))
    table = np.concatenate([labels[None], drawn])  # the observed labels first
    statistic = _difference(table, sums, sizes, layers)
    # what the contrast would be were each member one higher: 1 for the observed labels, less for others
    shifted = _difference(table, labels * sizes, sizes, layers)
    return _invert(statistic, shifted, confidence)


def _of_clusters(values: NDArray[np.generic], groups: Clusters, name: str) -> NDArray[np.int64]:
    """One value per cluster; ConfigError where its problems disagree."""
    whole = np.asarray(values).astype(np.int64)
    out = np.zeros(groups.sizes.size, dtype=np.int64)
    out[groups.codes] = whole
    if (out[groups.codes] != whole).any():
        raise ConfigError(f"A cluster has problems of more than one {name}.", "Cluster by the chain of calculations.")
    return out


def _permuted(
    labels: NDArray[np.float64], layers: NDArray[np.int64], draws: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Labels exchanged within each stratum. [draws, clusters]"""
    out = np.tile(labels, (draws, 1))
    for layer in np.unique(layers):
        places = np.flatnonzero(layers == layer)
        out[:, places] = generator.permuted(out[:, places], axis=1)
    return out


def _difference(
    labels: NDArray[np.float64], sums: NDArray[np.float64], sizes: NDArray[np.float64], layers: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The weighted difference of means for each row of labels. [draws]"""
    total = weight = np.zeros(labels.shape[0])
    for layer in np.unique(layers):
        here = layers == layer
        n1, s1 = labels[:, here] @ sizes[here], labels[:, here] @ sums[here]
        n0, s0 = sizes[here].sum() - n1, sums[here].sum() - s1
        # problems, not clusters: a permutation may give the members larger clusters than they had
        share = n1 * n0 / (n1 + n0)
        total, weight = total + share * (s1 / n1 - s0 / n0), weight + share
    return np.asarray(total / weight)


def _invert(statistic: NDArray[np.float64], shifted: NDArray[np.float64], confidence: float) -> Estimate:
    """Estimate, interval and p from the observed labels (first) and the permuted ones."""
    observed, drawn = statistic[0], statistic[1:]
    draws, slack = drawn.size, _SLACK * max(float(np.abs(statistic).max()), 1e-300)
    # With `theta` taken off the members, a permutation's contrast falls by theta * shifted, the observed one by theta.
    # The two meet at `meeting`; above it the permutation is the larger one. Labels that are the observed ones (or have
    # their shift) never differ.
    gap = 1.0 - shifted[1:]
    apart = gap > _SLACK
    with np.errstate(divide="ignore", invalid="ignore"):
        meeting = (observed - drawn) / gap
    never = np.where(np.abs(observed - drawn) <= slack, 0.0, np.copysign(np.inf, observed - drawn))
    meeting = np.where(apart, meeting, never)
    p_value = two_sided_p((drawn >= observed - slack).sum(), (drawn <= observed + slack).sum(), draws)
    place = min(interval_place(draws, confidence), draws - 1)
    # where the labels never differ, theta lies inside whatever it is
    low = np.sort(np.where(apart | (never != 0), meeting, -np.inf))[place]
    high = np.sort(np.where(apart | (never != 0), meeting, np.inf))[::-1][place]
    return Estimate(
        value=float(observed),
        low=float(low) if np.isfinite(low) else None,
        high=float(high) if np.isfinite(high) else None,
        p_value=float(p_value),
    )
