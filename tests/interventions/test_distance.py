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


@pytest.mark.parametrize(("n", "d"), [(300, 12), (12, 30), (5, 40)])
def test_the_covariance_and_the_distances_are_those_of_scikit_learn(n: int, d: int) -> None:
    x, others = states(n, d), states(7, d, seed=1)
    theirs = LedoitWolf().fit(x)
    np.testing.assert_allclose(ledoit_wolf(x - x.mean(0)), theirs.covariance_, rtol=1e-10, atol=1e-10)
    real = fit_states(x)
    assert real is not None
    np.testing.assert_allclose(real.distance(others) ** 2, theirs.mahalanobis(others), rtol=1e-8)
    np.testing.assert_allclose(real.distances**2, np.sort(theirs.mahalanobis(x)), rtol=1e-8)


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
