"""Coefficients of agreement against scipy and Lin's own formula; the bootstrap against scipy's, and its coverage."""

import numpy as np
import pytest
from scipy import stats

from codi_int.interventions.evidence.clusters import read_clusters
from codi_int.interventions.evidence.concordance import ProblemDraws, bca_interval, concordance, rank_correlation


def test_lins_coefficient_is_his_formula_and_falls_with_scatter_shift_and_scale() -> None:
    generator = np.random.default_rng(0)
    a = generator.normal(size=40)
    b = 0.7 * a + generator.normal(size=40) + 0.3
    r, bias = np.corrcoef(a, b)[0, 1], ((a.mean() - b.mean()) ** 2) / (a.std() * b.std())
    # rho times the correction for bias, his equation for C_b
    expected = r * 2 / (a.std() / b.std() + b.std() / a.std() + bias)
    assert concordance(a, b) == pytest.approx(expected, rel=1e-12)
    assert concordance(a, a) == pytest.approx(1.0)
    assert concordance(a, -a + 2 * a.mean()) == pytest.approx(-1.0)
    assert concordance(a, a + 1.0) == pytest.approx(2 * a.var() / (2 * a.var() + 1))
    assert concordance(a, 3 * a - 2 * a.mean()) == pytest.approx(6 / 10)
    assert np.isnan(concordance(np.zeros(5), np.zeros(5)))
    assert concordance(np.zeros(5), np.arange(5.0)) == 0.0
    stacked = concordance(np.stack([a, b]), np.stack([b, b]))
    assert stacked == pytest.approx([expected, 1.0])


def test_the_rank_correlation_is_scipys_ties_too() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.integers(0, 6, size=(2, 30)).astype(float)
    assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    both = rank_correlation(np.stack([a, b]), np.stack([b, a + b]))
    assert both[1] == pytest.approx(stats.spearmanr(b, a + b).statistic)
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4.0)))


def test_the_interval_is_scipys_bca() -> None:
    x = np.random.default_rng(2).exponential(size=60)

    def skewed(values: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.log(values.mean(axis=axis))

    theirs = stats.bootstrap((x,), skewed, method="BCa", n_resamples=4000, rng=np.random.default_rng(3))
    drawn = theirs.bootstrap_distribution
    left_out = np.array([skewed(np.delete(x, i)) for i in range(x.size)])
    low, high = bca_interval(float(skewed(x)), drawn, left_out)  # type: ignore[misc]
    assert (low, high) == pytest.approx((theirs.confidence_interval.low, theirs.confidence_interval.high), rel=1e-9)
    # the percentile interval is another one here
    assert abs(low - np.quantile(drawn, 0.025)) > 1e-3


def test_clusters_are_drawn_whole_and_effects_are_means_over_problems() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2])
    changes = np.arange(12.0).reshape(6, 2)
    draws = ProblemDraws.make(read_clusters(labels, 6), draws=50, seed=4)
    assert draws.counts.shape == (50, 3)
    assert (draws.counts.sum(axis=1) == 3).all()
    seen = []
    draws.bootstrap(changes, lambda m: (seen.append(m), m[..., 0])[1])
    value, drawn, left_out = seen
    assert value[0] == pytest.approx(changes.mean(axis=0))
    first = np.concatenate([np.repeat(np.flatnonzero(labels == c), int(k)) for c, k in enumerate(draws.counts[0])])
    assert drawn[0] == pytest.approx(changes[first].mean(axis=0))
    assert left_out[1] == pytest.approx(changes[labels != 1].mean(axis=0))


def test_what_has_no_coefficient_has_no_interval() -> None:
    draws = ProblemDraws.make(read_clusters(None, 20), draws=40)
    nothing = draws.bootstrap(np.zeros((20, 6)), lambda m: concordance(m[..., :3], m[..., 3:]))
    assert (nothing.value, nothing.low, nothing.high) == (0.0, None, None)
    # one problem carries all of it: a third of the draws lack it
    one = np.zeros((20, 6))
    one[0] = [1, 2, 3, 1, 2, 4]
    found = draws.bootstrap(one, lambda m: concordance(m[..., :3], m[..., 3:]))
    assert found.value == pytest.approx(6 / 7)
    assert found.low is None


def test_noise_is_taken_out_of_the_concordance() -> None:
    """Equal effects agree fully in the population, and their means on some problems do not."""
    generator = np.random.default_rng(0)
    effects = np.concatenate([generator.exponential(0.05, 6), np.full(24, 0.002)])
    draws, found, plain = ProblemDraws.make(read_clusters(None, 150), draws=2), [], []
    for _ in range(60):
        changes = [
            effects * generator.exponential(1.0, (150, 30)) * (generator.random((150, 30)) < 0.3) for _ in range(2)
        ]
        plain.append(float(concordance(*(one.mean(axis=0) for one in changes))))
        found.append(draws.concordance(*changes).value)
    # a ratio of corrected moments is a little too large where few problems are there, and nearer all the same
    assert abs(np.mean(found) - 1) < 0.012 < 0.015 < 1 - np.mean(plain)
    # a list with itself: its noise is shared, so that there is nothing to take out
    assert draws.concordance(changes[0], changes[0]).value == pytest.approx(1.0)


def test_without_noise_it_is_lins_coefficient_clusters_of_any_size_too() -> None:
    labels = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 6])
    a, b = np.random.default_rng(1).normal(size=(2, 8))
    # every problem changes alike, so there is no noise, whatever is drawn
    found = ProblemDraws.make(read_clusters(labels, 21), draws=20).concordance(np.tile(a, (21, 1)), np.tile(b, (21, 1)))
    assert found.value == pytest.approx(float(concordance(a, b)))
    assert found.drawn == pytest.approx(found.value)


def test_intervals_cover_the_agreement_of_the_population() -> None:
    """Sparse effects of 30 features, few of them large: of 100 samples' intervals 90 or more hold the truth."""
    generator = np.random.default_rng(5)
    own = np.concatenate([generator.exponential(0.05, 6), np.full(24, 0.002)])
    rates, n = generator.uniform(0.1, 0.5, 30), 150
    for weight in (0.8, 1.0):
        other, hits = weight * own + (1 - weight) * generator.permutation(own), 0
        # a feature touches a problem with its rate and then costs that much of the answer's probability
        truth = float(concordance(own * rates, other * rates))
        for sample in range(100):
            touched = generator.random((n, 30)) < rates
            first, second = (one * touched * generator.exponential(1.0, (n, 30)) for one in (own, other))
            draws = ProblemDraws.make(read_clusters(None, n), draws=150, seed=sample)
            found = draws.concordance(first, second).estimate(draws.method)
            hits += found.low <= truth <= found.high
        assert hits >= 90
