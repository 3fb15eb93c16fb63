"""Subgroups as contrasts: the effect on problems of a kind minus the effect on the others, never two p-values."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.clusters import ClusterLabels, Clusters, read_clusters
from codi_int.interventions.evidence.draws import interval_place, two_sided_p
from codi_int.records import Estimate

DRAWS = 9_999
METHOD = "permutation"
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
        the contrast; None where no stratum has both kinds. Without any change it has no interval.

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
    if not sums[np.isin(layers, both)].any():
        # nothing changed on either side: no permutation differs, and how far the two may be apart is not known
        return Estimate(0.0, None, None, 1.0, method=groups.named(METHOD))
    generator = np.random.default_rng(seed)
    drawn = [
        _draw_stratum(labels[here], sums[here], sizes[here], draws=draws, generator=generator)
        for here in (layers == layer for layer in both)
    ]
    # of the observed labels first, then of the permuted ones
    weight = np.sum([one.weight for one in drawn], axis=0)
    statistic = np.sum([one.weight * one.difference for one in drawn], axis=0) / weight
    shifted = np.sum([one.weight * one.shift for one in drawn], axis=0) / weight
    found = _invert(statistic, shifted, confidence)
    return replace(found, method=groups.named(METHOD))


def _of_clusters(values: NDArray[np.generic], groups: Clusters, name: str) -> NDArray[np.int64]:
    """One value per cluster; ConfigError where its problems disagree."""
    whole = np.asarray(values).astype(np.int64)
    out = np.zeros(groups.sizes.size, dtype=np.int64)
    out[groups.codes] = whole
    if (out[groups.codes] != whole).any():
        raise ConfigError(f"A cluster has problems of more than one {name}.", "Cluster by the chain of calculations.")
    return out


@dataclass(frozen=True)
class _Stratum:
    """One stratum under the observed labels and under permuted ones; everything [1 + draws]."""

    weight: NDArray[np.float64]
    """n1 n0 / (n1 + n0): problems, not clusters, for a permutation may give the members larger ones than they had"""
    difference: NDArray[np.float64]
    """mean change of the members minus that of the others"""
    shift: NDArray[np.float64]
    """what the difference would be were the change 1 for each observed member and 0 for the others"""


def _draw_stratum(
    labels: NDArray[np.float64],
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    *,
    draws: int,
    generator: np.random.Generator,
) -> _Stratum:
    """Labels dealt anew to the clusters of a stratum.

    Only clusters that changed, or that hold several problems, have to be told apart: these get their labels one by one,
    as from an urn. Of the others it is enough to know how many became members, and how many of these were members
    before, which is hypergeometric.
    """
    # problems of members, the sum of their changes, and those of them that are members in truth
    n1, s1, m1 = (np.concatenate([[labels @ x], np.zeros(draws)]) for x in (sizes, sums, labels * sizes))
    apart = (sums != 0) | (sizes != 1)
    to_deal, left = np.full(draws, labels.sum()), labels.size
    for cluster in np.flatnonzero(apart):
        member = generator.random(draws) * left < to_deal
        to_deal, left = to_deal - member, left - 1
        n1[1:] += member * sizes[cluster]
        s1[1:] += member * sums[cluster]
        m1[1:] += member * labels[cluster] * sizes[cluster]
    before = int(labels[~apart].sum())
    n1[1:] += to_deal
    m1[1:] += generator.hypergeometric(before, left - before, to_deal.astype(np.int64))
    problems, total, members = sizes.sum(), sums.sum(), labels @ sizes
    n0 = problems - n1
    difference = s1 / n1 - (total - s1) / n0
    return _Stratum(n1 * n0 / problems, difference, m1 / n1 - (members - m1) / n0)


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
