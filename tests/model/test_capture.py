"""Capture by name, in the manner of TransformerLens."""

from typing import Any

import pytest
import torch

from codi_int.errors import HookError
from codi_int.types import Site

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def test_kept_tensors_agree_with_captured_sites(model: Any, problems: list[Any]) -> None:
    run = model.run_with_cache(problems, lambda name: name.endswith("resid_post") or name == "hook_thought")
    batch = model.think(problems, capture="all")
    torch.testing.assert_close(run.batch.thoughts, batch.thoughts, **CLOSE)
    torch.testing.assert_close(run.cache["hook_thought"][:, :6], batch.thoughts, **CLOSE)
    for layer in range(4):
        whole = run.cache["resid_post", layer]
        assert torch.equal(whole, run.cache[f"blocks.{layer}.hook_resid_post"])
        for position in range(7):
            torch.testing.assert_close(
                whole[:, run.cache.token(position)], batch.at(Site(layer, position)).values, **CLOSE
            )


def test_patterns_of_all_steps_form_one_matrix(model: Any, problems: list[Any]) -> None:
    cache = model.run_with_cache(problems, "blocks.1.attn.hook_pattern").cache
    pattern = cache["pattern", 1]
    tokens = cache.valid.shape[1]
    assert pattern.shape == (7, 4, tokens, tokens)
    assert (pattern.triu(1) == 0).all()
    torch.testing.assert_close(pattern.sum(-1), torch.ones(7, 4, tokens))
    real = cache.valid[:, None, :, None] & ~cache.valid[:, None, None, :]
    assert (pattern.masked_select(real) == 0).all(), "a real token reads padding"
    assert list(cache) == ["blocks.1.attn.hook_pattern"]


def test_wrong_names_are_refused(llama: Any, problems: list[Any]) -> None:
    with pytest.raises(HookError, match="No hook is named 'blocks"):
        llama.run_with_cache(problems, ["blocks.1.hook_resid_pots"])
    with pytest.raises(HookError, match="chooses no hook"):
        llama.run_with_cache(problems, lambda name: False)
    cache = llama.run_with_cache(problems[:1], "blocks.1.hook_resid_post").cache
    with pytest.raises(HookError, match="was not kept"):
        cache["resid_post", 2]
