"""Distances from real states against scikit-learn's estimate and scipy's percentiles."""

import numpy as np
import pytest
from scipy.stats import percentileofscore
from sklearn.covariance import LedoitWolf

from codi_int.interventions.evidence.distance import fit_states, ledoit_wolf


def states(n: int, d: int, seed: int = 0) -> np.ndarray:
    """States whose numbers go together, around a mean that is not 0."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 3.0 * rng.normal(size=d)


def by_scikit_learn(x: np.ndarray, asked: np.ndarray, rows: np.ndarray, fold: np.ndarray) -> list[float]:
    """Distance of each asked state from the states outside of its row's fold."""
    fits = {one: LedoitWolf().fit(x[fold != one]) for one in np.unique(fold)}
    return [float(fits[fold[row]].mahalanobis(state[None])[0] ** 0.5) for state, row in zip(asked, rows, strict=True)]


@pytest.mark.parametrize(("n", "d"), [(300, 12), (12, 30), (6, 40)])
def test_the_covariance_and_the_distances_are_those_of_scikit_learn(n: int, d: int) -> None:
    x, others, rows = states(n, d), states(7, d, seed=1), np.arange(7) % n
    theirs = LedoitWolf().fit(x)
    np.testing.assert_allclose(ledoit_wolf(x - x.mean(0)), theirs.covariance_, rtol=1e-10, atol=1e-10)
    real = fit_states(x)
    assert real is not None
    fold = np.arange(n) % 5
    np.testing.assert_allclose(real.distance(others, rows), by_scikit_learn(x, others, rows, fold), rtol=1e-8)
    own = by_scikit_learn(x, x, np.arange(n), fold)
    np.testing.assert_allclose(real.distances, np.sort(own), rtol=1e-8)


def test_states_of_one_cluster_are_not_measured_by_one_another() -> None:
    x, clusters = states(40, 6), np.arange(40) // 2
    real = fit_states(x, clusters)
    assert real is not None
    assert (real.fold[::2] == real.fold[1::2]).all()
    np.testing.assert_allclose(
        real.distance(x, np.arange(40)), by_scikit_learn(x, x, np.arange(40), clusters % 5), rtol=1e-8
    )
    assert fit_states(x, np.zeros(40)) is None


@pytest.mark.parametrize(("n", "d"), [(40, 96), (300, 12)])
def test_a_fresh_state_of_the_same_kind_is_as_ordinary_as_the_real_ones(n: int, d: int) -> None:
    both = states(2 * n, d)
    real = fit_states(both[:n])
    assert real is not None
    found = real.percentile(real.distance(both[n:], np.arange(n)))
    # by a covariance of all n, with 40 states of 96 numbers, every fresh one lies beyond them
    assert abs(found.mean() - 0.5) < 0.12
    assert real.beyond(real.distance(both[n:], np.arange(n))).mean() < 0.1


def test_percentiles_count_equally_far_ones_half_and_beyond_means_beyond_all() -> None:
    real = fit_states(states(40, 6))
    assert real is not None
    asked = np.array([0.0, real.distances[0], real.distances[11], real.distances[-1], 1.001 * real.distances[-1]])
    theirs = [percentileofscore(real.distances, one, kind="mean") / 100.0 for one in asked]
    np.testing.assert_allclose(real.percentile(asked), theirs, atol=1e-12)
    assert real.beyond(asked).tolist() == [False, False, False, False, True]


@pytest.mark.parametrize("x", [np.ones((5, 3)), np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 2.0], [3.0, 5.0]])])
def test_states_that_do_not_vary_have_no_distance(x: np.ndarray) -> None:
    assert fit_states(x) is None
