"""Swaps with a prediction: counted by hand from the engine's own outcomes, controls run one by one."""

from collections.abc import Callable

import pytest
import torch

from codi_int.errors import ConfigError
from codi_int.interventions.edits.basic import Swap
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.patching.predicted_run import MATCHED, run_predicted
from codi_int.interventions.patching.predictions import ExchangeOperations, predict_answers
from codi_int.model.hooked import CodiModel
from codi_int.types import Outcome, Problem, Site

SITE, CLAIM = Site(2, 3), ExchangeOperations("multiplication", "addition")


@pytest.fixture(scope="module")
def engine(llama: CodiModel, sae_at: Callable) -> FeatureInterventionEngine:
    return FeatureInterventionEngine(llama, {SITE: sae_at(llama, SITE)})


def hit_rate(outcomes: tuple[Outcome, ...], wanted: list) -> float | None:
    """Share of the touched problems with a new predicted answer that gave it."""
    hits = [o.answer == want for o, want in zip(outcomes, wanted, strict=True) if o.touched and want is not None]
    return sum(hits) / len(hits) if hits else None


def test_hits_and_controls_are_those_of_runs_one_by_one(
    engine: FeatureInterventionEngine, problems: tuple[Problem, ...]
) -> None:
    predictions = predict_answers(CLAIM, problems)
    wanted = [row.answer if row.informative else None for row in predictions.rows]
    found = run_predicted(engine, Swap(4, 9), problems, predictions, controls=5, underpowered=True)
    plain = engine.run(Swap(4, 9), problems, controls=5)
    assert found.outcomes == plain.outcomes
    assert found.effect == plain.effect
    assert found.controls == plain.controls
    test = found.prediction
    assert test is not None
    assert test.controls is not None
    assert test.hit_rate == hit_rate(plain.outcomes["intervened"], wanted)
    assert test.controls.kind == MATCHED
    labels = plain.controls["random_features"].labels
    pairs = [tuple(int(word) for word in label.removeprefix("swap ").split(" with ")) for label in labels]
    rates = [hit_rate(engine.run(Swap(*pair), problems, controls=0).outcomes["intervened"], wanted) for pair in pairs]
    assert list(test.controls.hit_rates) == [rate for rate in rates if rate is not None]
    assert test.controls.n_without == rates.count(None)


def test_too_few_touched_problems_are_refused_before_the_edited_runs(
    engine: FeatureInterventionEngine, problems: tuple[Problem, ...]
) -> None:
    stages: list[str] = []
    predictions = predict_answers(CLAIM, problems)
    with pytest.raises(ConfigError, match=r"of the \d+ touched problems have a predicted answer .* it takes 10\d"):
        run_predicted(
            engine,
            Swap(4, 9),
            problems,
            predictions,
            progress=lambda stage, *_: stages.append(stage),
        )
    assert set(stages) <= {"clean pass"}


def test_a_dead_swap_is_an_answer_and_no_refusal(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: Callable
) -> None:
    sae = sae_at(llama, SITE)
    with torch.no_grad():
        sae.W_enc[:, [30, 31]] = 0.0
        sae.b_enc[[30, 31]] = 0.0
    engine = FeatureInterventionEngine(llama, {SITE: sae})
    found = run_predicted(engine, Swap(30, 31), problems, predict_answers(CLAIM, problems))
    assert "dead here" in found.effect.verdict
    assert found.prediction is not None
    assert (found.prediction.n_tested, found.prediction.p_value, found.prediction.controls) == (0, None, None)
