"""Contrasts against enumeration, scipy's permutation test and simulated subgroups."""

import itertools

import numpy as np
import pytest
from scipy.stats import permutation_test

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.contrasts import contrast, contrast_accuracy
from codi_int.interventions.evidence.paired import PairedCounts, score_interval
from codi_int.records import Estimate


def _found(*args: object, **options: object) -> Estimate:
    out = contrast(*args, **options)  # type: ignore[arg-type]
    assert out is not None
    return out


def test_one_stratum_of_single_problems_is_scipys_permutation_test() -> None:
    generator = np.random.default_rng(0)
    changes, members = generator.normal(size=60), np.arange(60) < 22
    changes[members] += 0.5
    theirs = permutation_test(
        (changes[members], changes[~members]),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        vectorized=True,
        n_resamples=9_999,
        rng=generator,
    )
    found = _found(changes, members)
    assert found.value == pytest.approx(changes[members].mean() - changes[~members].mean())
    assert found.p_value == pytest.approx(theirs.pvalue, abs=0.012)


def test_strata_and_clusters_by_enumeration() -> None:
    sums = np.array([3.0, 1.0, -2.0, 0.5, 4.0, 1.5, 0.0, 2.5, -1.0])
    layers = np.array([1, 1, 1, 1, 1, 2, 2, 2, 2])
    inside = np.array([1, 1, 0, 0, 0, 1, 1, 0, 0])

    def statistic(labels: np.ndarray) -> float:
        parts = []
        for layer in (1, 2):
            a, b = sums[(layers == layer) & (labels == 1)], sums[(layers == layer) & (labels == 0)]
            parts.append((a.size * b.size / (a.size + b.size), a.mean() - b.mean()))
        return sum(w * d for w, d in parts) / sum(w for w, _ in parts)

    every = []
    for first in itertools.combinations(range(5), 2):
        for second in itertools.combinations(range(5, 9), 2):
            every.append(statistic(np.isin(np.arange(9), [*first, *second]).astype(int)))
    above, below = (
        (np.array(every) >= statistic(inside) - 1e-9).mean(),
        (np.array(every) <= statistic(inside) + 1e-9).mean(),
    )
    # each sum spread over two problems of a cluster, half to either: the mean per problem is half as large
    found = _found(
        np.repeat(sums / 2, 2),
        np.repeat(inside, 2),
        np.repeat(layers, 2),
        np.repeat(np.arange(9), 2),
        draws=20_000,
    )
    assert found.value == pytest.approx(statistic(inside) / 2)
    assert found.p_value == pytest.approx(2 * min(above, below), abs=0.02)


