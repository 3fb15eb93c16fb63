"""Paired counts against statsmodels, scipy, a numerical likelihood and seeded simulations."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, norm
from statsmodels.stats.contingency_tables import mcnemar

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.paired import (
    PairedCounts,
    count_flips,
    fewest_for_significance,
    mcnemar_exact,
    power,
    score_interval,
)

CASES = [(50, 3, 9), (200, 0, 6), (200, 0, 5), (1495, 61, 17), (30, 7, 7), (21, 1, 7)]


def _table(counts: PairedCounts) -> list[list[int]]:
    return [[counts.n - counts.discordant, counts.broken], [counts.fixed, 0]]


def _draw(rng: np.random.Generator, n: int, loss: float, gain: float, draws: int) -> list[PairedCounts]:
    table = rng.multinomial(n, [loss, gain, 1 - loss - gain], size=draws)
    return [PairedCounts(n, int(b), int(f)) for b, f, _ in table]


@pytest.mark.parametrize("case", CASES)
def test_mcnemar_equals_statsmodels(case: tuple[int, int, int]) -> None:
    counts = PairedCounts(*case)
    assert mcnemar_exact(counts) == pytest.approx(mcnemar(_table(counts), exact=True).pvalue, abs=1e-12)


def test_flips_are_counted_each_way() -> None:
    clean = np.array([True, True, True, False, False])
    after = np.array([True, False, False, True, False])
    counts = count_flips(clean, after)
    assert (counts.n, counts.broken, counts.fixed) == (5, 2, 1)
    assert counts.estimate == pytest.approx(after.mean() - clean.mean())


def _likelihood_variance(counts: PairedCounts, delta: float) -> float:
    """Variance of fixed - broken under `delta`, the nuisance parameter found by maximising the likelihood itself."""
    low, high = max(0.0, -delta), (1.0 - delta) / 2

    def loss(q: float) -> float:
        cells = [(counts.broken, q), (counts.fixed, q + delta), (counts.n - counts.discordant, 1 - 2 * q - delta)]
        return -sum(k * np.log(max(p, 1e-300)) for k, p in cells if k)

    q = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return counts.n * (2 * q + delta - delta * delta)


@pytest.mark.parametrize("case", CASES)
def test_interval_ends_where_the_score_test_turns(case: tuple[int, int, int]) -> None:
    counts = PairedCounts(*case)
    interval = score_interval(counts)
    for end in (interval.low, interval.high):
        z = (abs(counts.fixed - counts.broken - counts.n * end) - 1) / np.sqrt(_likelihood_variance(counts, end))
        assert z == pytest.approx(norm.ppf(0.975), abs=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_interval_excludes_zero_exactly_when_the_corrected_test_rejects(case: tuple[int, int, int]) -> None:
    counts = PairedCounts(*case)
    interval = score_interval(counts)
    rejects = mcnemar(_table(counts), exact=False, correction=True).pvalue < 0.05
    assert rejects == (interval.low > 0 or interval.high < 0)


@pytest.mark.parametrize("n", [5, 100, 1495])
def test_interval_keeps_its_width_when_nothing_flips(n: int) -> None:
    interval = score_interval(PairedCounts(n, 0, 0))
    exact = 1 - 0.025 ** (1 / n)  # Clopper-Pearson's upper end for no event of one kind
    assert interval.high == pytest.approx(-interval.low)
    assert exact <= interval.high <= 1.6 * exact


def test_interval_reaches_the_end_when_everything_flips() -> None:
    interval = score_interval(PairedCounts(20, 20, 0))
    assert interval.low == -1.0
    assert -1.0 < interval.high < -0.5


@pytest.mark.parametrize(
    ("n", "loss", "gain"), [(1495, 0.04, 0.01), (300, 0.02, 0.02), (60, 0.1, 0.02), (1495, 0.002, 0.0)]
)
def test_interval_covers_the_truth(n: int, loss: float, gain: float) -> None:
    draws = _draw(np.random.default_rng(1), n, loss, gain, 2000)
    intervals = {c: score_interval(c) for c in set(draws)}
    covered = np.mean([intervals[c].low <= gain - loss <= intervals[c].high for c in draws])
    assert 0.95 <= covered <= 1.0


@pytest.mark.parametrize(("n", "rate"), [(1495, 0.03), (1495, 0.004), (100, 0.2)])
def test_false_positives_stay_below_the_level(n: int, rate: float) -> None:
    draws = _draw(np.random.default_rng(2), n, rate / 2, rate / 2, 4000)
    p_values = {c: mcnemar_exact(c) for c in set(draws)}
    assert np.mean([p_values[c] < 0.05 for c in draws]) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 4000)


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.1, 0.0625])
def test_fewest_discordant_by_trying(alpha: float) -> None:
    fewest = fewest_for_significance(alpha)
    assert binomtest(0, fewest, 0.5).pvalue < alpha <= binomtest(0, fewest - 1, 0.5).pvalue


@pytest.mark.parametrize(("n", "loss", "gain"), [(300, 0.05, 0.01), (1495, 0.01, 0.005), (40, 0.3, 0.1)])
def test_power_equals_the_simulated_share(n: int, loss: float, gain: float) -> None:
    draws = _draw(np.random.default_rng(3), n, loss, gain, 4000)
    found = {c: mcnemar(_table(c), exact=True).pvalue < 0.05 for c in set(draws)}
    assert power(n, loss, gain) == pytest.approx(np.mean([found[c] for c in draws]), abs=0.025)


@pytest.mark.parametrize("bad", [(0, 0, 0), (5, 3, 3), (5, -1, 0)])
def test_impossible_counts_are_refused(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        PairedCounts(*bad)
