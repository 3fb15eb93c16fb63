"""Rounding is not an effect: an arm that adds nothing changes nothing, in whatever batches it runs."""

import torch

import codi_int as ci
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.suffix import LOGPROB_TOLERANCE, SuffixRunner
from codi_int.model.hooked import CodiModel
from codi_int.model.resume import SiteChange
from codi_int.types import Problem, Site

SITE = Site(2, 1)


def test_an_arm_that_adds_nothing_changes_nothing(llama: CodiModel, problems: tuple[Problem, ...]) -> None:
    engine = FeatureInterventionEngine(llama, {SITE: None})
    context, n = engine.site_context(problems), len(problems)
    change = SiteChange(SITE, torch.zeros(n, llama.d_model))
    nothing = ArmPlan("nothing", torch.arange(n), (change,), torch.ones(n, dtype=torch.bool))
    plans = [nothing] * 3
    raw = SuffixRunner(llama, context.clean, context.resume_point).run(plans)
    assert max(float((s.logprobs - context.clean.logprobs).abs().max()) for s in raw) < LOGPROB_TOLERANCE[torch.float32]
    for scores in engine.score(context, plans):
        assert torch.equal(scores.logprobs, context.clean.logprobs)
        assert torch.equal(scores.margins, context.clean.margins)


def test_a_change_beyond_rounding_stays(llama: CodiModel, problems: tuple[Problem, ...]) -> None:
    engine = FeatureInterventionEngine(llama, {SITE: None})
    context = engine.site_context(problems)
    plan = engine.plan(context, ci.ReplaceByMean())
    (raw,) = SuffixRunner(llama, context.clean, context.resume_point).run([plan])
    (scores,) = engine.score(context, [plan])
    moved = (raw.logprobs - context.clean.logprobs[plan.rows]).abs() > LOGPROB_TOLERANCE[torch.float32]
    assert moved.any()
    assert torch.allclose(scores.logprobs[moved & ~scores.rerun], raw.logprobs[moved & ~scores.rerun])
