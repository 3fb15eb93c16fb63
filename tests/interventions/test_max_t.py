"""Max-T against enumeration, MNE and its promise."""

import itertools

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.max_t import max_t


def _by_definition(changes: np.ndarray, labels: np.ndarray) -> list[float]:
    """All sign patterns of clusters, with the t statistic itself."""
    sums = np.stack([changes[labels == label].sum(0) for label in np.unique(labels)])

    def largest(signs: tuple[int, ...]) -> np.ndarray:
        return np.abs(ttest_1samp(sums * np.array(signs)[:, None], 0).statistic)

    observed = largest((1,) * len(sums))
    maxima = np.array([largest(signs).max() for signs in itertools.product((1, -1), repeat=len(sums))])
    return [float((maxima >= t * (1 - 1e-6)).mean()) for t in observed]


def test_few_clusters_are_enumerated() -> None:
    generator = np.random.default_rng(0)
    changes = generator.normal(0.4, 1, size=(12, 3)) @ np.array([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 1e-6]])
    labels = np.array([0, 0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 8])
    assert max_t(changes, clusters=labels) == pytest.approx(_by_definition(changes, labels))


def test_features_that_nothing_changes_are_not_tested() -> None:
    changes = np.random.default_rng(1).normal(size=(40, 3))
    changes[:, 1] = 0
    found = max_t(changes, draws=200)
    assert found[1] is None
    assert found[0] == max_t(changes[:, [0, 2]], draws=200)[0]
    assert max_t(np.zeros((5, 2))) == [None, None]


def test_it_is_mnes() -> None:
    stats = pytest.importorskip("mne.stats")
    changes = np.random.default_rng(2).normal(0.15, 1, size=(60, 20)) * np.geomspace(1e-3, 10, 20)
    _, theirs, _ = stats.permutation_t_test(changes, n_permutations=9_999, seed=1, verbose="error")
    assert max_t(changes, draws=10_000) == pytest.approx(theirs.tolist(), abs=0.025)


def test_the_family_error_is_kept_under_dependence() -> None:
    generator = np.random.default_rng(3)
    wrong = 0
    for seed in range(300):
        shared = generator.standard_t(3, size=(30, 1))
        changes = shared + 0.3 * generator.standard_t(3, size=(30, 8))
        found = max_t(changes, draws=199, seed=seed)
        wrong += min(p for p in found if p is not None) <= 0.05
    assert wrong / 300 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


def test_a_seed_gives_the_same_p_values() -> None:
    changes = np.random.default_rng(4).normal(0.1, 1, size=(80, 6))
    assert max_t(changes, draws=500, seed=3) == max_t(changes, draws=500, seed=3)
    assert max_t(changes, draws=500, seed=3) != max_t(changes, draws=500, seed=4)
    smallest = max_t(changes + 9, draws=500)
    assert smallest == pytest.approx([1 / 501] * 6)


@pytest.mark.parametrize("bad", [np.zeros((0, 2)), np.zeros(3), np.array([[np.nan]])])
def test_bad_input_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ConfigError):
        max_t(bad)
