"""Baselines as the engine runs them: against hooks that do the same to the residual."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from codi_int.errors import ConfigError
from codi_int.interventions.edits.basic import Ablate
from codi_int.interventions.edits.combined import AtSites
from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.clean import CleanPass, RolloutCache
from codi_int.interventions.engine.comparison import control_set
from codi_int.interventions.engine.controls import Controls
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.summary import change_between
from codi_int.interventions.evidence.betting import estimate_bounded
from codi_int.model.hooked import CodiModel
from codi_int.model.resume import SiteChange
from codi_int.types import Outcome, Problem, Result, Site

SITE, OTHER, FEATURE = Site(2, 3), Site(1, 4), 17


@pytest.fixture(scope="module")
def engine(engine_at: Callable[..., FeatureInterventionEngine]) -> FeatureInterventionEngine:
    return engine_at(SITE, OTHER)


@pytest.fixture(scope="module")
def result(engine: FeatureInterventionEngine, right: tuple[Problem, ...]) -> Result:
    return engine.run(Ablate(FEATURE), right, controls=Controls(2, neurons=4, mean_difference=True), site=SITE)


def accuracy_change(engine: FeatureInterventionEngine, problems: tuple[Problem, ...], delta: torch.Tensor) -> float:
    """Change of accuracy when a hook adds `delta` [n, d_model] to the residuals."""
    place = {problem.id: i for i, problem in enumerate(problems)}

    def add(resid: torch.Tensor, context: object) -> torch.Tensor:
        return resid + delta[[place[name] for name in context.problem_ids]]  # type: ignore[attr-defined]

    with torch.no_grad(), engine.model.hooks({SITE: add}):
        after = engine.model.answer(problems)
    before = engine.model.answer(problems)
    pairs = zip(after, before, problems, strict=True)
    return sum((a.answer == p.answer) - (b.answer == p.answer) for a, b, p in pairs) / len(problems)


def test_neurons_do_what_a_hook_does(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], result: Result
) -> None:
    group = result.controls["single_neurons"]
    assert group.draws == 4
    x = engine.model.think(right, capture=[SITE]).captured[SITE]
    fires = engine.saes[SITE].encode(x).dense()[:, FEATURE] != 0
    for label, estimate in zip(group.labels, group.estimates, strict=True):
        neuron = int(label.split()[1])
        delta = torch.zeros_like(x)
        delta[fires, neuron] = x[:, neuron].mean() - x[fires, neuron]
        assert estimate == pytest.approx(accuracy_change(engine, right, delta))
    assert all(rate == pytest.approx(float(fires.float().mean())) for rate in group.firing_rates)


def test_the_difference_of_means_does_what_a_hook_does(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], result: Result
) -> None:
    group = result.controls["difference_of_means"]
    x, sae = engine.model.think(right, capture=[SITE]).captured[SITE], engine.saes[SITE]
    latents = sae.encode(x).dense()[:, FEATURE].detach()
    fires = latents != 0
    gap = x[fires].mean(0) - x[~fires].mean(0)
    gap /= gap.norm()
    far = ((x - x[~fires].mean(0)) @ gap).sign() * latents.abs() * sae.W_dec[FEATURE].detach().norm()
    assert group.estimates == (pytest.approx(accuracy_change(engine, right, -far[:, None] * gap)),)
    own = result.controls["random_features"]
    assert own.draws == 2
    assert group.edit_sizes[0] == pytest.approx(
        float((latents[fires].abs() * sae.W_dec[FEATURE].detach().norm()).mean()), rel=1e-4
    )


def test_baselines_are_left_out_where_they_mean_nothing(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...]
) -> None:
    asked = Controls(0, directions=2, neurons=2, mean_difference=True)
    plain = replace(asked, directions=0)
    assert engine.run(Ablate(31), right, site=SITE, controls=asked).controls == {}  # it never fires
    two = AtSites({SITE: Ablate(FEATURE), OTHER: Ablate(4)})
    assert engine.run(two, right, controls=asked).controls.keys() == {"random_directions"}
    everywhere = engine.run(
        Ablate(tuple(range(31))), right, site=SITE, controls=plain
    )  # something fires on every problem
    assert everywhere.controls.keys() == {"single_neurons"}
    with pytest.raises(ConfigError, match="cannot be negative"):
        engine.run(Ablate(4), right, site=SITE, controls=Controls(neurons=-1))


def test_loose_numbers_are_the_record_and_warn(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], result: Result
) -> None:
    loose_words = {"neurons": 4, "mean_difference": True}
    match = r"controls=Controls\(neurons=4, mean_difference=True\)"
    with pytest.warns(DeprecationWarning, match=match) as warned:
        loose = engine.run(Ablate(FEATURE), right, controls=2, site=SITE, **loose_words)
    with pytest.warns(DeprecationWarning, match=match) as warned_of_many:
        (many,) = engine.run_many([Ablate(FEATURE)], right, controls=2, site=SITE, **loose_words)
    # the line to mend, not one of the engine's
    assert [warning.filename for warning in (*warned, *warned_of_many)] == [__file__, __file__]
    assert many.controls == result.controls
    assert loose.controls == result.controls
    assert engine.run(Ablate(FEATURE), right, controls=None, site=SITE).controls == {}
    with pytest.raises(ConfigError, match="beside a record"):
        engine.run(Ablate(FEATURE), right, controls=Controls(), site=SITE, neurons=4)


@pytest.mark.parametrize("wrong", [{"features": -1}, {"neurons": -1}, {"mean_difference": True, "directions": -2}])
def test_a_record_of_controls_is_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="cannot be negative"):
        Controls(**wrong)


@pytest.mark.parametrize("wrong", [{"features": 2.5}, {"features": True}, {"directions": "3"}])
def test_a_number_of_controls_is_a_whole_one(wrong: dict[str, Any]) -> None:
    given = vars(Controls()) | wrong
    with pytest.raises(ConfigError, match="is a whole number"):
        # called by itself, for the checker of annotations refuses such values before the record is made
        Controls.__post_init__(SimpleNamespace(**given))


def test_a_setting_that_does_not_exist_is_refused(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...]
) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'direction'"):
        engine.run(Ablate(FEATURE), right, site=SITE, direction=4)


def test_a_control_that_does_just_as_much_counts_half(llama: CodiModel) -> None:
    """97 and 98 right of 100: the difference of these means is not 1 / 100 to the last digit."""
    problems = tuple(Problem(str(i), "?", 1, ()) for i in range(100))
    outcomes = tuple(Outcome(str(i), int(i >= 3), i >= 3, -1.0, touched=False) for i in range(100))
    nowhere = torch.zeros(100, dtype=torch.long)
    clean = CleanPass(
        problems=problems,
        batches=(),
        rollouts=RolloutCache(llama, (), (), 0),
        activations={},
        logprobs=torch.zeros(100),
        margins=torch.zeros(100),
        outcomes=outcomes,
        batch_of=nowhere,
        row_of=nowhere,
    )
    fixes_one = torch.tensor([0])
    arm = ArmPlan("control", fixes_one, (SiteChange(SITE, torch.ones(1, 4)),), torch.arange(100) == 0)
    scores = ArmScores(
        logprobs=torch.tensor([-1.0]),
        answers=(1,),
        changed=torch.tensor([True]),
        rerun=torch.tensor([False]),
        margins=torch.tensor([2.0]),
    )
    # the edit breaks one that was right, and so does just as much
    other = replace(outcomes[50], correct=False, touched=True)
    change = change_between(outcomes, [*outcomes[:50], other, *outcomes[51:]])
    found = control_set(clean, outcomes, [arm], scores=[scores], arm=arm, change=change)
    assert found.rank_of_effect == 0.5
    assert found.p_value == 1.0
    assert found.difference is not None
    assert found.difference.value == pytest.approx(-0.02)
    # fifty pairs of problems are fifty observations: the interval of the difference is theirs
    pairs = np.arange(100) // 2
    again = control_set(clean, outcomes, [arm], scores=[scores], arm=arm, change=replace(change, clusters=pairs))
    expected = estimate_bounded(change.accuracy - np.eye(100)[0], 2.0, clusters=pairs)
    assert again.difference is not None
    assert (again.difference.low, again.difference.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert again.difference.low < found.difference.low
    assert again.difference.method == "betting interval, by cluster"
