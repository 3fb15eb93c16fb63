"""What is frequent or readable against what matters: scipy's coefficients, and draws of whole calculations."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr, t

from codi_int.data.chains import cluster_problems
from codi_int.data.stories import load_stories
from codi_int.errors import ConfigError
from codi_int.features.profiles import profile_features
from codi_int.features.relevance import (
    EFFECTS,
    OTHER_HALF,
    FeatureEffects,
    _leave_out,
    measure_effects,
    read_by_probe,
    relate_features,
    relate_sites,
)
from codi_int.interventions.edits.basic import Ablate
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.sae import Provenance, SAEConfig, TopKSAE
from codi_int.types import Problem, Site, Step
from tests.sae.conftest import make_model

SITE = Site(1, 3)


@pytest.fixture(scope="module")
def looked_at():
    model, problems = make_model(), load_stories("validation", 30)
    sae = TopKSAE(SAEConfig(24, 30, k=4, provenance=Provenance(site=SITE, model_sha256=model.sha256)))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    sae.requires_grad_(False)
    engine = FeatureInterventionEngine(model, {SITE: sae})
    effects = measure_effects(engine, problems, SITE)
    return engine, profile_features(sae, model, problems, answers=False), effects


def test_effects_are_those_of_ablations(looked_at):
    engine, profiles, effects = looked_at
    assert sorted(profiles.alive) == list(effects.features)
    feature = profiles.alive[0]
    result = engine.run(Ablate(feature), profiles.problems, controls=None)
    clean, after = (result.outcomes[arm] for arm in ("clean", "intervened"))
    expected = [np.exp(b.answer_logprob) - np.exp(a.answer_logprob) for a, b in zip(clean, after, strict=True)]
    np.testing.assert_allclose(effects.probability[:, effects.features.index(feature)], expected, atol=1e-6)
    flips = [float(b.correct) - float(a.correct) for a, b in zip(clean, after, strict=True)]
    np.testing.assert_array_equal(effects.accuracy[:, effects.features.index(feature)], flips)


def test_coefficients_are_scipys_of_measures_computed_plainly(looked_at):
    _, profiles, effects = looked_at
    # on such a model hardly an answer flips: changes drawn at random serve as well
    drawn = np.random.default_rng(0).normal(size=effects.probability.shape)
    effects = replace(effects, probability=drawn, accuracy=np.sign(drawn))
    found = relate_features(profiles, effects, groups=10)
    latents = profiles.sae.encode(profiles.model.think(profiles.problems, capture=[SITE]).at(SITE).values).dense()[
        :, list(effects.features)
    ]
    fires = (latents != 0).double().numpy()
    sizes = {
        EFFECTS[0]: np.abs(drawn.mean(0)),
        EFFECTS[1]: np.abs(drawn.sum(0) / fires.sum(0)),
        EFFECTS[2]: np.abs(np.sign(drawn).mean(0)),
    }
    x = profiles.model.think(profiles.problems, capture=[SITE]).at(SITE).values
    error = x - profiles.sae(x)
    without = [
        float((error + latents[:, [i]] * profiles.sae.W_dec[[f]]).square().sum() - error.square().sum())
        for i, f in enumerate(effects.features)
    ]
    measures = {
        "firing rate": fires.mean(0),
        "mean activation": latents.abs().double().numpy().sum(0) / fires.sum(0),
        "variance explained": np.array(without),
    }
    rows = {(row.measure, row.effect): row for row in found.rows}
    for effect, size in sizes.items():
        for name, measure in measures.items():
            assert rows[name, effect].value == pytest.approx(spearmanr(measure, size).statistic, abs=1e-6), name
            assert -1 <= rows[name, effect].low < rows[name, effect].high <= 1
    assert len(found.rows) == 3 * 6 == len(found.to_frame())
    assert found.to_dict()["rows"][0]["measure"] == "firing rate"
    # the same effect on either half of the problems
    assert rows[OTHER_HALF, EFFECTS[0]].n == found.n_features == len(effects.features)


def test_the_interval_leaves_groups_of_whole_calculations_out(looked_at):
    _, profiles, effects = looked_at
    # every calculation stands there twice: a problem and its twin have to leave together
    clusters = np.repeat(np.arange(15), 2)
    left_out = _leave_out(clusters, 5, seed=0)
    assert left_out.shape == (6, 30)
    assert left_out[0].all()
    np.testing.assert_array_equal(left_out[:, 0::2], left_out[:, 1::2])
    assert (left_out[1:] == 0).sum(0).tolist() == [1] * 30
    drawn = np.random.default_rng(1).normal(size=effects.probability.shape)
    found = relate_features(profiles, replace(effects, probability=drawn), groups=5)
    row = next(row for row in found.rows if (row.measure, row.effect) == ("firing rate", "probability"))
    fires = profiles.firing(effects.features).astype(float)
    z = [
        np.arctanh(spearmanr(fires[kept].mean(0), np.abs(drawn[kept].mean(0))).statistic)
        for kept in _leave_out(cluster_problems(profiles.problems), 5, seed=0).astype(bool)
    ]
    # the standard error of a mean of five, where each value is that of the other four
    error = np.sqrt(4 / 5 * np.square(z[1:] - np.mean(z[1:])).sum())
    expected = np.tanh(z[0] + np.array([-1, 1]) * t.ppf(0.975, 4) * error)
    np.testing.assert_allclose([row.low, row.high], expected, atol=1e-6)


def test_a_measure_that_is_the_effect_agrees_with_it_in_every_draw(looked_at):
    _, profiles, effects = looked_at
    fires = profiles.firing(effects.features).astype(float)
    same = replace(effects, probability=-fires, accuracy=fires)
    found = {(row.measure, row.effect): row for row in relate_features(profiles, same, groups=10).rows}
    exact = found["firing rate", "probability"].coefficient
    assert (exact.value, exact.low, exact.high) == pytest.approx((1.0, 1.0, 1.0))
    # where it fires every feature does the same, so that nothing can be ranked
    assert found["firing rate", "probability where it fires"].low is None


def test_a_probe_reads_what_a_latent_is_made_of():
    rng = np.random.default_rng(0)
    problems = [
        Problem(
            str(i),
            "?",
            1,
            (Step(1, "addition", 1, int(rng.integers(100))),) * int(rng.integers(1, 4))
            + ((Step(1, "division", 1, 5),) if rng.random() < 0.5 else ()),
        )
        for i in range(80)
    ]
    first = np.array([p.steps[0].result for p in problems], dtype=float)
    divides = np.array([any(step.operation == "division" for step in p.steps) for p in problems], dtype=float)
    noise = rng.normal(size=80)
    found = read_by_probe(np.column_stack([2 * first + 3, -divides, noise, np.zeros(80)]), problems)
    assert found[:2] == pytest.approx([1.0, 1.0])
    assert 0 < found[2] < 0.2
    assert found[3] == 0


def test_sites_are_ranked_by_the_size_of_effects_and_whole_layers_are_drawn():
    rng = np.random.default_rng(2)
    layers = np.repeat(np.arange(8), 4)
    effect = -rng.random(32)
    measures = {"a": -effect, "b": rng.normal(size=32), "c": np.where(layers < 1, np.nan, effect)}
    rows = {row.measure: row for row in relate_sites(measures, {"cost": effect}, layers, draws=100)}
    assert rows["a"].value == pytest.approx(1.0)
    assert rows["b"].value == pytest.approx(spearmanr(measures["b"], -effect).statistic)
    assert rows["b"].low < rows["b"].value < rows["b"].high
    assert (rows["c"].n, rows["c"].value) == (28, pytest.approx(-1.0))
    # one layer alone has no others to be drawn: no interval
    assert relate_sites({"b": measures["b"]}, {"cost": effect}, [3] * 32, draws=9)[0].low is None


def test_what_does_not_belong_together_is_refused(looked_at):
    _, profiles, effects = looked_at
    with pytest.raises(ConfigError, match=r"30 problems at L2\.P3"):
        relate_features(profiles, replace(effects, site=Site(2, 3)))
    few = FeatureEffects(SITE, effects.features[:4], effects.probability[:, :4], effects.accuracy[:, :4])
    with pytest.raises(ConfigError, match="4 features touch any problem"):
        relate_features(profiles, few)
    with pytest.raises(ConfigError, match="3 values and cost 4 for 4 sites"):
        relate_sites({"a": [1, 2, 3]}, {"cost": [1, 2, 3, 4]}, [0, 0, 1, 1])
    with pytest.raises(ConfigError, match="known at 4 sites"):
        relate_sites({"a": [1, 2, 3, 4]}, {"cost": [1, 2, 3, 4]}, [0, 0, 1, 1])