@pytest.mark.parametrize(
    "labels", [np.arange(80), np.r_[np.arange(40), 40 + np.arange(40) // 2]], ids=["single", "pairs"]
)
def test_the_interval_inverts_the_test_under_a_shift(labels: np.ndarray) -> None:
    generator = np.random.default_rng(1)
    members, layers = (generator.random(80) < 0.4)[labels], labels % 3
    changes = generator.normal(size=80) + 0.4 * members
    found = _found(changes, members, layers, labels, draws=1_999)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    for end, inwards in ((found.low, 1e-7), (found.high, -1e-7)):
        inside = _found(changes - (end + inwards) * members, members, layers, labels, draws=1_999).p_value
        outside = _found(changes - (end - inwards) * members, members, layers, labels, draws=1_999).p_value
        assert inside is not None
        assert outside is not None
        assert outside < 0.05 - 1e-12 < inside


def test_an_effect_of_length_is_none_of_the_operation() -> None:
    """Long problems lose, and use the operation more often; within a length nothing depends on it."""
    generator = np.random.default_rng(2)
    wrong = unstratified = 0
    for seed in range(150):
        steps = generator.integers(1, 5, 240)
        members = generator.random(240) < 0.2 * steps
        changes = -(generator.random(240) < 0.08 * steps).astype(float)
        labels = np.arange(240)
        wrong += (_found(changes, members, steps, labels, seed=seed, draws=199).p_value or 1) < 0.05
        unstratified += (_found(changes, members, None, labels, seed=seed, draws=199).p_value or 1) < 0.05
    assert wrong / 150 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 150)
    assert unstratified / 150 > 0.15


def studentized(sums: np.ndarray, sizes: np.ndarray, layers: np.ndarray, labels: np.ndarray) -> float:
    """The stratified difference by its standard error, from its definition."""
    value = weight = variance = 0.0
    for layer in np.unique(layers):
        means, around, n = [], [], []
        for side in (1, 0):
            here = (layers == layer) & (labels == side)
            n.append(sizes[here].sum())
            means.append(sums[here].sum() / n[-1])
            residual = sums[here] - sizes[here] * means[-1]
            around.append((residual**2).sum() / n[-1] ** 2 * here.sum() / (here.sum() - 1))
        w = n[0] * n[1] / (n[0] + n[1])
        value, weight, variance = value + w * (means[0] - means[1]), weight + w, variance + w**2 * sum(around)
    return float(value / weight / (np.sqrt(variance) / weight))


def test_studentized_permutations_by_enumeration() -> None:
    sums = np.array([3.0, 1.0, -2.0, 0.5, 4.0, 1.5, 0.0, 2.5, -1.0, 0.7])
    layers, sizes = np.array([1] * 5 + [2] * 5), np.array([2, 2, 2, 2, 2, 1, 1, 1, 1, 1])
    inside = np.array([1, 1, 0, 0, 0, 1, 1, 0, 0, 0])
    every = []
    for first in itertools.combinations(range(5), 2):
        for second in itertools.combinations(range(5, 10), 2):
            every.append(studentized(sums, sizes, layers, np.isin(np.arange(10), [*first, *second]).astype(int)))
    own = studentized(sums, sizes, layers, inside)
    above, below = ((np.array(every) * sign >= own * sign - 1e-9).mean() for sign in (1, -1))
    labels = np.repeat(np.arange(10), sizes)
    found = _found(
        np.repeat(sums / sizes, sizes), inside[labels], layers[labels], labels, draws=20_000, studentized=True
    )
    assert found.p_value == pytest.approx(2 * min(above, below), abs=0.02)
    plain = _found(np.repeat(sums / sizes, sizes), inside[labels], layers[labels], labels, draws=20_000)
    assert (found.value, found.low, found.high) == (plain.value, plain.low, plain.high)
    assert found.p_value != pytest.approx(plain.p_value, abs=0.02)


@pytest.mark.parametrize("seed", range(6))
def test_studentized_permutations_of_clusters_of_several_sizes_by_enumeration(seed: int) -> None:
    """Labels change places among clusters of one stratum and one size alone."""
    layers, sizes = np.repeat([1, 2], [9, 5]), np.array([1, 1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 1, 1])
    inside = np.array([1, 1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0])
    sums = np.random.default_rng(seed).normal(size=sizes.size) * sizes
    kinds = [np.flatnonzero((layers == layer) & (sizes == size)) for layer, size in ((1, 1), (1, 2), (2, 1))]
    every = [
        studentized(sums, sizes, layers, np.isin(np.arange(sizes.size), np.concatenate(chosen)).astype(int))
        for chosen in itertools.product(*(itertools.combinations(kind, int(inside[kind].sum())) for kind in kinds))
    ]
    assert len(every) == 10 * 6 * 10
    own = studentized(sums, sizes, layers, inside)
    above, below = ((np.array(every) * sign >= own * sign - 1e-9).mean() for sign in (1, -1))
    labels = np.repeat(np.arange(sizes.size), sizes)
    found = _found(
        np.repeat(sums / sizes, sizes), inside[labels], layers[labels], labels, draws=160_000, studentized=True
    )
    assert found.p_value == pytest.approx(min(1.0, 2 * min(above, below)), abs=0.009)


def test_a_side_that_only_flips_more_often_is_not_found_to_change_otherwise() -> None:
    """Both sides change by nothing in the mean, the smaller one twenty times as often."""
    generator, found = np.random.default_rng(4), np.zeros(2)
    members = np.arange(400) < 60
    for seed in range(200):
        flips = (generator.random(400) < np.where(members, 0.4, 0.02)) * generator.choice((-1.0, 1.0), 400)
        for i, by_error in enumerate((False, True)):
            one = _found(flips, members, None, None, seed, draws=299, studentized=by_error)
            found[i] += one.p_value is not None and one.p_value < 0.05
    assert found[0] / 200 > 0.18
    assert found[1] / 200 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


def test_strata_of_one_kind_say_nothing() -> None:
    changes, members = np.arange(8.0), np.array([1, 0, 1, 0, 1, 1, 1, 1])
    found = _found(changes, members, np.array([0] * 4 + [1] * 4), draws=99)
    assert found.value == pytest.approx(-1.0)
    assert contrast(changes, np.ones(8)) is None
    assert contrast(changes, np.array([1] * 4 + [0] * 4), np.array([0] * 4 + [1] * 4)) is None


@pytest.mark.parametrize(
    ("members", "strata", "says"),
    [([1, 0, 0], [0, 0, 0], "more than one kind"), ([1, 1, 0], [0, 1, 0], "more than one stratum")],
)
def test_a_cluster_is_of_one_kind_and_stratum(members: list, strata: list, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        contrast([0.0, 1.0, 2.0], members, strata, ["a", "a", "b"])
    with pytest.raises(ConfigError, match="one value per problem"):
        contrast([0.0, 1.0], [1, 0, 1])


def test_members_in_smaller_clusters_are_not_found_for_that() -> None:
    """One flip among 30 single problems, the others in 35 pairs: whoever had it, it had to be someone."""
    changes, members = np.zeros(100), np.arange(100) < 30
    changes[3] = -1.0
    labels = np.concatenate([np.arange(30), 30 + np.arange(70) // 2])
    assert _found(changes, members, None, labels).p_value == 1.0


def test_a_single_flip_lies_where_it_lies_by_chance() -> None:
    changes, members = np.zeros(400), np.arange(400) < 100
    changes[3] = -1.0
    # in a quarter of all draws it is a member's: two-sided, twice that
    assert _found(changes, members, draws=20_000).p_value == pytest.approx(0.5, abs=0.02)
    nothing = _found(np.zeros(400), members)
    assert (nothing.value, nothing.low, nothing.high, nothing.p_value) == (0.0, None, None, 1.0)


def test_flips_have_an_interval_of_two_score_intervals() -> None:
    changes, members = np.zeros(400), np.arange(400) < 100
    changes[[0, 1, 2]], changes[[200]] = -1.0, 1.0
    found = contrast_accuracy(changes, members)
    assert found is not None
    one, other = score_interval(PairedCounts(100, 3, 0)), score_interval(PairedCounts(300, 0, 1))
    e1, e0 = -3 / 100, 1 / 300
    assert found.value == pytest.approx(e1 - e0)
    assert found.low == pytest.approx(e1 - e0 - np.hypot(e1 - one.low, other.high - e0))
    assert found.high == pytest.approx(e1 - e0 + np.hypot(one.high - e1, e0 - other.low))
    # four flips: the larger p is that of sign flips over all 16 patterns, where only the opposite one is as far from 0
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=4)))
    totals = np.abs(signs @ np.array([1 / 100, 1 / 100, 1 / 100, 1 / 300]))
    assert found.p_value == pytest.approx((totals >= 3 / 100 + 1 / 300 - 1e-9).mean())
    assert (_found(changes, members, studentized=True).p_value or 1) < 0.05
    assert found.method == "larger p of studentized permutation and sign flips; interval of two score intervals"
    # nothing flipped, and the two sides may differ all the same
    nothing = contrast_accuracy(np.zeros(400), members)
    assert nothing is not None
    assert nothing.low is not None
    assert nothing.low < -0.01
    assert contrast_accuracy(np.zeros(8), np.ones(8)) is None


def test_each_p_is_the_larger_one_where_the_other_fails() -> None:
    """Six flips of members, all down, which random signs give once in 32; eight losses that the members were spared."""
    members = np.arange(900) < 200
    flips, losses = np.zeros((2, 900))
    flips[:6] = losses[300:308] = -1.0
    found, permuted = contrast_accuracy(flips, members), _found(flips, members, studentized=True)
    assert found is not None
    assert (permuted.p_value or 1) < 0.001
    assert found.p_value == pytest.approx(2 / 64)
    found, permuted = contrast_accuracy(losses, members), _found(losses, members, studentized=True)
    assert found is not None
    # by signs 2 / 256; that all of eight fall among 700 of 900 happens in one draw of eight
    assert found.p_value == permuted.p_value == pytest.approx(2 * (7 / 9) ** 8, abs=0.04)


def test_strata_weigh_the_signs_that_are_flipped() -> None:
    """Two strata of unequal sizes, so that a flip counts more in one of them."""
    members, layers = np.array([1] * 4 + [0] * 16 + [1] * 10 + [0] * 10), np.repeat([1, 2], 20)
    changes = np.zeros(40)
    changes[[0, 20, 21, 22, 23]], changes[1] = -1.0, 1.0
    w1, w2 = 4 * 16 / 20, 10 * 10 / 20
    steps = np.array([w1 / 4, w1 / 4, w2 / 10, w2 / 10, w2 / 10, w2 / 10])
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=6)))
    observed = abs(np.array([-1, 1, -1, -1, -1, -1]) @ steps)
    found = contrast_accuracy(changes, members, layers)
    assert found is not None
    assert found.p_value == pytest.approx((np.abs(signs @ steps) >= observed - 1e-9).mean())
    # six flips of three clusters have three signs between them
    twos = contrast_accuracy(-(np.arange(900) < 6).astype(float), np.arange(900) < 200, None, np.arange(900) // 2)
    assert twos is not None
    assert twos.p_value == pytest.approx(2 * 2**-3)


def test_intervals_of_rare_flips_cover() -> None:
    generator = np.random.default_rng(4)
    covered = 0
    for _ in range(300):
        members, steps = generator.random(300) < 0.4, generator.integers(1, 3, 300)
        broken = generator.random(300) < np.where(members, 0.05, 0.02)
        found = contrast_accuracy(-broken.astype(float), members, steps)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= -0.03 <= found.high
    assert covered / 300 >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / 300)


