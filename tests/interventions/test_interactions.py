"""Pairs against hooks that ablate two features in the middle of the model, and their tests against scipy."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import permutation_test
from statsmodels.stats.multitest import multipletests

from codi_int.data.problems import load_problems
from codi_int.errors import ConfigError, FeatureError
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.evidence.betting import estimate_bounded
from codi_int.interventions.evidence.mean import estimate_mean
from codi_int.interventions.screens import additivity, groups
from codi_int.interventions.screens.additivity import PairRow, judge_pairs, measure_interaction, pair_row
from codi_int.interventions.screens.changes import ArmChange
from codi_int.interventions.screens.interactions import run_pairs
from codi_int.interventions.screens.screen import Checkpoint, Screen, ScreenRow, run_screen
from codi_int.interventions.screens.sides import SelectionPlan, Sides
from codi_int.types import Problem, Site

SITE = Site(2, 3)
PAIRS = ((4, 17), (17, 3), (2, 9), (31, 4))


@pytest.fixture(scope="module")
def engine(engine_at: Callable[..., FeatureInterventionEngine]) -> FeatureInterventionEngine:
    return engine_at(SITE)


@pytest.fixture(scope="module")
def found(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> Screen:
    return run_pairs(engine, right, PAIRS)


def correct_under_hook(engine: FeatureInterventionEngine, problems: Sequence[Problem], features: list[int]) -> list:
    """Which problems are right when a plain hook takes the features' part out of the residual."""
    sae = engine.saes[SITE]

    def hook(resid: torch.Tensor, context: object) -> torch.Tensor:
        return resid - sae.encode(resid).dense()[:, features] @ sae.W_dec[features]

    with torch.no_grad(), engine.model.hooks({SITE: hook}):
        answers = engine.model.answer(problems)
    return [a.answer == p.answer for a, p in zip(answers, problems, strict=True)]


def test_joint_effects_are_those_of_a_hook(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], found: Screen
) -> None:
    clean = correct_under_hook(engine, right, [])
    for row in found.pairs:
        joint, first, second = (correct_under_hook(engine, right, f) for f in ([row.a, row.b], [row.a], [row.b]))
        assert row.n_broken == sum(c and not j for c, j in zip(clean, joint, strict=True))
        assert row.n_fixed == sum(j and not c for c, j in zip(clean, joint, strict=True))
        departures = [int(j) - int(a) - int(b) + int(c) for j, a, b, c in zip(joint, first, second, clean, strict=True)]
        assert row.interaction.estimate == pytest.approx(np.mean(departures))
        assert row.interaction.n_departing == np.count_nonzero(departures)
    assert sum(row.n_broken for row in found.pairs) > 3


def test_parts_are_those_of_the_screen(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], found: Screen
) -> None:
    singles = run_screen(engine, right, features=[2, 3, 4, 9, 17, 31])
    for row, other in zip(found.rows, singles.rows, strict=True):
        assert row.feature == other.feature
        assert row.estimate == other.estimate
        assert row.logprob == pytest.approx(other.logprob, abs=1e-5)
    of = {row.feature: row for row in singles.rows}
    for pair in found.pairs:
        assert (pair.estimate_a, pair.estimate_b) == (of[pair.a].estimate, of[pair.b].estimate)
        both = pair.logprob - pair.logprob_a - pair.logprob_b
        assert pair.interaction_logprob.estimate == pytest.approx(both, abs=1e-6)


def test_only_problems_on_which_both_fire_can_depart(found: Screen) -> None:
    for row in found.pairs:
        assert row.interaction_logprob.n_departing <= row.n_both <= row.n_touched
    dead = next(row for row in found.pairs if row.b == 31)
    assert (dead.n_both, dead.interaction.p_value, dead.interaction_logprob.p_value) == (0, None, None)
    assert dead.estimate == dead.estimate_a


