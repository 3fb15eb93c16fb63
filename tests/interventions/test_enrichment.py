"""Exact enrichment tests and their false discovery rate, against scipy, statsmodels and `discrete`."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from codi_int.interventions.evidence import enrichment
from codi_int.interventions.evidence.discrete import discrete_step_down
from codi_int.interventions.evidence.enrichment import Table, measure_enrichment, stratified_p, upper_tails
from codi_int.interventions.evidence.grid import GRID, step_down, to_grid


def draw(seed: int, n: int = 60, features: int = 12, properties: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    firing = rng.random((n, features)) < rng.uniform(0.05, 0.7, features)
    return firing, rng.random((n, properties)) < rng.uniform(0.1, 0.8, properties)


def test_tails_are_hypergeometric() -> None:
    sizes = np.array([0, 3, 30, 50])
    for row, size in zip(upper_tails(50, 20, sizes), sizes, strict=True):
        assert row == pytest.approx(stats.hypergeom.sf(np.arange(row.size) - 1, 50, 20, size), rel=1e-9, abs=1e-300)


def test_p_values_are_fishers() -> None:
    firing, present = draw(0)
    found = measure_enrichment(firing, present, least_firing=1, least_present=1, alpha=1.0)
    for i in range(firing.shape[1]):
        for j in range(present.shape[1]):
            a, b = firing[:, i], present[:, j]
            cells = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
            assert found.p_values[i, j] == pytest.approx(stats.fisher_exact(cells, alternative="greater")[1], rel=1e-9)
            assert found.table(i, j) == Table(60, int(a.sum()), int(b.sum()), int((a & b).sum()))


def test_what_cannot_be_found_is_not_tested() -> None:
    firing = np.zeros((40, 3), dtype=bool)
    firing[:2, 1], firing[:8, 2] = True, True  # never, twice, often
    present = np.zeros((40, 4), dtype=bool)
    present[:, 1], present[:8, 2], present[:30, 3] = True, True, True  # never, always, sometimes, mostly
    found = measure_enrichment(firing, present, least_firing=1, least_present=5)
    tested = ~np.isnan(found.p_values)
    # two firings among 8 of 40 could come to p = 0.036, among 30 of 40 to no less than 0.56
    assert tested.tolist() == [[False] * 4, [False, False, True, False], [False, False, True, False]]
    fewer = measure_enrichment(firing, present, least_firing=3, least_present=5)
    assert np.isnan(fewer.p_values[1]).all()
    assert not np.isnan(fewer.p_values[2, 2])


@pytest.mark.parametrize("groups", [(3, 9), (10_000,)])
def test_groups_of_sizes_change_nothing(monkeypatch: pytest.MonkeyPatch, groups: tuple[int, ...]) -> None:
    firing, present = draw(3)
    plain = measure_enrichment(firing, present, least_firing=2, least_present=2)
    monkeypatch.setattr(enrichment, "_SIZES", groups)
    other = measure_enrichment(firing, present, least_firing=2, least_present=2)
    assert other.p_values == pytest.approx(plain.p_values, rel=1e-12, nan_ok=True)
    assert other.null_sums == pytest.approx(plain.null_sums, rel=1e-12)


def test_the_grid_rounds_up_and_gives_away_a_step_at_most() -> None:
    values = np.array([1e-300, 1e-14, 3e-9, 0.04999, 0.05, 0.9999999, 1.0])
    rounded = GRID[to_grid(values)]
    assert (rounded >= values * (1 - 1e-9)).all()
    assert (rounded[1:] <= values[1:] * 10 ** (1 / 34) * (1 + 1e-9)).all()
    assert GRID[to_grid(GRID)].tolist() == GRID.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_the_step_down_is_that_of_exact_supports(seed: int) -> None:
    firing, present = draw(seed)
    firing[:, 0] |= present[:, 0]  # something to find
    found = measure_enrichment(firing, present, least_firing=1, least_present=1)
    tested = ~np.isnan(found.p_values)
    p_values = found.p_values[tested]
    supports = []
    for i, j in np.argwhere(tested):
        row = upper_tails(found.n, int(found.present[j]), found.firing[[i]])[0]
        supports.append(np.unique(row[row > 0]))
    exact = discrete_step_down(p_values, supports)
    mine = step_down(p_values, found.null_sums)
    assert (mine >= exact * (1 - 1e-9)).all()
    # a rounded p-value meets thresholds of other tests up to a step of the grid earlier
    assert (mine <= exact * 1.35 + 1e-11).all()


def test_strata_are_convolved() -> None:
    tables = [Table(20, 8, 5, 4), Table(30, 10, 12, 6), Table(4, 0, 2, 0)]
    chances = [stats.hypergeom(t.n, t.present, t.firing) for t in tables]
    expected = sum(chances[0].pmf(a) * chances[1].pmf(b) for a in range(6) for b in range(11) if a + b >= 10)
    assert stratified_p(tables) == pytest.approx(expected, rel=1e-9)
    assert stratified_p(tables[:1]) == pytest.approx(stats.hypergeom.sf(3, 20, 5, 8), rel=1e-9)
    assert stratified_p([Table(9, 4, 9, 4), Table(0, 0, 0, 0)]) is None


def test_strata_take_away_what_they_explain() -> None:
    # both go with the stratum, and within it are independent
    strata = [Table(100, 80, 80, 64), Table(100, 10, 10, 1)]
    assert stratified_p([Table(200, 90, 90, 65)]) < 1e-8
    assert stratified_p(strata) > 0.4


@pytest.mark.parametrize("cells", [(5, 20, 30, 400), (18, 20, 200, 900), (0, 7, 12, 50)])
def test_the_interval_is_newcombes(cells: tuple[int, int, int, int]) -> None:
    hits, firing, without, silent = cells
    table = Table(firing + silent, firing, hits + without, hits)
    low, high = confint_proportions_2indep(hits, firing, without, silent, method="newcomb", compare="diff")
    scale = silent / (firing + silent)
    assert table.interval() == (pytest.approx(scale * low, abs=1e-9), pytest.approx(scale * high, abs=1e-9))
    assert table.difference == pytest.approx(scale * (hits / firing - without / silent))
    assert Table(9, 0, 3, 0).interval() == Table(9, 9, 3, 3).interval() == (None, None)