def test_intervals_of_strata_are_weighted_like_the_contrast() -> None:
    layers, members = np.repeat([1, 2], [200, 100]), np.arange(300) % 4 == 0
    changes = np.zeros(300)
    changes[[0, 4, 204, 1]] = -1.0
    found = contrast_accuracy(changes, members, layers)
    assert found is not None
    value, below, above, weights = [], [], [], []
    for layer in (1, 2):
        one, other = changes[(layers == layer) & members], changes[(layers == layer) & ~members]
        at, beside = (
            score_interval(PairedCounts(side.size, int((side < 0).sum()), int((side > 0).sum())))
            for side in (one, other)
        )
        weights.append(one.size * other.size / (one.size + other.size))
        value.append(one.mean() - other.mean())
        below.append(np.hypot(one.mean() - at.low, beside.high - other.mean()))
        above.append(np.hypot(at.high - one.mean(), other.mean() - beside.low))
    share = np.array(weights) / sum(weights)
    assert found.value == pytest.approx(share @ value)
    # independent strata: what they are off by adds in squares
    assert found.low == pytest.approx(found.value - np.sqrt((share * below) ** 2 @ np.ones(2)))
    assert found.high == pytest.approx(found.value + np.sqrt((share * above) ** 2 @ np.ones(2)))


