"""Accuracy by cluster against enumeration, scipy and simulated clusters."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.clusters import read_clusters
from codi_int.interventions.evidence.flips import (
    at_border,
    attainable_p_values,
    cluster_score_interval,
    estimate_accuracy,
    is_testable,
    sign_flip_test,
)
from codi_int.interventions.evidence.paired import Interval, PairedCounts, score_interval


def _enumerated(sums: list[int]) -> float:
    totals = [
        abs(sum(s * x for s, x in zip(signs, sums, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(sums))
    ]
    return float(np.mean([total >= abs(sum(sums)) for total in totals]))


def test_sign_flips_are_those_of_enumeration() -> None:
    generator = np.random.default_rng(0)
    for _ in range(40):
        sums = generator.integers(-4, 5, generator.integers(1, 11)).tolist()
        p_value = sign_flip_test(sums)
        assert p_value == pytest.approx(_enumerated(sums), abs=1e-12)
        assert np.abs(attainable_p_values(sums) - p_value).min() < 1e-12


@pytest.mark.parametrize(("broken", "fixed"), [(20, 3), (0, 0), (5, 5), (6, 0), (700, 640)])
def test_single_problems_make_it_mcnemars(broken: int, fixed: int) -> None:
    expected = binomtest(broken, broken + fixed).pvalue if broken + fixed else 1.0
    assert sign_flip_test([-1] * broken + [1] * fixed + [0] * 9) == pytest.approx(expected, rel=1e-10)


def test_attainable_p_values_are_all_that_can_come_out() -> None:
    sizes = [1, 1, 2, 3]
    seen = {
        round(_enumerated([s * x for s, x in zip(signs, sizes, strict=True)]), 12)
        for signs in itertools.product((1, -1), repeat=4)
    }
    assert attainable_p_values(sizes) == pytest.approx(sorted(seen))


def test_single_problems_have_tangos_interval_bit_for_bit() -> None:
    changes = np.array([-1] * 9 + [1] * 3 + [0] * 188)
    found = estimate_accuracy(changes)
    expected = score_interval(PairedCounts(200, 9, 3))
    assert (found.low, found.high) == (expected.low, expected.high)
    assert found.value == pytest.approx(-0.03)
    assert cluster_score_interval(changes, read_clusters(None, 200)).method == expected.method


def test_a_cluster_counts_as_one_problem_where_it_moves_as_one() -> None:
    """50 pairs that always do the same are 50 problems: the interval of half the counts."""
    one = np.array([-1] * 6 + [1] * 2 + [0] * 92)
    twice, labels = np.repeat(one, 2), np.repeat(np.arange(100), 2)
    interval = cluster_score_interval(twice, read_clusters(labels, 200))
    alone = score_interval(PairedCounts(100, 6, 2))
    assert (interval.low, interval.high) == pytest.approx((alone.low, alone.high), abs=1e-9)
    assert interval.method == "tango-score, continuity corrected, by cluster"
    assert estimate_accuracy(twice, labels).p_value == pytest.approx(binomtest(6, 8).pvalue)


def test_clusters_that_cancel_do_not_make_it_surer() -> None:
    changes = np.array([-1, 1] * 10 + [0] * 80)
    interval = cluster_score_interval(changes, read_clusters(np.repeat(np.arange(50), 2), 100))
    alone = score_interval(PairedCounts(100, 10, 10))
    assert (interval.low, interval.high) == pytest.approx((alone.low, alone.high))


def test_the_interval_covers_where_clusters_share_their_fate() -> None:
    generator = np.random.default_rng(1)
    covered = plain = 0
    for _ in range(250):
        sizes = generator.integers(1, 5, 150)
        fate = generator.choice([-1, 0, 1], p=[0.08, 0.9, 0.02], size=150)
        changes, labels = np.repeat(fate, sizes), np.repeat(np.arange(150), sizes)
        found = estimate_accuracy(changes, labels)
        alone = score_interval(PairedCounts(changes.size, int((changes < 0).sum()), int((changes > 0).sum())))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= -0.06 <= found.high
        plain += alone.low <= -0.06 <= alone.high
    assert covered / 250 >= 0.94
    assert plain / 250 < 0.9


@pytest.mark.parametrize(("touched", "testable"), [(6, True), (5, False), (0, False)])
def test_six_touched_clusters_are_the_least(touched: int, testable: bool) -> None:
    flags = np.arange(40) < touched
    assert is_testable(flags, read_clusters(None, 40)) == testable
    # the same number of problems within fewer clusters cannot be enough
    assert not is_testable(np.arange(40) < 6, read_clusters(np.arange(40) // 2, 40))


def test_test_and_interval_may_disagree_at_the_border() -> None:
    assert at_border(0.04, Interval(-0.1, 0.01, 0.95, ""))
    assert at_border(0.06, Interval(-0.1, -0.01, 0.95, ""))
    assert not at_border(0.04, Interval(-0.1, -0.01, 0.95, ""))
    assert not at_border(0.2, Interval(-0.1, 0.01, 0.95, ""))


@pytest.mark.parametrize("bad", [[0.5, 0], [2, 0], [], [[1]], [np.nan]])
def test_other_changes_are_refused(bad: list) -> None:
    with pytest.raises(ConfigError, match="broken"):
        estimate_accuracy(bad)


def test_labels_must_fit_and_be_several() -> None:
    with pytest.raises(ConfigError, match="2 labels for 3"):
        estimate_accuracy([0, 1, 0], [1, 2])
    with pytest.raises(ConfigError, match="single cluster"):
        estimate_accuracy([0, 1, 0], ["a", "a", "a"])
    with pytest.raises(ConfigError, match="whole numbers"):
        sign_flip_test([0.5])
