"""Rounding is not an effect: an arm that adds nothing changes nothing, in whatever batches it runs."""

import torch

import codi_int as ci
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.suffix import LOGPROB_TOLERANCE, SuffixRunner
from codi_int.model.hooked import CodiModel
from codi_int.types import Problem, Site

SITE = Site(2, 1)


def test_an_arm_that_adds_nothing_changes_nothing(llama: CodiModel, problems: tuple[Problem, ...]) -> None:
    engine = FeatureInterventionEngine(llama, {SITE: None})
    scene, n = engine.scene(problems), len(problems)
    nothing = ArmPlan("nothing", torch.arange(n), torch.zeros(n, llama.d_model), torch.ones(n, dtype=torch.bool))
    plans = [nothing] * 3
    raw = SuffixRunner(llama, scene.clean, scene.landing).run(plans)
    assert max(float((s.logprobs - scene.clean.logprobs).abs().max()) for s in raw) < LOGPROB_TOLERANCE[torch.float32]
    for scores in engine.score(scene, plans):
        assert torch.equal(scores.logprobs, scene.clean.logprobs)


def test_a_change_beyond_rounding_stays(llama: CodiModel, problems: tuple[Problem, ...]) -> None:
    engine = FeatureInterventionEngine(llama, {SITE: None})
    scene = engine.scene(problems)
    plan = engine.plan(scene, ci.ReplaceByMean())
    (raw,) = SuffixRunner(llama, scene.clean, scene.landing).run([plan])
    (scores,) = engine.score(scene, [plan])
    moved = (raw.logprobs - scene.clean.logprobs[plan.rows]).abs() > LOGPROB_TOLERANCE[torch.float32]
    assert moved.any()
    assert torch.allclose(scores.logprobs[moved & ~scores.rerun], raw.logprobs[moved & ~scores.rerun])
