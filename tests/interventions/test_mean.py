"""Bootstrap-t against arch, its own promise that p and interval agree, and simulated coverage."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.mean import (
    MIN_EFFECTIVE,
    MeanEstimate,
    effective_problems,
    estimate_mean,
    estimate_means,
    share_of_largest,
)

SKEWED = np.random.default_rng(0).exponential(1.0, 80)
ARCH = (0.87232, 1.38777)
"""arch 8.0.0 on `SKEWED`: IIDBootstrap.conf_int(mean, 100_000, "studentized", std_err_func=s / sqrt(n)), seed 5"""


def _ends(found: MeanEstimate) -> tuple[float, float]:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def test_it_is_archs_studentized_bootstrap() -> None:
    low, high = _ends(estimate_mean(SKEWED))
    assert (low, high) == pytest.approx(ARCH, abs=0.01)
    bootstrap = pytest.importorskip("arch.bootstrap")
    theirs = bootstrap.IIDBootstrap(SKEWED, seed=np.random.default_rng(5)).conf_int(
        np.mean,
        20_000,
        method="studentized",
        std_err_func=lambda _, x: x.std(ddof=1) / np.sqrt(len(x)),
    )
    assert (low, high) == pytest.approx(theirs.ravel().tolist(), abs=0.01)


def test_normal_changes_give_students_test() -> None:
    changes = np.random.default_rng(1).normal(0.16, 1, 150)
    found, student = estimate_mean(changes), ttest_1samp(changes, 0)
    assert found.value == pytest.approx(changes.mean())
    assert found.p_value == pytest.approx(student.pvalue, abs=0.01)
    assert _ends(found) == pytest.approx(tuple(student.confidence_interval()), abs=0.01)
    assert estimate_mean(changes, null=0.5).p_value == pytest.approx(ttest_1samp(changes, 0.5).pvalue, abs=0.003)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_the_p_value_inverts_the_interval(confidence: float) -> None:
    low, high = _ends(estimate_mean(SKEWED, confidence=confidence, draws=2_000))
    for end, inwards in ((low, 1e-9), (high, -1e-9)):
        inside = estimate_mean(SKEWED, null=end + inwards, confidence=confidence, draws=2_000).p_value
        outside = estimate_mean(SKEWED, null=end - inwards, confidence=confidence, draws=2_000).p_value
        assert inside is not None
        assert outside is not None
        assert outside < 1 - confidence <= inside


def test_a_p_value_is_never_zero() -> None:
    assert estimate_mean(SKEWED, null=-5.0, draws=999).p_value == pytest.approx(2 / 1000)


def test_few_carriers_give_no_interval() -> None:
    changes = np.zeros(1000)
    changes[:3] = (-9.0, -5.0, -4.0)
    changes[3:60] = -0.001
    found = estimate_mean(changes)
    assert (found.low, found.high, found.p_value) == (None, None, None)
    assert found.value == pytest.approx(changes.mean())
    assert found.n_effective == pytest.approx((81 + 25 + 16) ** 2 / (81**2 + 25**2 + 16**2), rel=1e-4)
    assert found.share_of_largest == pytest.approx(18 / 18.057)
    assert "fewer than" in found.method


def test_the_number_of_carriers_is_that_of_equal_changes() -> None:
    for n in (1, 9, 10, 30):
        sums = np.concatenate([np.full(n, -1e-90), np.zeros(50)])
        assert effective_problems(sums) == pytest.approx(n)
    assert effective_problems(np.zeros(4)) == 0.0
    assert share_of_largest(np.zeros(4)) == 0.0
    assert share_of_largest(np.array([1.0, -2.0, 3.0, -4.0])) == pytest.approx(0.9)


def test_the_gate_stands_at_the_number() -> None:
    least = int(MIN_EFFECTIVE)
    enough = np.concatenate([np.ones(least), np.zeros(200)])
    assert estimate_mean(enough).p_value is not None
    assert estimate_mean(enough[1:]).p_value is None


def test_equal_changes_have_no_spread() -> None:
    found = estimate_mean(np.full(40, 0.3))
    assert (found.low, found.p_value, found.method) == (None, None, "none: no spread")


def test_features_share_their_draws_and_stay_themselves() -> None:
    changes = np.random.default_rng(2).normal(0.1, 1, size=(90, 4)) * np.array([1.0, 1e-6, 0.0, 50.0])
    several = estimate_means(changes, seed=3, draws=3_000)
    assert several[2].p_value is None
    for column, found in zip(changes.T, several, strict=True):
        alone = estimate_mean(column, seed=3, draws=3_000)
        assert found.p_value == alone.p_value
        assert found.value == pytest.approx(alone.value)
        assert found.low == pytest.approx(alone.low)


def test_clusters_count_as_one() -> None:
    once = np.random.default_rng(3).normal(0.2, 1, 100)
    labels = [f"chain {i}" for i in range(100) for _ in range(4)]
    four = estimate_mean(np.repeat(once, 4), clusters=labels)
    alone = estimate_mean(once)
    assert _ends(four) == pytest.approx(_ends(alone), abs=1e-9)
    assert four.p_value == alone.p_value
    assert four.n_effective == pytest.approx(alone.n_effective)
    assert (alone.method, four.method) == ("bootstrap-t", "bootstrap-t, by cluster")


def test_order_of_labels_and_problems_is_one() -> None:
    changes = np.random.default_rng(4).normal(0.2, 1, 60)
    labels = np.random.default_rng(5).integers(0, 30, 60)
    renamed = estimate_mean(changes, clusters=[f"{99 - label:03d}" for label in labels], draws=500)
    assert renamed == estimate_mean(changes, clusters=labels, draws=500)


def test_intervals_cover_where_clusters_differ_in_size() -> None:
    generator = np.random.default_rng(6)
    covered = 0
    for seed in range(300):
        sizes = generator.integers(1, 6, 200)
        changes = np.repeat(generator.gamma(2, 1, 200), sizes) + generator.normal(0, 0.3, sizes.sum())
        found = estimate_mean(changes, clusters=np.repeat(np.arange(200), sizes), seed=seed, draws=999)
        covered += _ends(found)[0] <= 2.0 <= _ends(found)[1]
    assert abs(covered / 300 - 0.95) <= 0.025


@pytest.mark.parametrize(
    ("bad", "says"), [([], "at least one"), ([[1.0]], "one number per problem"), ([1.0, np.inf], "not finite")]
)
def test_bad_input_is_refused(bad: list, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        estimate_mean(bad)
