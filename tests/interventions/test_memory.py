"""What the engine remembers of a model's runs belongs to the weights and the hooks of those runs."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from codi_int.interventions.edits.basic import Ablate
from codi_int.interventions.engine import clean
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.model.hooked import CodiModel
from codi_int.types import Problem, Result, Site
from tests.interventions.conftest import make_model, make_sae

SITE, EARLY = Site(2, 3), Site(1, 1)


@pytest.fixture
def model() -> CodiModel:
    return make_model("llama")


@pytest.fixture
def make_run(model: CodiModel, right: tuple[Problem, ...]) -> Callable[[], Callable[[], Result]]:
    """Makes engines that remember nothing yet."""
    sae = make_sae(model, SITE, right)

    def make() -> Callable[[], Result]:
        engine = FeatureInterventionEngine(model, {SITE: sae})
        return lambda: engine.run(Ablate(1), right, controls=None)

    return make


@pytest.fixture
def run(make_run: Callable) -> Callable[[], Result]:
    return make_run()


def disturb(resid: torch.Tensor, context: object) -> torch.Tensor:
    return -3.0 * resid


def test_a_run_inside_hooks_leaves_nothing_to_the_next_one_outside(model: CodiModel, make_run: Callable) -> None:
    alone, run = make_run()(), make_run()
    with model.hooks({EARLY: disturb}):
        inside = run()
    outside = run()
    assert outside.outcomes == alone.outcomes
    assert all(a != b for a, b in zip(inside.outcomes["clean"], outside.outcomes["clean"], strict=True))


def test_a_run_before_hooks_is_not_the_clean_arm_inside(model: CodiModel, make_run: Callable) -> None:
    run = make_run()
    before = run()
    with model.hooks({EARLY: disturb}):
        inside, alone = run(), make_run()()
    assert inside.outcomes == alone.outcomes
    assert inside.outcomes["clean"] != before.outcomes["clean"]


def test_changed_weights_are_run_again_under_their_own_hash(model: CodiModel, run: Callable) -> None:
    first = run()
    weight = next(module for name, module in model.hf.named_modules() if name.endswith("layers.1.mlp.down_proj")).weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.mul_(-3.0)
    second = run()
    with torch.no_grad():
        weight.copy_(kept)
    third = run()
    assert second.environment.model_sha256 != first.environment.model_sha256
    assert second.outcomes["clean"] != first.outcomes["clean"]
    assert third.outcomes == first.outcomes
    assert third.environment.model_sha256 == first.environment.model_sha256


def test_the_same_problems_are_run_once(model: CodiModel, right: tuple[Problem, ...], run: Callable) -> None:
    calls = []
    rollout = model.rollout
    model.rollout = lambda *args, **kwargs: calls.append(1) or rollout(*args, **kwargs)  # type: ignore[method-assign]
    run()
    n_first = len(calls)
    run()
    assert n_first == len(list(model.batches(right)))
    assert len(calls) == n_first


def test_unknown_words_are_looked_for_once(
    model: CodiModel, right: tuple[Problem, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    plain = clean.vocabulary_notes

    def counted(model: CodiModel, problems: tuple[Problem, ...]) -> tuple[str, ...]:
        looked.append(len(problems))
        return plain(model, problems)

    monkeypatch.setattr(clean, "vocabulary_notes", counted)
    passes = clean.CleanPasses()
    odd = (replace(right[0], question="A zyzzyva costs 3."), *right[1:])
    assert passes.unknown_words(model, right) == passes.unknown_words(model, right) == ()
    (note,) = passes.unknown_words(model, odd)
    assert "zyzzyva" in note
    assert passes.unknown_words(model, tuple(odd)) == (note,)
    assert looked == [len(right), len(odd)]
    # a tokenizer that has learnt the word knows it
    model.tokenizer.add_tokens(["zyzzyva"])
    passes.unknown_words(model, odd)
    assert looked == [len(right), len(odd), len(odd)]
