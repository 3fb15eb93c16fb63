"""Tests of symmetry against scipy, and that they are not tests of the mean."""

import numpy as np
import pytest
from scipy import stats

from codi_int.interventions.evidence.compare import compare_paired
from codi_int.interventions.evidence.symmetry import check_symmetry


def test_both_p_values_are_those_of_scipy() -> None:
    generator = np.random.default_rng(3)
    changes = np.concatenate([np.zeros(40), generator.normal(0.4, 1.0, 30)])
    found = check_symmetry(changes, draws=9_999)
    assert found is not None
    assert found.n == 30
    assert found.signed_rank_p == pytest.approx(stats.wilcoxon(changes[changes != 0]).pvalue)
    oracle = stats.permutation_test(
        (changes[changes != 0],), np.sum, permutation_type="samples", n_resamples=20_000, rng=generator
    )
    assert found.sign_flip_p == pytest.approx(oracle.pvalue, abs=0.01)


def test_few_changes_are_flipped_exactly() -> None:
    """Five losses and nothing else: 2 of 2^5 patterns are as extreme, for flips and for ranks alike."""
    found = check_symmetry([0.0, -1.0, -2.0, -3.5, -4.0, -5.5, 0.0])
    assert found is not None
    assert (found.n, found.sign_flip_p, found.signed_rank_p) == (5, 2 / 32, 2 / 32)


def test_clusters_count_once() -> None:
    changes, labels = [-1.0, 1.0, -2.0, -0.5, -3.0], [0, 0, 1, 1, 2]
    found = check_symmetry(changes, labels)
    # the first cluster cancels: two clusters are left, -2.5 and -3
    assert found is not None
    assert (found.n, found.sign_flip_p, found.signed_rank_p) == (2, 0.5, 0.5)


def test_nothing_changed_is_no_test() -> None:
    assert check_symmetry(np.zeros(9)) is None


def test_a_mean_of_zero_may_be_asymmetric() -> None:
    """Ninety gains of 0.1 and ten losses of 0.9: the mean is 0, and ranks are all but sure that something is there."""
    changes = np.concatenate([np.full(90, 0.1), np.full(10, -0.9)])
    found = check_symmetry(changes)
    assert found is not None
    assert found.signed_rank_p < 1e-4
    assert abs(changes.mean()) < 1e-12


def test_an_effect_has_them_beside_its_mean() -> None:
    clean = np.ones(60, dtype=bool)
    change = np.linspace(-1.0, -0.1, 60)
    effect = compare_paired(clean, clean, logprob_change=change, seed=4)
    assert effect.symmetry == check_symmetry(change, seed=4)
    assert effect.symmetry is not None
    assert effect.symmetry.n == 60
    assert compare_paired(clean, clean).symmetry is None
    assert compare_paired(clean, clean, logprob_change=change, touched=np.zeros(60)).symmetry is None


def test_an_effect_has_the_symmetry_of_its_clusters() -> None:
    changes, right = np.random.default_rng(2).normal(0.3, 1.0, 30), np.ones(30)
    for labels, n in ((np.arange(30) // 2, 15), (None, 30)):
        effect = compare_paired(right, right, logprob_change=changes, clusters=labels)
        assert effect.symmetry == check_symmetry(changes, labels)
        assert effect.symmetry is not None
        assert effect.symmetry.n == n
