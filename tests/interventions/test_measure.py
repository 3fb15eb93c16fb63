"""An arm's effect: each number is that of the function which makes it, and many arms come out as each alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from codi_int.interventions.evidence.betting import estimate_bounded
from codi_int.interventions.evidence.equivalence import equivalence_by_cluster
from codi_int.interventions.evidence.mean import estimate_mean
from codi_int.interventions.evidence.measure import ArmChange, measure_change, measure_changes

N = 400
LABELS = np.concatenate([np.arange(300), 300 + np.arange(100) // 2])
"""three hundred single problems and fifty pairs"""


def arm(seed: int, touched: int = 200) -> ArmChange:
    generator = np.random.default_rng(seed)
    flags = np.arange(N) < touched
    probability = np.where(flags, generator.uniform(-0.4, 0.1, N), 0.0)
    return ArmChange(
        accuracy=np.where(flags, generator.choice([-1.0, 0.0, 1.0], N, p=[0.1, 0.87, 0.03]), 0.0),
        logprob=np.where(flags, generator.normal(-0.3, 1.0, N), 0.0),
        touched=flags,
        answer=flags & (generator.random(N) < 0.3),
        margin=np.where(flags, generator.normal(-0.5, 2.0, N), 0.0),
        probability=probability,
        clusters=LABELS,
    )


def test_every_number_is_that_of_its_own_function() -> None:
    change = arm(0)
    found = measure_change(change, seed=4, bound=0.02, draws=2_000)
    # of the draws that all columns share, the first column's own come out as if it were alone
    logprob = estimate_mean(change.logprob, clusters=LABELS, seed=4, draws=2_000)
    assert (found.logprob.value, found.logprob.low, found.logprob.p_value) == (
        pytest.approx(logprob.value),
        pytest.approx(logprob.low),
        logprob.p_value,
    )
    assert found.logprob.method == "bootstrap-t, by cluster"
    assert (found.n_effective, found.share_of_largest) == (
        pytest.approx(logprob.n_effective),
        pytest.approx(logprob.share_of_largest),
    )
    margin = estimate_mean(change.margin, clusters=LABELS, seed=4, draws=2_000)
    assert found.margin is not None
    assert (found.margin.low, found.margin.high) == (pytest.approx(margin.low), pytest.approx(margin.high))
    probability = estimate_bounded(change.probability, clusters=LABELS)
    assert found.probability is not None
    assert (found.probability.low, found.probability.high) == (
        pytest.approx(probability.low),
        pytest.approx(probability.high),
    )
    assert found.p_equivalence == equivalence_by_cluster(change.accuracy, LABELS, 0.02).p_value
    assert (found.n_broken, found.n_fixed) == (int((change.accuracy < 0).sum()), int((change.accuracy > 0).sum()))
    assert (found.n_touched, found.largest_possible) == (200, 0.5)
    # 300 singles and 50 pairs are worth 400 / 1.25: 160 of 320 are touched
    assert found.largest_in_population == pytest.approx(binomtest(160, 320).proportion_ci(0.90, "exact").high)
    assert found.conclusion is None, "it depends on the family"


def test_without_clusters_it_is_mcnemars_test() -> None:
    change = replace(arm(1), clusters=None)
    found = measure_change(change, draws=500)
    discordant = found.n_broken + found.n_fixed
    assert found.accuracy.p_value == pytest.approx(binomtest(found.n_broken, discordant).pvalue)
    assert found.accuracy.method == "exact sign flips"


def test_many_arms_come_out_as_each_does_alone() -> None:
    changes = [arm(2), arm(3, touched=0), arm(4, touched=3)]
    together = measure_changes(changes, seed=1, draws=500)
    for change, one in zip(changes, together, strict=True):
        alone = measure_change(change, seed=1, draws=500)
        assert (one.accuracy, one.n_effective) == (alone.accuracy, pytest.approx(alone.n_effective))
        for name in ("logprob", "margin", "probability"):
            a, b = getattr(one, name), getattr(alone, name)
            assert (a.value, a.low, a.p_value) == (
                pytest.approx(b.value),
                b.low if b.low is None else pytest.approx(b.low),
                b.p_value,
            )
    assert measure_changes([]) == []


def test_what_touches_nothing_is_not_tested() -> None:
    found = measure_change(arm(5, touched=0))
    assert found.accuracy == replace(found.accuracy, value=0.0, low=0.0, high=0.0, p_value=None)
    assert (found.logprob.p_value, found.p_equivalence, found.testable) == (None, None, False)
    assert found.accuracy.method.startswith("not tested")


@pytest.mark.parametrize(("clusters", "testable"), [(np.arange(N), True), (np.arange(N) // 2, False)])
def test_six_problems_of_three_calculations_are_three(clusters: np.ndarray, testable: bool) -> None:
    change = replace(arm(6, touched=6), clusters=clusters)
    assert measure_change(change, draws=100).testable is testable


def test_changes_that_were_not_measured_are_left_out() -> None:
    found = measure_change(replace(arm(7), margin=None, probability=None), draws=200)
    assert (found.margin, found.probability) == (None, None)
    mixed = measure_changes([replace(arm(7), margin=None), arm(8)], draws=200)
    assert mixed[0].margin is None
    assert mixed[1].margin is not None
    assert mixed[1].margin.value == pytest.approx(arm(8).margin.mean())
