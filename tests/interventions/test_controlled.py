"""An edit beside its controls, and how controls are matched."""

import numpy as np
import pytest

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.betting import estimate_bounded
from codi_int.interventions.evidence.controlled import compare_with_controls, match_controls


def test_the_difference_is_taken_problem_by_problem() -> None:
    generator = np.random.default_rng(0)
    effect = generator.choice([-1.0, 0, 0, 0, 1], 200)
    controls = generator.choice([-1.0, 0, 0, 0, 0, 0, 1], (20, 200))
    labels = np.arange(200) // 2
    found = compare_with_controls(effect, controls, labels)
    assert found.difference == estimate_bounded(effect - controls.mean(0), 2.0, clusters=labels)
    assert found.difference.value == pytest.approx(effect.mean() - controls.mean())


def test_what_edit_and_controls_share_cancels() -> None:
    """Any disturbance loses these 40 problems; the edit loses none besides."""
    shared = np.where(np.arange(400) < 40, -1.0, 0.0)
    found = compare_with_controls(shared, np.tile(shared, (5, 1)))
    assert found.difference.value == 0.0
    assert found.difference.p_value == 1.0
    assert found.rank_p == 1.0
    worse = np.where(np.arange(400) < 80, -1.0, 0.0)
    found = compare_with_controls(worse, np.tile(shared, (5, 1)))
    assert found.difference.high is not None
    assert found.difference.high < 0
    assert found.rank_p == pytest.approx(1 / 6)


def test_ranks_count_those_as_strong_in_either_direction() -> None:
    controls = np.array([[0.5, 0.5], [-0.5, -0.5], [0.1, 0.1], [0.5, -0.5]])
    found = compare_with_controls([-0.5, -0.5], controls)
    assert (found.n_as_strong, found.draws, found.rank_p) == (2, 4, pytest.approx(3 / 5))


@pytest.mark.parametrize("controls", [np.zeros((0, 3)), np.zeros((2, 4)), np.zeros(3)])
def test_controls_are_of_the_same_problems(controls: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        compare_with_controls(np.zeros(3), controls)


CANDIDATES = [(100, 1.0), (140, 0.8), (160, 1.0), (100, 1.6), (70, 1.4), (0, 1.0), (100, 0.0), (101, 1.01)]


def test_only_candidates_within_the_caliper_are_drawn() -> None:
    found = match_controls((100, 1.0), CANDIDATES, draws=20)
    assert set(found.chosen) == {0, 1, 4, 7}
    assert found.n_within == 4
    assert (found.touched_median, found.size_median) == (pytest.approx(100.5), pytest.approx(1.005))
    assert found.note is not None
    assert "4 of 20 controls" in found.note


def test_all_within_are_as_likely_and_a_seed_decides() -> None:
    draws = [match_controls((100, 1.0), CANDIDATES, draws=2, seed=seed).chosen for seed in range(200)]
    counts = np.bincount([one for chosen in draws for one in chosen], minlength=8)
    assert counts[[2, 3, 5, 6]].sum() == 0
    assert counts[[0, 1, 4, 7]].min() > 60
    assert draws[3] == match_controls((100, 1.0), CANDIDATES, draws=2, seed=3).chosen
    assert match_controls((100, 1.0), CANDIDATES, draws=2).note is None


def test_nothing_is_like_an_edit_that_does_nothing() -> None:
    found = match_controls((0, 0.0), CANDIDATES, draws=3)
    assert (found.chosen, found.touched_median) == ((), None)
    assert match_controls((10, 1.0), [], draws=3).n_within == 0
    with pytest.raises(ConfigError, match="negative"):
        match_controls((1, 1.0), CANDIDATES, draws=-1)
