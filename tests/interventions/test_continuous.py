"""Log-probability changes against enumeration, scipy and seeded simulations."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import bootstrap, wilcoxon

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.continuous import bootstrap_means, logprob_effect


def test_permutation_equals_the_enumeration_of_all_signs() -> None:
    change = np.array([0.3, -1.2, -0.4, -0.9, 0.05, -2.0, -0.01, -0.6])
    means = np.array([np.mean(change * signs) for signs in product((1, -1), repeat=change.size)])
    expected = np.mean(np.abs(means) >= abs(change.mean()) - 1e-12)
    assert logprob_effect(change).p_value == pytest.approx(expected, abs=1e-9)


def test_untouched_problems_dilute_the_mean_but_not_the_test() -> None:
    change = np.array([-0.5, -0.3, -0.8, 0.1, -0.4, -0.9])
    alone, padded = logprob_effect(change), logprob_effect(np.concatenate([change, np.zeros(6)]))
    assert padded.p_value == pytest.approx(alone.p_value)
    assert padded.estimate == pytest.approx(alone.estimate / 2)


def test_wilcoxon_is_scipys() -> None:
    change = np.random.default_rng(0).normal(-0.1, 1.0, 80)
    assert logprob_effect(change, method="wilcoxon").p_value == wilcoxon(change).pvalue


def test_nothing_changed_is_not_tested() -> None:
    effect = logprob_effect(np.zeros(40))
    assert (effect.estimate, effect.low, effect.high, effect.p_value) == (0.0, 0.0, 0.0, None)


@pytest.mark.parametrize("n", [2, 3, 7, 12, 13, 14])
def test_wilcoxon_of_few_tied_values_is_scipys(n: int) -> None:
    change = np.random.default_rng(n).integers(1, 4, n) * np.random.default_rng(n + 1).choice([-1.0, 1.0], n)
    assert logprob_effect(change, method="wilcoxon").p_value == pytest.approx(wilcoxon(change).pvalue, abs=1e-12)


@pytest.mark.parametrize("method", ["permutation", "wilcoxon"])
def test_one_changed_problem_proves_nothing(method: str) -> None:
    assert logprob_effect(np.array([0.0, -7.0, 0.0]), method=method).p_value == 1.0


def test_same_seed_same_numbers_other_seed_other_interval() -> None:
    change = np.random.default_rng(1).standard_t(3, 100)
    assert logprob_effect(change, seed=7) == logprob_effect(change, seed=7)
    assert logprob_effect(change, seed=7).low != logprob_effect(change, seed=8).low


@pytest.mark.parametrize("method", ["permutation", "wilcoxon"])
def test_level_and_coverage_under_the_null(method: str) -> None:
    rng = np.random.default_rng(2)
    effects = [logprob_effect(rng.laplace(0.0, 1.0, 150), method=method, seed=i, resamples=999) for i in range(800)]
    rejected = np.mean([e.p_value is not None and e.p_value < 0.05 for e in effects])
    covered = np.mean([e.low <= 0.0 <= e.high for e in effects])
    assert rejected <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 800)
    assert covered >= 0.95 - 0.02


@pytest.mark.parametrize(("change", "method"), [(np.array([np.nan, 1.0]), "permutation"), (np.ones(3), "t-test")])
def test_bad_input_is_refused(change: np.ndarray, method: str) -> None:
    with pytest.raises(ConfigError):
        logprob_effect(change, method=method)


@pytest.mark.parametrize(("n", "resamples"), [(30, 999), (1, 50), (300_000, 8)])
def test_intervals_of_many_arms_are_scipys_of_each(n: int, resamples: int) -> None:
    """The longest sample is one that scipy is given in batches."""
    changes = np.random.default_rng(0).laplace(0.1, 1.0, (19 if n < 100 else 2, n))
    found = bootstrap_means(changes, 0.9, seed=5, resamples=resamples)
    if n == 1:
        assert found == [(float(x), float(x)) for x in changes[:, 0]]
        return
    settings = {"method": "percentile", "n_resamples": resamples, "confidence_level": 0.9}
    for change, interval in zip(changes, found, strict=True):
        rng = np.random.default_rng(5)
        batch = max(1, 2_000_000 // n)
        expected = bootstrap((change,), np.mean, batch=batch, rng=rng, **settings).confidence_interval
        assert interval == pytest.approx((expected.low, expected.high), rel=1e-12, abs=1e-15)


def test_an_arm_has_one_interval_alone_and_among_others() -> None:
    changes = np.random.default_rng(0).laplace(0.1, 1.0, (40, 25))
    together = bootstrap_means(changes, seed=2, resamples=99)
    assert [bootstrap_means(change[None], seed=2, resamples=99)[0] for change in changes] == together
    effect = logprob_effect(changes[7], method="wilcoxon", seed=2, resamples=99)
    assert (effect.low, effect.high) == together[7]
    assert effect == logprob_effect(changes[7], method="wilcoxon", interval=together[7])
