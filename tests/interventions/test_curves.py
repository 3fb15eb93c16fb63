"""Cumulative ablation against hooks on the whole model, and rankings against what they are made of."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from statsmodels.stats.multitest import multipletests

from codi_int.data.problems import problems_sha256
from codi_int.errors import ConfigError, FeatureError
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.screens.curves import AblationCurve, default_sizes, run_curve
from codi_int.interventions.screens.ranked_curves import run_ranked_curve
from codi_int.interventions.screens.rankings import rank_features
from codi_int.interventions.screens.screen import run_screen
from codi_int.interventions.screens.sides import SelectionPlan
from codi_int.types import Problem, Site

SITE = Site(2, 3)
RANKING = (17, 4, 31, 9, 2, 30, 5)


@pytest.fixture(scope="module")
def engine(engine_at: Callable[..., FeatureInterventionEngine]) -> FeatureInterventionEngine:
    return engine_at(SITE)


@pytest.fixture(scope="module")
def found(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> AblationCurve:
    return run_curve(engine, right, RANKING, sizes=(1, 3, 6), draws=3, seed=2)


def accuracy_without(engine: FeatureInterventionEngine, problems: tuple[Problem, ...], features: list[int]) -> float:
    """Accuracy when a hook takes the features' part out of the residual."""
    sae = engine.saes[SITE]

    def hook(resid: torch.Tensor, context: object) -> torch.Tensor:
        return resid - sae.encode(resid).dense()[:, features] @ sae.W_dec[features]

    with torch.no_grad(), engine.model.hooks({SITE: hook}):
        answers = engine.model.answer(problems)
    return float(np.mean([a.answer == p.answer for a, p in zip(answers, problems, strict=True)]))


def test_points_are_what_a_hook_does(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], found: AblationCurve
) -> None:
    assert found.features == (17, 4, 9, 2, 30, 5)  # the dead one is passed over
    clean = accuracy_without(engine, right, [])
    for point, n in zip(found.top, (1, 3, 6), strict=True):
        expected = accuracy_without(engine, right, list(found.features[:n]))
        assert (point.n, point.accuracy) == (n, pytest.approx(expected))
        assert point.estimate == pytest.approx(expected - clean)
        assert point.low <= point.estimate <= point.high
    assert found.top[-1].accuracy < clean
    assert found.n_living == 31


def test_random_sets_take_out_as_much_and_come_from_the_seed(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], found: AblationCurve
) -> None:
    assert [len(line) for line in found.random] == [3, 3, 3]
    for i, (point, one) in enumerate(zip(found.top, found.comparisons, strict=True)):
        others = [line[i] for line in found.random]
        assert len({other.logprob for other in others}) > 1
        near = [other for other in others if _near(other.latents, point.latents) and _near(other.norm, point.norm)]
        assert (one.n, one.n_near) == (point.n, len(near))
        assert one.latents_median == pytest.approx(np.median([other.latents for other in others]))
    again = run_curve(engine, right, RANKING, sizes=(1, 3, 6), draws=3, seed=2)
    assert (again.top, again.random) == (found.top, found.random)
    other = run_curve(engine, right, RANKING, sizes=(1,), draws=3, seed=3)
    assert [line[0] for line in other.random] != [line[0] for line in found.random]


def _near(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and 1 / 1.5 <= one / other <= 1.5


def test_what_a_set_takes_out_is_what_a_loop_adds_up(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], found: AblationCurve
) -> None:
    context = engine.site_context(right)
    features = found.features[:3]
    counts, norms = [], []
    for row in context.latents:
        parts = [float(row[f]) * context.sae.W_dec[f].detach() for f in features if row[f] != 0]
        counts.append(len(parts))
        norms.append(float(sum(parts).norm()) if parts else 0.0)
    assert found.top[1].latents == pytest.approx(np.mean(counts))
    assert found.top[1].norm == pytest.approx(np.mean(norms), rel=1e-5)


def test_sets_are_compared_problem_by_problem(found: AblationCurve) -> None:
    for point, one in zip(found.top, found.comparisons, strict=True):
        others = [line[found.top.index(point)].estimate for line in found.random]
        assert one.difference.value == pytest.approx(point.estimate - np.mean(others))
        as_strong = sum(abs(other) >= abs(point.estimate) - 1e-12 for other in others)
        assert one.rank_p == (1 + as_strong) / 4
    adjusted = multipletests([one.difference.p_value for one in found.comparisons], method="holm")[1]
    assert [one.difference.p_adjusted for one in found.comparisons] == pytest.approx(list(adjusted))


