"""Exact equivalence: the published sizes of samples, brute force over all outcomes, and the size of the test."""

import math

import numpy as np
import pytest

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.equivalence import (
    check_bound,
    equivalence_by_cluster,
    equivalence_exact,
    fewest_for_equivalence,
)
from codi_int.interventions.evidence.paired import PairedCounts


def test_half_a_point_needs_598_problems_even_without_a_flip() -> None:
    assert fewest_for_equivalence(0.005) == 598
    assert not equivalence_exact(PairedCounts(597, 0, 0)).equivalent
    exact = equivalence_exact(PairedCounts(598, 0, 0))
    assert exact.equivalent
    assert exact.p_value == pytest.approx(0.995**598, abs=2e-5)


def _score(n: int, broken: int, fixed: int, bound: float) -> float:
    """Tango's statistic with the constrained rate found by bisecting the likelihood's derivative."""
    low, high = 0.0, (1 - bound) / 2
    for _ in range(200):
        q = (low + high) / 2
        rest = max(1 - bound - 2 * q, 1e-300)
        slope = broken / (q + bound) + (fixed / q if fixed else 0.0) - 2 * (n - broken - fixed) / rest
        low, high = (q, high) if slope > 0 else (low, q)
    variance = n * (2 * low + bound - bound**2)
    return (fixed - broken + n * bound) / math.sqrt(variance)


def _by_brute_force(n: int, broken: int, fixed: int, bound: float) -> float:
    """Largest chance over the nuisance rate, adding up every outcome's multinomial probability."""
    observed = _score(n, broken, fixed, bound)
    outcomes = [(b, f) for b in range(n + 1) for f in range(n + 1 - b) if _score(n, b, f, bound) >= observed - 1e-7]
    ways = [math.comb(n, b) * math.comb(n - b, f) for b, f in outcomes]
    return max(
        sum(
            w * (q + bound) ** b * q**f * (1 - bound - 2 * q) ** (n - b - f)
            for w, (b, f) in zip(ways, outcomes, strict=True)
        )
        for q in np.linspace(1e-9, (1 - bound) / 2 - 1e-9, 150)
    )


@pytest.mark.parametrize(("n", "broken", "fixed", "bound"), [(25, 0, 0, 0.2), (25, 1, 1, 0.3), (18, 2, 3, 0.4)])
def test_p_value_by_brute_force(n: int, broken: int, fixed: int, bound: float) -> None:
    expected = max(_by_brute_force(n, broken, fixed, bound), _by_brute_force(n, fixed, broken, bound))
    assert equivalence_exact(PairedCounts(n, broken, fixed), bound).p_value == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("noise", [0.0, 0.002, 0.01])
def test_at_the_bound_it_is_claimed_no_more_often_than_the_level(noise: float) -> None:
    table = np.random.default_rng(0).multinomial(1000, [noise + 0.01, noise, 0.99 - 2 * noise], size=3000)
    claimed = {(b, f): equivalence_exact(PairedCounts(1000, b, f), 0.01).equivalent for b, f, _ in table.tolist()}
    assert np.mean([claimed[b, f] for b, f, _ in table.tolist()]) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 3000)


def test_clusters_count_by_their_largest_design_effect() -> None:
    single = np.zeros(1495)
    single[:2] = (-1, 1)
    assert equivalence_by_cluster(single) == equivalence_exact(PairedCounts(1495, 1, 1))
    labels = np.repeat(np.arange(700), 2)
    doubled = equivalence_by_cluster(np.zeros(1400), labels)
    assert doubled.p_value == equivalence_exact(PairedCounts(700, 0, 0)).p_value
    assert doubled.method.endswith("by cluster")
    # 3 flips of a deflated 1.5: rounded up where they speak against equivalence and down where for it
    flips = np.zeros(1400)
    flips[:3] = -1
    assert equivalence_by_cluster(flips, labels).p_value == equivalence_exact(PairedCounts(700, 2, 0)).p_value


@pytest.mark.parametrize("bound", [0.0, -0.1, 0.51, 5, float("nan")])
def test_a_bound_that_means_nothing_is_refused_in_two_lines(bound: float) -> None:
    with pytest.raises(ConfigError, match=r"above 0 and at most 0\.5, got") as caught:
        equivalence_exact(PairedCounts(100, 0, 0), bound)
    assert "--bound 0.005" in str(caught.value)
    assert check_bound(0.5) == 0.5
