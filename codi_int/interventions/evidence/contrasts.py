"""Subgroups as contrasts: the effect on problems of a kind minus the effect on the others, never two p-values."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.clusters import ClusterLabels, Clusters, read_clusters
from codi_int.interventions.evidence.draws import interval_place, two_sided_p
from codi_int.interventions.evidence.flips import cluster_score_interval, read_flips
from codi_int.interventions.evidence.max_t import max_t
from codi_int.records import Estimate

DRAWS = 9_999
METHOD, STUDENTIZED = "permutation", "studentized permutation"
LARGER = "larger p of studentized permutation and sign flips"
INTERVAL = "interval of two score intervals"
_SLACK = 1e-9
_LEAST = 1e-12
"""of a standard error: two sides each of which changes alike have none"""


def contrast(
    changes: ArrayLike,
    members: ArrayLike,
    strata: ArrayLike | None = None,
    clusters: ClusterLabels | None = None,
    seed: int = 0,
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
    studentized: bool = False,
) -> Estimate | None:
    """Mean change of the members minus that of the others, stratum by stratum, with a permutation test by cluster.

    Within a stratum the labels of whole clusters of one size are exchanged. The strata's differences are averaged with
    weights n1 n0 / (n1 + n0), so that a stratum without one of the kinds says nothing; an effect that grows with the
    number of steps is then no effect of an operation that long problems use more often. The interval inverts the same
    permutations under a shift: it holds every difference that, taken off the members, would not be rejected.

    Args:
        changes: one per problem, of accuracy or of anything else. [n]
        members: whether each problem is of the kind in question. [n]
        strata: the stratum of each problem, such as its number of steps; None for one stratum. [n]
        clusters: label of each problem's cluster. A cluster lies in one stratum and is of one kind.
        seed: of the permutations.
        confidence: level of the interval.
        draws: permutations.
        studentized: divide every difference by its own standard error before they are ranked for the p-value (the
            interval stays that of plain differences). Two sides of different sizes that change equally in the mean,
            but one of them more often, are not exchangeable: plain differences then find "a difference" far too often.

    Returns:
        the contrast; None where no stratum has both kinds. Without any change it has no interval.

    Raises:
        ConfigError: for arrays that do not fit, or a cluster of both kinds or of several strata.

    Source: R. Fisher, The Design of Experiments (1935); N. Mantel and W. Haenszel, Journal of the National Cancer
    Institute 22 (1959) 719-748, for the weights; E. Pitman, Journal of the Royal Statistical Society Supplement 4
    (1937) 119-130, for inverting under a shift; E. Chung and J. Romano, Annals of Statistics 41 (2013) 484-507, for
    studentized permutations.
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
    weight = sum(one.weight for one in drawn)
    statistic = np.sum([one.weight * one.difference for one in drawn], axis=0) / weight
    shifted = np.sum([one.weight * one.shift for one in drawn], axis=0) / weight
    found = _invert(statistic, shifted, confidence)
    if studentized:
        error = np.sqrt(np.sum([one.weight**2 * one.variance for one in drawn], axis=0)) / weight
        found = replace(found, p_value=_rank_p(statistic / np.maximum(error, _LEAST)))
    return replace(found, method=groups.named(STUDENTIZED if studentized else METHOD))


def contrast_accuracy(
    flips: ArrayLike,
    members: ArrayLike,
    strata: ArrayLike | None = None,
    clusters: ClusterLabels | None = None,
    seed: int = 0,
    *,
    confidence: float = 0.95,
) -> Estimate | None:
    """`contrast` of changes of -1, 0 and 1, studentized, with an interval that stays open where hardly anything flips.

    The p-value is the larger of two. Permutations are exact where either side may stand for the other, and not where
    neither changes in the mean while one flips more often: with few flips, nearly all on one side, studentizing does
    not mend that. Sign flips of cluster sums, weighted as the contrast weighs them, are exact there, and not where both
    sides lose alike. Each holds where the other fails.

    A shift of everything, which `contrast` inverts, is no model of rare flips. The interval is made of the two sides'
    score intervals in each stratum: with d their difference and l, u their limits, d - sqrt((e1 - l1)^2 + (u0 - e0)^2)
    and its mirror image, weighted like the contrast itself.

    Source: G. Zou and A. Donner, Statistics in Medicine 27 (2008) 1693-1702 (MOVER); R. Berger, Technometrics 24
    (1982) 295-300, for the larger p of two nulls.
    """
    values, inside = read_flips(flips), np.asarray(members, dtype=np.bool_)
    found = contrast(values, inside, strata, clusters, seed, confidence=confidence, studentized=True)
    if found is None or found.p_value is None:
        return None
    groups = read_clusters(clusters, values.size)
    layers = np.zeros(values.size, dtype=np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]
    weights, below, above = [], [], []
    # what a problem's change adds to the contrast, times the sum of the weights
    share = np.zeros(values.size)
    for layer in np.unique(layers):
        sides = [(layers == layer) & side for side in (inside, ~inside)]
        if not all(side.any() for side in sides):
            continue
        one, other = (cluster_score_interval(values[side], groups.within(side), confidence) for side in sides)
        e1, e0 = (float(values[side].mean()) for side in sides)
        n1, n0 = (int(side.sum()) for side in sides)
        weights.append(n1 * n0 / (n1 + n0))
        below.append((e1 - one.low) ** 2 + (other.high - e0) ** 2)
        above.append((one.high - e1) ** 2 + (e0 - other.low) ** 2)
        share[sides[0]], share[sides[1]] = weights[-1] / n1, -weights[-1] / n0
    (flips_p,) = max_t(groups.sums(values * share)[:, None], seed=seed)
    shares = (np.array(weights) / sum(weights)) ** 2
    low, high = found.value - np.sqrt(shares @ below), found.value + np.sqrt(shares @ above)
    return replace(
        found,
        low=float(low),
        high=float(high),
        # without a change there is no sign to flip
        p_value=found.p_value if flips_p is None else max(found.p_value, flips_p),
        method=f"{groups.named(LARGER)}; {INTERVAL}",
    )


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
    """One stratum under the observed labels and under permuted ones."""

    weight: float
    """n1 n0 / (n1 + n0), of problems"""
    difference: NDArray[np.float64]
    """mean change of the members minus that of the others. [1 + draws]"""
    shift: NDArray[np.float64]
    """what the difference would be were the change 1 for each observed member and 0 for the others. [1 + draws]"""
    variance: NDArray[np.float64]
    """of the difference, by cluster and side. [1 + draws]"""


