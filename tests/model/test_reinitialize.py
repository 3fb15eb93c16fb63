"""A model whose weights are drawn anew: the same shape and tokenizer, nothing learned, the same for the same seed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from codi_int.errors import CheckpointError, ConfigError
from codi_int.model.loading import load_model
from codi_int.model.reinitialize import reinitialize


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_weights_are_those_that_the_classes_themselves_draw(kind: str, make_model: Callable[..., Any]) -> None:
    model = make_model(kind)
    trained, old_hash = {name: value.clone() for name, value in model.hf.state_dict().items()}, model.sha256
    tokenizer, name = model.tokenizer, model.name
    tensors = {name: value.data_ptr() for name, value in model.hf.state_dict().items()}
    outside = torch.random.get_rng_state()
    assert reinitialize(model, 5) is model
    assert torch.equal(torch.random.get_rng_state(), outside)
    torch.manual_seed(5)
    fresh = type(model.hf)(model.hf.config).state_dict()
    drawn = model.hf.state_dict()
    assert drawn.keys() == fresh.keys() == trained.keys()
    for key, value in drawn.items():
        assert torch.equal(value, fresh[key]), key
        assert value.data_ptr() == tensors[key], key  # in place: what runs is what was changed
    changed = [key for key, value in drawn.items() if not torch.equal(value, trained[key])]
    # every matrix, embeddings too; norms may have been at their initial ones before
    assert {key for key, value in drawn.items() if value.ndim == 2} <= set(changed)
    assert (model.tokenizer, model.name) == (tokenizer, f"{name} (reinitialized, seed 5)")
    assert model.config.name == model.name
    assert model.config.provenance["reinitialized"] == 5
    assert model.sha256 != old_hash


def test_the_projection_is_drawn_too_and_seeds_differ(make_model: Callable[..., Any]) -> None:
    one, same, other = (
        reinitialize(make_model("llama", seed=seed), number) for seed, number in ((0, 1), (3, 1), (0, 2))
    )
    assert one.sha256 == same.sha256 != other.sha256
    assert not torch.equal(one.projection[1].weight, other.projection[1].weight)
    torch.testing.assert_close(one.projection.ln.weight, torch.ones_like(one.projection.ln.weight))


def test_codi_mini_forgets_everything_and_keeps_its_tokenizer() -> None:
    trained, model = load_model("codi-mini"), load_model("codi-mini", reinitialize=0)
    assert model.name == "codi-mini (reinitialized, seed 0)"
    question = "Tom has 3 apples and buys 4 more. How many apples does he have?"
    assert model.token_ids(question) == trained.token_ids(question)
    assert trained.answer(question)[0].answer == 7
    assert model.answer(question)[0].answer != 7
    weights = model.hf.state_dict()
    std = model.hf.config.initializer_range
    for name in ("model.embed_tokens.weight", "model.layers.3.mlp.up_proj.weight"):
        assert float(weights[name].std()) == pytest.approx(std, rel=0.05)
    # tied in the checkpoint, tied now
    assert weights["lm_head.weight"].data_ptr() == weights["model.embed_tokens.weight"].data_ptr()


@pytest.mark.parametrize(("seed", "words"), [(-1, "between 0 and"), (True, "whole number"), (2**63, "between 0 and")])
def test_a_seed_that_is_none_is_refused_before_anything_loads(seed: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        load_model(tmp_path / "nowhere", reinitialize=seed)


def test_a_model_that_cannot_be_loaded_cannot_be_drawn_anew(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no folder"):
        load_model(str(tmp_path / "nowhere"), reinitialize=0)
