"""Every kind of run keeps the same notes and warns of each once: unknown words, an SAE that explains little."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

import codi_int as ci
from codi_int.errors import CodiWarning
from codi_int.interventions.evaluation import evaluate
from codi_int.types import Problem, Site
from tests.interventions.conftest import make_model, make_sae

SITE = Site(2, 3)


@pytest.fixture(scope="module")
def own(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Six problems, two of which have a word that nobody taught the model."""
    first, second, *others = problems[:6]
    return tuple([replace(p, question=f"Zebra {p.question}") for p in (first, second)] + others)


@pytest.fixture(scope="module")
def model() -> Any:
    return make_model("llama")


@pytest.fixture
def engine(model: Any, own: Sequence[Problem]) -> Any:
    """With an SAE of which next to nothing is left."""
    sae = make_sae(model, SITE, own)
    with torch.no_grad():
        sae.W_dec.mul_(0.01)
    return ci.FeatureInterventionEngine(model, {SITE: sae})


UNKNOWN = "2 of 6 questions hold words that random-llama does not know (Zebra)"


def heard(work: Any) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = work()
    return found, [str(one.message) for one in seen if one.category is CodiWarning]


def test_a_result_keeps_what_was_warned_of(engine: Any, own: Sequence[Problem]) -> None:
    edits = [ci.Ablate(1), ci.Ablate(2)]
    results, said = heard(lambda: engine.run_many(edits, own, controls=None))
    assert said[0].startswith(UNKNOWN)
    assert said[1].startswith("The SAE at L2.P3 explains")
    # each once, though two edits ran
    assert len(said) == len(set(said))
    arms = results[0].arms
    costs = arms["clean"].accuracy - arms["reconstructed"].accuracy > 0.02
    assert len(said) == 2 + costs
    for result in results:
        assert result.notes[: len(said)] == tuple(said)
        assert result.to_dict()["notes"] == list(result.notes)
    assert heard(lambda: engine.run(ci.Ablate(3), own, controls=None))[1] == []


def test_the_share_explained_is_that_of_the_sae_at_the_site(engine: Any, model: Any, own: Sequence[Problem]) -> None:
    _, said = heard(lambda: engine.run(ci.Ablate(1), own, controls=None))
    x = model.think(own, capture=[SITE]).at(SITE).values
    with torch.no_grad():
        share = 1 - float((x - engine.saes[SITE](x)).var() / x.var())
    assert f"explains {100 * share:.1f}".removesuffix(".0") in said[1]


@pytest.mark.parametrize(
    "work",
    [
        lambda engine, own: ci.run_screen(engine, own, features=[1, 2]),
        lambda engine, own: ci.run_pairs(engine, own, [(1, 2)]),
        lambda engine, own: ci.run_curve(engine, own, [1, 2, 3], sizes=[1], draws=1),
    ],
)
def test_screens_and_curves_keep_the_same(engine: Any, own: Sequence[Problem], work: Any) -> None:
    found, said = heard(lambda: work(engine, own))
    assert [text.split(" (")[0].split(" -")[0][:22] for text in said] == [UNKNOWN[:22], "The SAE at L2.P3 expla"]
    assert found.notes == tuple(said)
    assert found.to_dict()["notes"] == said


@pytest.mark.parametrize(
    "work",
    [
        lambda model, own: ci.run_map(model, own, ci.MapPlan((SITE, Site(1, 2)), propagate="split")),
        lambda model, own: evaluate(model, own),
    ],
)
def test_maps_and_evaluations_too(model: Any, own: Sequence[Problem], work: Any) -> None:
    found, said = heard(lambda: work(model, own))
    assert [text[: len(UNKNOWN)] for text in said] == [UNKNOWN]
    assert found.notes == tuple(said)
    assert list(found.to_dict()["notes"]) == said


def test_an_edit_of_no_feature_that_does_nothing_is_told(engine: Any, own: Sequence[Problem]) -> None:
    class Idle:
        label = "nothing at all"

        def edit(self, latents: torch.Tensor) -> torch.Tensor:
            return latents

    result, said = heard(lambda: engine.run(Idle(), own, controls=None))
    note = "'nothing at all' changed nothing on any of 6 problems, so nothing was tested."
    assert note in said
    assert note in result.notes


def test_known_words_and_a_good_sae_give_no_warning(problems: Sequence[Problem]) -> None:
    model, own = ci.load_model("codi-mini"), ci.load_problems("stories:validation", limit=12)
    engine = ci.FeatureInterventionEngine(model, {Site(14, 3): ci.load_sae("codi-mini/L14.P3")})
    assert heard(lambda: engine.run(ci.Ablate(449), own, controls=None))[1] == []
