"""The description of a model against counts made by other means."""

from collections.abc import Callable
from typing import Any

from codi_int.model.describe import TYPICAL_TOKENS, describe_model
from codi_int.model.loading import load_model


def test_an_official_checkpoint_says_what_was_found_and_assumed(make_official: Callable[..., Any]) -> None:
    official = make_official("gpt2")
    found = describe_model(load_model(official.folder, base=official.base, remove_eos=True))
    assert (found.architecture, found.layout, found.n_layers, found.d_model) == ("gpt2", "official", 4, 32)
    assert found.n_parameters == official.unmerged.hf.num_parameters() + 32 * 20 + 20 + 20 * 32 + 32 + 64
    assert found.weight_bytes == 4 * found.n_parameters
    assert found.cache_bytes_per_problem == 4 * 2 * 32 * 4 * TYPICAL_TOKENS
    assert found.projection == "32 -> 20 -> 32, LayerNorm"
    assert found.special_ids == {"pad": 40, "bot": 41, "eot": 42, "eos": 1}
    assert found.assumed == {"lora_alpha": 32, "n_thoughts": 6}
    assert found.found["lora_r"] == 4
    assert found.tied_embeddings


def test_a_model_of_ours_assumes_nothing(make_model: Callable[..., Any]) -> None:
    model = make_model("llama", prj_no_ln=True)
    found = describe_model(model)
    assert (found.layout, found.n_heads, found.n_kv_heads, found.dtype) == ("own", 4, 2, "float32")
    assert found.assumed == {}
    assert found.projection == "32 -> 24 -> 32"
    assert not found.tied_embeddings
    assert found.sha256 == model.sha256