def test_departures_are_a_family(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> None:
    found = run_pairs(engine, right, PAIRS, selection=SelectionPlan(correction="holm"))
    tested = [row.interaction for row in found.pairs if row.additivity != "untested" and row.n_both]
    expected = multipletests([one.p_value for one in tested], method="holm")[1]
    assert [one.p_adjusted for one in tested] == pytest.approx(list(expected))
    assert found.pair_selection is not None
    assert found.pair_selection.n_tested == len(tested)
    # a pair that never fires together adds up exactly: nothing is tested
    dead = next(row for row in found.pairs if row.b == 31)
    assert (dead.additivity, dead.interaction.p_adjusted) == ("untested", None)


def test_a_pair_that_fires_together_too_seldom_is_no_member() -> None:
    problems = load_problems("stories:validation", limit=80)
    sides = Sides(problems, SelectionPlan(confirm="none"))
    fires, touched = np.zeros((2, 80), dtype=np.bool_), np.arange(80) < 20
    fires[0], fires[1] = touched, np.arange(80) >= 17

    def change(flips: np.ndarray, where: np.ndarray) -> ArmChange:
        return ArmChange(flips, flips * 0.0, where, flips != 0, clusters=sides.clusters)

    parts = [change(np.zeros(80), one) for one in fires]
    # both fire on three problems, and depart there; another pair on twenty, and departs on eight of them
    rare = pair_row((1, 2), SITE, change(-1.0 * (fires[0] & fires[1]), fires.any(0)), parts, sides)
    often = pair_row((1, 3), SITE, change(-1.0 * (np.arange(80) < 8), touched), [parts[0], parts[0]], sides)
    assert (rare.n_both, rare.testable_departure, often.testable_departure) == (3, False, True)
    (first, second), selection = judge_pairs([rare, often], sides, lambda keys: pytest.fail("nothing confirms"))
    assert (first.additivity, first.interaction.p_adjusted) == ("untested", None)
    assert (second.additivity, second.selected) == ("changed", True)
    assert (selection.n_tested, selection.n_untested) == (1, 1)


def test_no_departure_of_arms_of_one_baseline_is_larger_than_two() -> None:
    departures = [(j - c) - (a - c) - (b - c) for c, j, a, b in product((0, 1), repeat=4)]
    assert max(map(abs, departures)) == additivity.MOST


def test_a_pair_is_equivalent_where_its_mean_departure_is_surely_within_the_bound() -> None:
    problems = load_problems("stories:validation", limit=240)
    sides = Sides(problems, SelectionPlan(confirm="none", bound=0.05))
    index = np.arange(240)

    def row(name: int, departs: np.ndarray, n_both: int) -> PairRow:
        both = index < n_both
        parts = [ArmChange(*np.zeros((2, 240)), both, index < 0, clusters=sides.clusters)] * 2
        joint = ArmChange(-1.0 * departs, np.zeros(240), both, departs, clusters=sides.clusters)
        return pair_row((name, name + 1), SITE, joint, parts, sides)

    rows = [row(1, index < 0, 60), row(3, index < 50, 60), row(5, index < 5, 60), row(7, index < 0, 0)]
    judged, selection = judge_pairs(rows, sides, lambda keys: pytest.fail("nothing confirms"))
    # the third departs on 5 of 240: neither surely there nor surely within 5 points
    assert [one.additivity for one in judged] == ["equivalent", "changed", "unresolved", "untested"]
    first, second, third, never = (one.interaction for one in judged)
    assert first.p_equivalence is not None
    assert first.p_equivalence < 0.05 < min(second.p_equivalence or 0.0, third.p_equivalence or 0.0)
    asked = [first.p_equivalence, second.p_equivalence, third.p_equivalence]
    adjusted = multipletests(asked, method="fdr_bh")[1]
    assert [one.p_equivalence_adjusted for one in (first, second, third)] == pytest.approx(list(adjusted))
    assert never.p_equivalence is None
    # parts that add up on all 240 problems may fail to on others
    assert first.low is not None
    assert first.high is not None
    assert -0.08 < first.low < 0.0 < first.high < 0.08
    assert selection.bound == 0.05


def test_that_parts_add_up_is_claimed_wrongly_in_a_twentieth_at_most() -> None:
    generator, bound, n = np.random.default_rng(2), 0.1, 400
    # exactly at the border: a mean departure of -0.1, from steps of one and of two
    draws = [generator.choice([-2.0, -1.0, 0.0, 1.0], n, p=[0.03, 0.06, 0.89, 0.02]) for _ in range(400)]
    assert np.mean([-0.06 - 0.06 + 0.02]) == pytest.approx(-bound)
    p_values = additivity.departure_equivalence(draws, bound)
    assert np.mean(np.array(p_values) < 0.05) <= 0.05
    inside = [generator.choice([-1.0, 0.0, 1.0], n, p=[0.02, 0.96, 0.02]) for _ in range(40)]
    assert np.mean(np.array(additivity.departure_equivalence(inside, bound)) < 0.05) > 0.5
    # the two one-sided tests are the interval of twice the level
    some = [*draws[:20], *inside[:20]]
    for values, p_value in zip(some, additivity.departure_equivalence(some, bound), strict=True):
        found = estimate_bounded(values, 2.0, confidence=0.9)
        assert found.low is not None
        assert found.high is not None
        assert (p_value < 0.05) == (-bound < found.low and found.high < bound)


def test_how_many_problems_show_that_parts_add_up() -> None:
    fewest = additivity.fewest_for_additivity(0.02)
    at, before = (additivity.departure_equivalence([np.zeros(n)], 0.02)[0] for n in (fewest, fewest - 1))
    assert at < 0.05 <= before


def test_departures_are_tested_by_flipping_signs_and_by_bootstrap_t() -> None:
    generator = np.random.default_rng(0)
    smooth = generator.normal(0.3, 1, 60)
    found = measure_interaction(smooth)
    expected = estimate_mean(smooth)
    assert (found.estimate, found.low, found.p_value) == (expected.value, expected.low, expected.p_value)
    flips = np.array([1.0, -1, 2, 1, 1, 0, 0, 1])
    coarse = measure_interaction(flips, "accuracy")
    exact = permutation_test((flips[flips != 0],), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert coarse.p_value == pytest.approx(exact.pvalue)
    assert coarse.estimate == pytest.approx(flips.mean())
    assert (coarse.low, coarse.high) == pytest.approx((lambda e: (e.low, e.high))(estimate_bounded(flips, 2.0)))
    assert measure_interaction(np.zeros(5)).p_value is None


def test_an_interaction_that_is_not_there_is_rarely_found() -> None:
    generator = np.random.default_rng(1)
    p_values = []
    for _ in range(400):
        flips = generator.choice([-2.0, -1, 0, 1, 2], 40, p=[0.05, 0.2, 0.5, 0.2, 0.05])
        p_values.append(measure_interaction(flips, "accuracy").p_value)
    assert np.mean(np.array(p_values) < 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)


def test_interrupted_pairs_go_on_where_they_stopped(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "ROWS_PER_GROUP", 20)
    at_once = run_pairs(engine, right, PAIRS)
    kept: list[tuple[Sequence[ScreenRow], Sequence[PairRow]]] = []

    def keep(rows: Sequence[ScreenRow], pairs: Sequence[PairRow]) -> None:
        kept.append((rows, pairs))
        if len(kept) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_pairs(engine, right, PAIRS, checkpoint=Checkpoint(keep=keep))
    rows, pairs = kept[-1]
    assert 0 < len(pairs) < 4
    whole = run_pairs(engine, right, PAIRS, checkpoint=Checkpoint(rows, pairs))
    assert whole.counts.suffix_rows < at_once.counts.suffix_rows
    assert (whole.rows, whole.pairs) == (at_once.rows, at_once.pairs)


def test_pairs_that_cannot_be_are_refused(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> None:
    with pytest.raises(ConfigError, match="Feature 4 cannot be paired with itself"):
        run_pairs(engine, right, [(4, 4)])
    with pytest.raises(ConfigError, match="no pairs"):
        run_pairs(engine, right, [])
    with pytest.raises(FeatureError, match="0 to 31"):
        run_pairs(engine, right, [(4, 32)])
    with pytest.raises(ConfigError, match="splice"):
        run_pairs(FeatureInterventionEngine(engine.model, engine.saes, splice="replace"), right, [(4, 5)])


def test_a_pair_given_twice_is_run_once(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> None:
    assert [(row.a, row.b) for row in run_pairs(engine, right, [(9, 2), (2, 9)]).pairs] == [(2, 9)]
