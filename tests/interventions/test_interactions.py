"""Pairs against hooks that ablate two features in the middle of the model, and their tests against scipy."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from scipy.stats import false_discovery_control, permutation_test, wilcoxon

from codi_int.errors import ConfigError, FeatureError
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.screens import groups
from codi_int.interventions.screens.additivity import PairRow, measure_interaction
from codi_int.interventions.screens.interactions import run_pairs
from codi_int.interventions.screens.screen import Checkpoint, Screen, ScreenRow, run_screen
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


def test_p_values_are_adjusted_over_the_pairs(found: Screen) -> None:
    tested = [row.interaction_logprob for row in found.pairs if row.interaction_logprob.p_value is not None]
    assert len(tested) == 3
    expected = false_discovery_control([one.p_value for one in tested])
    assert [one.p_adjusted for one in tested] == pytest.approx(list(expected))


def test_interaction_is_tested_as_scipy_does() -> None:
    generator = np.random.default_rng(0)
    joint, a, b = generator.normal(0.3, 1, 60), generator.normal(0, 1, 60), generator.normal(0, 1, 60)
    smooth = measure_interaction(joint, [a, b])
    assert smooth.p_value == pytest.approx(wilcoxon(joint - a - b).pvalue)
    assert smooth.estimate == pytest.approx((joint - a - b).mean())
    assert smooth.low < smooth.estimate < smooth.high
    flips = np.array([1.0, -1, 1, 1, 1, 0, 0, 1])
    coarse = measure_interaction(flips, [np.zeros(8), np.zeros(8)], method="permutation")
    exact = permutation_test((flips[flips != 0],), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert coarse.p_value == pytest.approx(exact.pvalue)
    assert measure_interaction(a + b, [a, b]).estimate == pytest.approx(0.0)


def test_an_interaction_that_is_not_there_is_rarely_found() -> None:
    generator = np.random.default_rng(1)
    p_values = []
    for _ in range(400):  # of the interval nothing is asked here: two draws will do
        a, b = generator.normal(size=40), generator.normal(size=40)
        p_values.append(measure_interaction(a + b + generator.normal(size=40), [a, b], resamples=2).p_value)
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.03)


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
