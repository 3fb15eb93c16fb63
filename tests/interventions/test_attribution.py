"""Attribution against finite differences and against what integrated gradients must add up to."""

from collections.abc import Callable

import pytest
import torch

from codi_int.errors import ConfigError
from codi_int.interventions.edits.basic import Ablate, Amplify
from codi_int.interventions.engine.engine import FeatureInterventionEngine, Scene
from codi_int.interventions.screens.attribution import attribute, attribute_sites
from codi_int.model.hooked import CodiModel
from codi_int.sae import TopKSAE
from codi_int.types import Problem, Site

SITE = Site(2, 3)


@pytest.fixture(scope="module")
def engine(llama: CodiModel, sae_at: Callable[[CodiModel, Site], TopKSAE]) -> FeatureInterventionEngine:
    return FeatureInterventionEngine(llama, {SITE: sae_at(llama, SITE)})


@pytest.fixture(scope="module")
def scene(engine: FeatureInterventionEngine, problems: tuple[Problem, ...]) -> Scene:
    return engine.scene(problems)


def mean_change(engine: FeatureInterventionEngine, scene: Scene, edit: Ablate | Amplify) -> float:
    """The exact mean change of the clean answers' log-probability."""
    plan = engine.plan(scene, edit)
    (scores,) = engine.score(scene, [plan])
    return float((scores.logprobs - scene.clean.logprobs[plan.rows]).sum()) / len(scene.clean.problems)


def test_gradient_is_the_slope_of_shrinking_a_feature(engine: FeatureInterventionEngine, scene: Scene) -> None:
    predicted = attribute(engine, scene).effects
    for feature in predicted.abs().argsort(descending=True)[:5].tolist():
        step = 0.01
        up, down = (mean_change(engine, scene, Amplify(feature, 1 + s * step)) for s in (1, -1))
        slope = (down - up) / (2 * step)  # ablating goes all the way down: factor 1 to 0
        assert float(predicted[feature]) == pytest.approx(slope, rel=0.1, abs=2e-4)


def test_integrated_gradients_add_up_to_the_whole_change(engine: FeatureInterventionEngine, scene: Scene) -> None:
    everything = mean_change(engine, scene, Ablate(tuple(range(32))))
    gaps = [abs(float(attribute(engine, scene, steps).effects.sum()) - everything) for steps in (1, 24)]
    assert gaps[1] < 0.1 * abs(everything)
    assert gaps[1] < gaps[0]


def test_order_names_every_feature_strongest_first(engine: FeatureInterventionEngine, scene: Scene) -> None:
    found = attribute(engine, scene)
    order = found.order()
    assert sorted(order) == list(range(32))
    strengths = found.absolute[list(order)]
    assert bool((strengths[:-1] >= strengths[1:]).all())


def test_nothing_is_left_in_the_clean_pass(engine: FeatureInterventionEngine, scene: Scene) -> None:
    before = mean_change(engine, scene, Ablate(4))
    attribute(engine, scene)
    assert mean_change(engine, scene, Ablate(4)) == before
    assert not any(t.requires_grad for t in scene.clean.shelf.at(0).cache.keys)
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
    scenes = [engine.scene(problems[:8], site) for site in engine.saes]
    together = attribute_sites(engine, scenes, steps)
    assert list(together) == list(SITES[kept])
    for scene in scenes:
        alone = attribute(engine, scene, steps)
        assert torch.allclose(together[scene.site].effects, alone.effects, rtol=1e-3, atol=2e-3), scene.site
        assert together[scene.site].steps == steps
    assert model.n_hooks == 0


@pytest.mark.parametrize("propagate", ["cache", "recurrence"])
def test_a_cut_road_is_cut_for_the_gradient_too(
    llama: CodiModel, problems: tuple[Problem, ...], sae_at: Callable[[CodiModel, Site], TopKSAE], propagate: str
) -> None:
    sites = (SITE, Site(1, 5))
    engine = FeatureInterventionEngine(llama, {site: sae_at(llama, site) for site in sites}, propagate=propagate)
    scenes = [engine.scene(problems, site) for site in sites]
    for site, found in attribute_sites(engine, scenes).items():
        feature = int(found.effects.abs().argmax())
        scene = scenes[sites.index(site)]
        up, down = (mean_change(engine, scene, Amplify(feature, 1 + s)) for s in (0.01, -0.01))
        assert float(found.effects[feature]) == pytest.approx((down - up) / 0.02, rel=0.1, abs=2e-4)


def test_no_steps_are_refused(engine: FeatureInterventionEngine, scene: Scene) -> None:
    with pytest.raises(ConfigError, match="at least one step"):
        attribute(engine, scene, steps=0)