@pytest.mark.parametrize("elsewhere", [0.0, -1.0])
def test_without_a_flip_on_either_side_nothing_is_found_and_the_interval_stays_open(elsewhere: float) -> None:
    """A flip in a stratum that has one kind only says nothing of the contrast."""
    members, layers = np.arange(60) % 3 == 0, np.repeat([1, 2], [40, 20])
    members[layers == 2] = False
    changes = np.zeros(60)
    changes[50] = elsewhere
    plain, found = contrast(changes, members, layers), contrast_accuracy(changes, members, layers)
    assert plain is not None
    assert (plain.value, plain.low, plain.high, plain.p_value) == (0.0, None, None, 1.0)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert (found.value, found.p_value) == (0.0, 1.0)
    assert found.low < 0 < found.high


def test_the_larger_p_may_be_that_of_studentized_permutations() -> None:
    generator = np.random.default_rng(37)
    members = np.arange(120) < generator.integers(8, 40)
    often, seldom, up = generator.random(3) * [0.6, 0.4, 1.0]
    flips = generator.random(120) < np.where(members, often, seldom)
    changes = flips * np.where(generator.random(120) < up * 0.5, 1.0, -1.0)
    found = contrast_accuracy(changes, members)
    assert found is not None
    assert found.p_value == _found(changes, members, studentized=True).p_value
    assert found.p_value > (_found(changes, members).p_value or 0) + 0.3
