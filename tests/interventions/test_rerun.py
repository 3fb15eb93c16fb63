"""Rows that write something else or are too close to call: run again in one shape, and so as they would be alone."""

from collections.abc import Callable

import pytest
import torch

from codi_int.interventions.edits.basic import Ablate, Amplify
from codi_int.interventions.edits.combined import AtSites
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.naive import rerun_plan
from codi_int.interventions.engine.suffix import SuffixRunner
from codi_int.types import Problem, Site

SITE, OTHER = Site(2, 3), Site(3, 4)
EDITS = (Ablate(4), Amplify(17, 6.0), AtSites({SITE: Ablate(9), OTHER: Amplify(3, 4.0)}))


@pytest.fixture
def engine(engine_at: Callable[..., FeatureInterventionEngine]) -> FeatureInterventionEngine:
    return engine_at(SITE, OTHER)


@pytest.mark.parametrize("budget", [0, 2**30])
def test_rows_that_run_again_are_those_of_the_whole_model(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...], monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    """With a tolerance that no margin reaches every row is close; shapes are smaller than what there is to run."""
    monkeypatch.setattr("codi_int.interventions.engine.suffix.MARGIN_TOLERANCE", {torch.float32: torch.inf})
    monkeypatch.setattr("codi_int.interventions.engine.suffix.CANONICAL_ROWS", 7)
    engine = FeatureInterventionEngine(engine.model, engine.saes, memory_budget=budget)
    context = engine.site_context(right, SITE)
    plans = [engine.plan(context, edit) for edit in EDITS]
    found = SuffixRunner(engine.model, context.clean, context.resume_point).run(plans)
    for plan, scores in zip(plans, found, strict=True):
        whole = rerun_plan(engine.model, context.clean, plan)
        assert scores.rerun.all()
        torch.testing.assert_close(scores.logprobs, whole.logprobs, atol=3e-5, rtol=0)
        torch.testing.assert_close(scores.margins, whole.margins, atol=2e-4, rtol=0)
        assert torch.equal(scores.changed, whole.changed)
        assert scores.answers == whole.answers
    assert any(scores.changed.any() for scores in found)


def test_what_runs_again_does_not_depend_on_the_chunks(
    engine: FeatureInterventionEngine, right: tuple[Problem, ...]
) -> None:
    context = engine.site_context(right, SITE)
    plans = [engine.plan(context, edit) for edit in EDITS]
    large, small, alone = (
        SuffixRunner(engine.model, context.clean, context.resume_point, max_rows=rows).run(some)
        for rows, some in ((512, plans), (65, plans), (512, plans[1:2]))
    )
    assert large[1].changed.any()
    for a, b in ((large[1], small[1]), (large[1], alone[0]), (large[0], small[0])):
        again = a.changed | a.rerun
        assert torch.equal(a.logprobs[again], b.logprobs[again])
        assert torch.equal(a.margins[again], b.margins[again])
        assert a.answers == b.answers
        torch.testing.assert_close(a.logprobs, b.logprobs, atol=3e-5, rtol=0)
