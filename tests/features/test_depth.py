"""Early against late layers: counts against scipy's, the permutation test on layers that do and do not differ."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, mannwhitneyu

from codi_int.errors import ConfigError
from codi_int.features.depth import compare_depths, distances, superiority, ways_to_call

LAYERS, POSITIONS = 8, 3


def made(shift: float, seed: int = 0, spread: float = 0.0) -> dict[tuple[int, int], np.ndarray]:
    """Effects that are larger at late layers by `shift`; every layer has a level of its own."""
    rng = np.random.default_rng(seed)
    level = spread * rng.standard_normal(LAYERS)
    return {
        (layer, p): rng.standard_normal(20 + 3 * layer) + level[layer] + shift * (layer >= LAYERS // 2)
        for layer in range(LAYERS)
        for p in range(POSITIONS)
    }


def test_both_statistics_are_those_of_scipy() -> None:
    effects = {place: np.round(values, 1) for place, values in made(0.4).items()}  # with ties
    found = compare_depths(effects, LAYERS // 2)
    early, late = (
        np.concatenate([v for (layer, _), v in effects.items() if (layer >= LAYERS // 2) == side])
        for side in (False, True)
    )
    assert (found.n_early, found.n_late) == (early.size, late.size)
    expected = mannwhitneyu(late, early).statistic / (late.size * early.size)
    np.testing.assert_allclose(found.value, expected, rtol=1e-12)
    np.testing.assert_allclose(found.distance, ks_2samp(late, early).statistic, rtol=1e-12)
    assert found.low < found.value < found.high
    for position, value in enumerate(found.by_position):
        pair = [
            np.concatenate([v for (layer, p), v in effects.items() if p == position and (layer >= 4) == side])
            for side in (False, True)
        ]
        np.testing.assert_allclose(value, mannwhitneyu(pair[1], pair[0]).statistic / (pair[0].size * pair[1].size))


def test_p_values_are_over_all_ways_to_call_layers_late() -> None:
    effects = made(3.0)
    found = compare_depths(effects, LAYERS // 2)
    # the true naming and its mirror are the most extreme of 8 over 4 = 70 ways, and flips of three positions are 8
    assert found.p_value == found.p_distance == 2 / 70
    assert found.p_position == 2 / 8
    assert found.layers == (4, 4)
    ways = ways_to_call(4, 2)
    assert sorted(map(tuple, ways.tolist())) == sorted({tuple(row) for row in ways.tolist()})
    assert ways.sum(1).tolist() == [2] * 6
    values = [effects[layer, 0] for layer in range(4)]
    by_hand = [
        mannwhitneyu(
            np.concatenate([v for v, late in zip(values, way, strict=True) if late]),
            np.concatenate([v for v, late in zip(values, way, strict=True) if not late]),
        )
        for way in ways
    ]
    n = sum(v.size for v in values)
    sizes = [sum(v.size for v, late in zip(values, way, strict=True) if late) for way in ways]
    expected = [one.statistic / (m * (n - m)) for one, m in zip(by_hand, sizes, strict=True)]
    np.testing.assert_allclose(superiority(values, ways), expected)
    assert np.allclose(distances(values, ways), distances(values, ~ways))


def test_layers_that_differ_by_themselves_are_no_difference_of_depth() -> None:
    """Every layer has its own level: features taken as independent would find a difference nearly always."""
    rejected, naive = 0, 0
    for seed in range(25):
        effects = made(0.0, seed=seed, spread=1.0)
        rejected += compare_depths(effects, LAYERS // 2).p_value < 0.05
        early, late = (
            np.concatenate([v for (layer, _), v in effects.items() if (layer >= 4) == side]) for side in (False, True)
        )
        naive += mannwhitneyu(late, early).pvalue < 0.05
    assert naive > 15
    assert rejected <= 5


def test_too_few_layers_are_refused() -> None:
    with pytest.raises(ConfigError, match="Layers 0 to 7, split before 1: each side takes two layers or more"):
        compare_depths(made(0.0), 1)
    with pytest.raises(ConfigError, match="can be called late in 40,116,600 ways"):
        ways_to_call(28, 14)
