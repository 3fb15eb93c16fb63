"""Betting intervals against the capital written out by hand, and against simulated truth."""

import numpy as np
import pytest

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.betting import estimate_bounded, estimate_bounded_many
from codi_int.records import Estimate


def _ends(found: Estimate) -> tuple[float, float]:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def _capital(changes: np.ndarray, mean: float, bound: float) -> float:
    """Bets on a mean above `mean`, problem by problem and bet by bet."""
    total = 0.0
    for share, weight in [(1.0, 0.5), *[(0.5**j, 0.05) for j in range(1, 11)]]:
        capital = weight
        for change in changes:
            capital *= 1 + share * (change - mean) / (bound + mean)
        total += capital
    return total


@pytest.mark.parametrize("bound", [1.0, 2.0])
def test_ends_are_where_the_capital_reaches_what_the_level_asks(bound: float) -> None:
    changes = np.random.default_rng(0).choice([-1.0, 0, 0, 0, 0.25, 1.0], 60) * bound
    low, high = _ends(estimate_bounded(changes, bound))
    assert _capital(changes, low, bound) == pytest.approx(2 / 0.05, rel=1e-6)
    assert _capital(-changes, -high, bound) == pytest.approx(2 / 0.05, rel=1e-6)


def test_nothing_changed_gives_the_width_of_the_largest_bet() -> None:
    n = 1495
    expected = 1 - 80 ** (-1 / n)
    assert _ends(estimate_bounded(np.zeros(n))) == pytest.approx((-expected, expected), rel=0.01)
    assert expected == pytest.approx(0.003, abs=2e-4)
    assert estimate_bounded(np.zeros(n)).p_value == 1.0


def test_the_p_value_inverts_the_interval() -> None:
    changes = np.random.default_rng(1).uniform(-0.2, 0.6, 120)
    low, high = _ends(estimate_bounded(changes))
    for end, outwards in ((low, -1e-6), (high, 1e-6)):
        assert estimate_bounded(changes, null=end + outwards).p_value < 0.05  # type: ignore[operator]
        assert estimate_bounded(changes, null=end - outwards).p_value >= 0.05  # type: ignore[operator]


def test_order_is_nothing() -> None:
    changes = np.random.default_rng(2).uniform(-1, 1, 50)
    found, turned = estimate_bounded(changes), estimate_bounded(changes[::-1])
    assert _ends(found) == pytest.approx(_ends(turned), abs=1e-12)
    assert found.p_value == pytest.approx(turned.p_value)


def test_the_mirror_image_has_the_mirrored_interval() -> None:
    changes = np.random.default_rng(3).uniform(-0.1, 0.9, 70)
    low, high = _ends(estimate_bounded(changes))
    assert _ends(estimate_bounded(-changes)) == pytest.approx((-high, -low), abs=1e-12)


def test_features_are_themselves_alone() -> None:
    changes = np.random.default_rng(4).uniform(-1, 1, (40, 3)) * (np.random.default_rng(5).random((40, 3)) < 0.3)
    changes[:, 1] = 0
    labels = np.arange(40) // 2
    for column, found in zip(changes.T, estimate_bounded_many(changes, clusters=labels), strict=True):
        alone = estimate_bounded(column, clusters=labels)
        assert _ends(found) == pytest.approx(_ends(alone), abs=1e-12)
        assert found.p_value == pytest.approx(alone.p_value)


def _coverage(changes: np.ndarray, truth: float, clusters: np.ndarray | None = None) -> float:
    """Share of columns whose interval holds the truth."""
    ends = [_ends(found) for found in estimate_bounded_many(changes, clusters=clusters)]
    return float(np.mean([low <= truth <= high for low, high in ends]))


def test_rare_large_losses_are_covered_where_normal_intervals_fail() -> None:
    """One problem in 400 loses everything: half of all samples of 300 show none."""
    changes = -(np.random.default_rng(6).random((300, 600)) < 1 / 400).astype(float)
    reach = 1.96 * changes.std(0, ddof=1) / np.sqrt(300)
    assert _coverage(changes, -1 / 400) >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / 600)
    assert np.mean(np.abs(changes.mean(0) + 1 / 400) <= reach) < 0.7


def test_clusters_that_share_their_fate_are_covered() -> None:
    generator = np.random.default_rng(7)
    labels = np.repeat(np.arange(60), generator.integers(1, 7, 60))
    changes = np.where(generator.random((60, 600)) < 0.5, -1.0, 0.6)[labels]
    assert _coverage(changes, -0.2, labels) >= 0.95
    assert _coverage(changes, -0.2) < _coverage(changes, -0.2, labels)


def test_a_larger_bound_is_a_wider_interval() -> None:
    changes = np.zeros(100)
    assert _ends(estimate_bounded(changes, 2.0))[1] == pytest.approx(2 * _ends(estimate_bounded(changes))[1], rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "says"),
    [([1.5], r"outside \[-1, 1\]"), ([], "at least one"), ([np.nan], "not finite"), ([[0.0]], "one number per")],
)
def test_bad_input_is_refused(changes: list, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        estimate_bounded(changes)