def test_all_living_features_are_one_set(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> None:
    found = run_curve(engine, right, range(32), sizes=(500, 31), draws=2)
    assert [point.n for point in found.top] == [31]
    assert [line[0].estimate for line in found.random] == [found.top[0].estimate] * 2
    # a comparison would be of the set with itself
    assert found.comparisons == ()
    assert found.counts.pairs == len(right)  # run once
    everything = accuracy_without(engine, right, list(range(32)))
    assert found.top[0].accuracy == pytest.approx(everything)


def test_a_curve_is_measured_on_other_problems_than_ranked_it(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...]
) -> None:
    plan = SelectionPlan(confirm=right[12:])
    found = run_ranked_curve(engine, right[:12], "frequency", selection=plan, sizes=(2,), draws=2)
    assert found.n_problems == 12
    assert found.ranked_sha256 == problems_sha256(right[:12])
    assert found.environment.data_sha256 == problems_sha256(right[12:])
    ranking = rank_features(engine, right[:12], "frequency")
    expected = run_curve(engine, right[12:], ranking, sizes=(2,), draws=2)
    assert found.top == expected.top


def test_two_folds_rank_for_each_other(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> None:
    found = run_ranked_curve(engine, right, "frequency", sizes=(2,), draws=0)
    other = found.exchanged
    assert other is not None
    assert found.n_problems + other.n_problems == len(right)
    assert (found.ranked_sha256, other.ranked_sha256) == (
        other.environment.data_sha256,
        found.environment.data_sha256,
    )
    assert found.data.endswith("fold 2 of 2")


def test_a_screen_that_ranks_the_same_problems_brings_its_family(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...]
) -> None:
    plan = SelectionPlan(correction="bh", confirm="none")
    by_screen = run_ranked_curve(engine, right, "screen", selection=plan, sizes=(2,), draws=0)
    by_frequency = run_ranked_curve(engine, right, "frequency", selection=plan, sizes=(2,), draws=0)
    assert by_screen.selection is not None
    assert by_frequency.selection is not None
    tested = sum(bool(row.testable) for row in run_screen(engine, right).rows)
    assert (by_screen.selection.n_tested, by_frequency.selection.n_tested) == (tested + 1, 1)


def test_default_sizes_double() -> None:
    assert default_sizes(31) == (1, 2, 4, 8, 16, 31)
    assert default_sizes(8) == (1, 2, 4, 8)
    assert default_sizes(1) == (1,)


def test_rankings_are_what_they_say(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> None:
    rows = run_screen(engine, right).rows
    by_screen = rank_features(engine, right, "screen")
    assert [abs(rows[f].logprob) for f in by_screen] == sorted((abs(r.logprob) for r in rows), reverse=True)
    by_frequency = rank_features(engine, right, "frequency")
    assert [rows[f].firing_rate for f in by_frequency] == sorted((r.firing_rate for r in rows), reverse=True)
    by_attribution = rank_features(engine, right, "attribution")
    assert sorted(by_attribution) == sorted(by_screen) == list(range(32))
    assert len(set(by_attribution[:10]) & set(by_screen[:10])) >= 5


def test_curves_that_cannot_be_are_refused(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> None:
    for ranking, more, says in (
        ([4], {"sizes": [0]}, "start at 1"),
        ([4], {"draws": -1}, "cannot be negative"),
        ([4, 4], {}, "twice"),
        ([31], {}, "No feature of the ranking fires"),
    ):
        with pytest.raises(ConfigError, match=says):
            run_curve(engine, right, ranking, **more)
    with pytest.raises(FeatureError, match="0 to 31"):
        run_curve(engine, right, [32])
    with pytest.raises(ConfigError, match="order='beauty'"):
        rank_features(engine, right, "beauty")


def test_answers_that_an_ablation_mends_count_as_right(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], found: AblationCurve
) -> None:
    """The true answers are those that the model gives without the features, so that ablating them mends some."""
    features = list(found.features[:6])
    sae = engine.saes[SITE]

    def hook(resid: torch.Tensor, context: object) -> torch.Tensor:
        return resid - sae.encode(resid).dense()[:, features] @ sae.W_dec[features]

    with torch.no_grad(), engine.model.hooks({SITE: hook}):
        answers = engine.model.answer(right)
    mended = tuple(p if a.answer is None else replace(p, answer=a.answer) for p, a in zip(right, answers, strict=True))
    (point,) = run_curve(engine, mended, RANKING, sizes=(6,), draws=0).top
    assert point.effect.n_fixed > point.effect.n_broken
    assert point.accuracy == pytest.approx(accuracy_without(engine, mended, features))
