"""A tiny random CODI model and problems for it, for the tests that need activations of a model."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from codi_int.data.stories import load_stories
from codi_int.data.story_tokenizer import build_tokenizer
from codi_int.model.codi import CodiConfig, Projection
from codi_int.model.hooked import CodiModel
from codi_int.types import Problem


def make_model(seed: int = 0) -> CodiModel:
    """Three layers, d_model 24, random weights large enough that every layer matters."""
    tokenizer = build_tokenizer()
    torch.manual_seed(seed)
    hf = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=24,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            initializer_range=0.2,
        )
    )
    ids = {name: tokenizer.convert_tokens_to_ids(f"<{name}>") for name in ("pad", "bot", "eot", "eos")}
    config = CodiConfig(
        **{f"{name}_id": number for name, number in ids.items()},
        prj_dim=32,
        max_new_tokens=6,
        answer_rule="last",
        name=f"random-{seed}",
    )
    projection = Projection(24, 32).requires_grad_(False)
    return CodiModel(hf.eval().requires_grad_(False), projection, config, tokenizer)


@pytest.fixture(scope="module")
def model() -> CodiModel:
    return make_model()


@pytest.fixture(scope="module")
def other_model() -> CodiModel:
    return make_model(seed=1)


@pytest.fixture(scope="module")
def problems() -> tuple[Problem, ...]:
    return tuple(load_stories("validation", limit=11))