def _draw_stratum(
    labels: NDArray[np.float64],
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    *,
    draws: int,
    generator: np.random.Generator,
) -> _Stratum:
    """Labels dealt anew to the clusters of a stratum, among clusters of one size.

    Were labels exchanged between clusters of different sizes, the number of members would change with every draw, and
    where one kind has the larger clusters no draw would come out like the observed labels.
    """
    # of the members: the sum of their changes, of its products with the cluster's size, of the squares of their
    # clusters' sums, and how many of them are members in truth
    s1, x1, q1, m1 = np.zeros((4, 1 + draws))
    for size in np.unique(sizes):
        here = sizes == size
        dealt = _deal(labels[here], sums[here], draws, generator)
        s1, x1, q1 = s1 + dealt.total, x1 + size * dealt.total, q1 + dealt.squares
        m1 = m1 + size * dealt.before
    n1, n0 = labels @ sizes, (1.0 - labels) @ sizes
    difference = s1 / n1 - (sums.sum() - s1) / n0
    variance = _variance(labels, sizes, s1, x1, q1) + _variance(
        1.0 - labels, sizes, sums.sum() - s1, sums @ sizes - x1, sums @ sums - q1
    )
    return _Stratum(float(n1 * n0 / (n1 + n0)), difference, m1 / n1 - (n1 - m1) / n0, variance)


def _variance(
    side: NDArray[np.float64],
    sizes: NDArray[np.float64],
    total: NDArray[np.float64],
    products: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Of the mean of one side: sum (s_c - m_c * mean)^2 / n^2 over its clusters, of which the sums are known."""
    n, clusters = side @ sizes, side.sum()
    mean = total / n
    # labels are exchanged among clusters of one size, so the sum of squared sizes is the same in every draw
    around = squares - 2.0 * mean * products + mean**2 * (side @ sizes**2)
    return np.asarray(np.maximum(around, 0.0) / n**2 * clusters / max(clusters - 1.0, 1.0))


@dataclass(frozen=True)
class _Dealt:
    """What labels dealt anew give the members, observed first. [1 + draws] each"""

    total: NDArray[np.float64]
    """sum over their clusters"""
    squares: NDArray[np.float64]
    """sum of the squares of their clusters' sums"""
    before: NDArray[np.float64]
    """how many of them are members in truth"""


def _deal(labels: NDArray[np.float64], sums: NDArray[np.float64], draws: int, generator: np.random.Generator) -> _Dealt:
    """Labels dealt among clusters of one size.

    Only clusters that changed have to be told apart: they get their labels one by one, as from an urn. Of the others it
    is enough to know how many became members, and how many of these were members before, which is hypergeometric.
    """
    total, squares, before = np.zeros((3, draws))
    to_deal, left = np.full(draws, labels.sum()), labels.size
    for cluster in np.flatnonzero(sums):
        member = generator.random(draws) * left < to_deal
        to_deal, left = to_deal - member, left - 1
        total += member * sums[cluster]
        squares += member * sums[cluster] ** 2
        before += member * labels[cluster]
    members = int(labels[sums == 0].sum())
    before += generator.hypergeometric(members, left - members, to_deal.astype(np.int64))
    observed = (labels @ sums, labels @ sums**2, labels.sum())
    drawn = (total, squares, before)
    return _Dealt(*(np.concatenate([[one], several]) for one, several in zip(observed, drawn, strict=True)))


def _rank_p(statistic: NDArray[np.float64]) -> float:
    """Two-sided p of the first among all."""
    observed, drawn = statistic[0], statistic[1:]
    slack = _SLACK * max(float(np.abs(statistic).max()), 1e-300)
    return float(two_sided_p((drawn >= observed - slack).sum(), (drawn <= observed + slack).sum(), drawn.size))


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
    place = interval_place(draws, confidence)
    # where the labels never differ, theta lies inside whatever it is
    low = np.sort(np.where(apart | (never != 0), meeting, -np.inf))[place]
    high = np.sort(np.where(apart | (never != 0), meeting, np.inf))[::-1][place]
    return Estimate(
        value=float(observed),
        low=float(low) if np.isfinite(low) else None,
        high=float(high) if np.isfinite(high) else None,
        p_value=float(p_value),
    )
