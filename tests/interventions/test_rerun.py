"""Rows that are too close to call: run again together, and every one as it would be alone."""

from collections.abc import Callable

import torch

from codi_int.interventions.edits.basic import Ablate, Amplify
from codi_int.interventions.edits.combined import AtSites
from codi_int.interventions.engine.arms import ArmScores
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.naive import _group_passes, rerun_close, rerun_plan
from codi_int.types import Problem, Site

SITE, OTHER = Site(2, 3), Site(3, 4)


def test_close_rows_of_different_arms_share_runs_of_the_model(
    right: tuple[Problem, ...], engine_at: Callable[..., FeatureInterventionEngine]
) -> None:
    engine = engine_at(SITE, OTHER)
    context = engine.site_context(right, SITE)
    edits = (Ablate(4), Amplify(17, 6.0), AtSites({SITE: Ablate(9), OTHER: Amplify(3, 4.0)}))
    plans = [engine.plan(context, edit) for edit in edits]
    slow = [rerun_plan(engine.model, context.clean, plan) for plan in plans]
    draw = torch.Generator().manual_seed(0)
    doubted = [torch.rand(len(plan.rows), generator=draw) < 0.4 for plan in plans]
    blank = [
        ArmScores(torch.full(close.shape, torch.nan), (None,) * len(close), torch.zeros_like(close), close)
        for close in doubted
    ]
    with torch.no_grad():
        found = rerun_close(engine.model, context.clean, plans, blank)
    for scores, whole, close in zip(found, slow, doubted, strict=True):
        assert torch.equal(scores.logprobs[~close].isnan(), torch.ones(int((~close).sum()), dtype=torch.bool))
        torch.testing.assert_close(scores.logprobs[close], whole.logprobs[close], atol=1e-5, rtol=0)
        assert torch.equal(scores.changed[close], whole.changed[close])
        assert [a for a, c in zip(scores.answers, close, strict=True) if c] == [
            a for a, c in zip(whole.answers, close, strict=True) if c
        ]
    rows = torch.cat([plan.rows[close] for plan, close in zip(plans, doubted, strict=True)])
    assert len(_group_passes(rows)) == int(rows.bincount().max())
    assert sorted(torch.cat(_group_passes(rows)).tolist()) == list(range(len(rows)))
