"""Attribution against finite differences and against what integrated gradients must add up to."""

from collections.abc import Callable

import pytest
import torch

from codi_int.errors import ConfigError
from codi_int.interventions.edits.basic import Ablate, Amplify
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.screens.attribution import attribute, attribute_sites
from codi_int.model.hooked import CodiModel
from codi_int.sae import TopKSAE
from codi_int.types import Problem, Site

SITE = Site(2, 3)


@pytest.fixture(scope="module")
def engine(llama: CodiModel, sae_at: Callable[[CodiModel, Site], TopKSAE]) -> FeatureInterventionEngine:
    return FeatureInterventionEngine(llama, {SITE: sae_at(llama, SITE)})


@pytest.fixture(scope="module")
def context(engine: FeatureInterventionEngine, problems: tuple[Problem, ...]) -> SiteContext:
    return engine.site_context(problems)


def mean_change(engine: FeatureInterventionEngine, context: SiteContext, edit: Ablate | Amplify) -> float:
    """The exact mean change of the clean answers' log-probability."""
    plan = engine.plan(context, edit)
    (scores,) = engine.score(context, [plan])
    return float((scores.logprobs - context.clean.logprobs[plan.rows]).sum()) / len(context.clean.problems)


def test_gradient_is_the_slope_of_shrinking_a_feature(engine: FeatureInterventionEngine, context: SiteContext) -> None:
    predicted = attribute(engine, context).effects
    for feature in predicted.abs().argsort(descending=True)[:5].tolist():
        step = 0.01
        up, down = (mean_change(engine, context, Amplify(feature, 1 + s * step)) for s in (1, -1))
        slope = (down - up) / (2 * step)  # ablating goes all the way down: factor 1 to 0
        assert float(predicted[feature]) == pytest.approx(slope, rel=0.1, abs=2e-4)


def test_integrated_gradients_add_up_to_the_whole_change(
    engine: FeatureInterventionEngine, context: SiteContext
) -> None:
    everything = mean_change(engine, context, Ablate(tuple(range(32))))
    gaps = [abs(float(attribute(engine, context, steps).effects.sum()) - everything) for steps in (1, 24)]
    assert gaps[1] < 0.1 * abs(everything)
    assert gaps[1] < gaps[0]


def test_order_names_every_feature_strongest_first(engine: FeatureInterventionEngine, context: SiteContext) -> None:
    found = attribute(engine, context)
    order = found.order()
    assert sorted(order) == list(range(32))
    strengths = found.absolute[list(order)]
    assert bool((strengths[:-1] >= strengths[1:]).all())


def test_nothing_is_left_in_the_clean_pass(engine: FeatureInterventionEngine, context: SiteContext) -> None:
    before = mean_change(engine, context, Ablate(4))
    attribute(engine, context)
    assert mean_change(engine, context, Ablate(4)) == before
    assert not any(t.requires_grad for t in context.clean.rollouts.at(0).cache.keys)
    assert torch.is_grad_enabled()


SITES = (SITE, Site(0, 1), Site(3, 5), Site(1, 0), Site(None, 2, "thought"))


@pytest.mark.parametrize("kept", [slice(0, 3), slice(0, 5), slice(4, 5)])
@pytest.mark.parametrize("steps", [1, 3])
def test_one_backward_pass_gives_every_site_what_it_has_alone(
    model: CodiModel,
    problems: tuple[Problem, ...],
    sae_at: Callable[[CodiModel, Site], TopKSAE],
    kept: slice,
    steps: int,
) -> None:
    engine = FeatureInterventionEngine(model, {site: sae_at(model, site) for site in SITES[kept]})
    contexts = [engine.site_context(problems[:8], site) for site in engine.saes]
    together = attribute_sites(engine, contexts, steps)
    assert list(together) == list(SITES[kept])
    for context in contexts:
        alone = attribute(engine, context, steps)
        assert torch.allclose(together[context.site].effects, alone.effects, rtol=1e-3, atol=2e-3), context.site
        assert together[context.site].steps == steps
    assert model.n_hooks == 0


@pytest.mark.parametrize("propagate", ["cache", "recurrence"])
def test_a_cut_road_is_cut_for_the_gradient_too(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: Callable[[CodiModel, Site], TopKSAE], propagate: str
) -> None:
    sites = (SITE, Site(1, 5))
    engine = FeatureInterventionEngine(llama, {site: sae_at(llama, site) for site in sites}, propagate=propagate)
    contexts = [engine.site_context(problems, site) for site in sites]
    for site, found in attribute_sites(engine, contexts).items():
        feature = int(found.effects.abs().argmax())
        context = contexts[sites.index(site)]
        up, down = (mean_change(engine, context, Amplify(feature, 1 + s)) for s in (0.01, -0.01))
        assert float(found.effects[feature]) == pytest.approx((down - up) / 0.02, rel=0.1, abs=2e-4)


def test_no_steps_are_refused(engine: FeatureInterventionEngine, context: SiteContext) -> None:
    with pytest.raises(ConfigError, match="at least one step"):
        attribute(engine, context, steps=0)
