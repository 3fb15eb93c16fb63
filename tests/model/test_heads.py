"""What each attention head adds: against plain Hugging Face modules, and as a site that is read and changed."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from codi_int.errors import HookError, SiteError
from codi_int.types import Problem, Site

HEADS = range(4)
RESULT, ATTN_OUT = "blocks.2.attn.hook_result", "blocks.2.hook_attn_out"


def output_of(model: Any, layer: int) -> tuple[Any, Tensor, Tensor | None]:
    """The module that puts heads together, its weight [heads * d_head, d_model] and its bias, of Hugging Face's own."""
    if hasattr(model.hf, "transformer"):  # GPT-2, whose Conv1D holds weights transposed
        module = model.hf.transformer.h[layer].attn.c_proj
        return module, module.weight, module.bias
    module = model.hf.model.layers[layer].self_attn.o_proj
    return module, module.weight.T, module.bias


@pytest.fixture
def with_bias(model: Any) -> Iterator[Any]:
    """The model, with a bias where it can have one: Hugging Face draws GPT-2's as zeros."""
    _, _, bias = output_of(model, 2)
    if bias is None:
        yield model
        return
    with torch.no_grad():
        bias.copy_(torch.linspace(-1, 1, len(bias)))
    yield model
    with torch.no_grad():
        bias.zero_()


def test_heads_sum_to_attn_out(with_bias: Any, problems: list[Problem]) -> None:
    model = with_bias
    cache = model.run_with_cache(problems, [RESULT, *(f"{RESULT}.{head}" for head in HEADS), ATTN_OUT]).cache
    _, _, bias = output_of(model, 2)
    whole = cache[RESULT].sum(2) + (0 if bias is None else bias)
    assert (whole - cache[ATTN_OUT]).abs().max() < 1e-5
    for head in HEADS:
        assert torch.equal(cache[f"{RESULT}.{head}"], cache["result", 2][:, :, head])


def test_a_head_is_its_rows_of_the_output_matrix(with_bias: Any, problems: list[Problem]) -> None:
    """At <bot>, where Hugging Face's own model reads the question alone."""
    model, one = with_bias, problems[:1]
    module, weight, _ = output_of(model, 2)
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model.hf(torch.tensor([model.encode_question(one[0])]))
    handle.remove()
    z, d_head = seen[0][:, -1], weight.shape[0] // 4
    batch = model.think(one, [Site(2, 0, f"head:{head}") for head in HEADS])
    for head in HEADS:
        rows = slice(head * d_head, (head + 1) * d_head)
        torch.testing.assert_close(
            batch.at(Site(2, 0, f"head:{head}")).values, z[:, rows] @ weight[rows], atol=1e-5, rtol=1e-4
        )


def test_a_head_put_to_zero_is_its_z_put_to_zero(model: Any, problems: list[Problem]) -> None:
    def without(z: Tensor, hook: Any) -> Tensor:
        out = z.clone()
        out[:, -1, 1] = 0
        return out

    from codi_int.model.hooks import HookPoint

    with model.hooks({HookPoint("blocks.1.attn.hook_z", (3,)): without}):
        expected = model.think(problems).thoughts
    with model.hooks({"L1.P3.head:1": lambda resid, context: torch.zeros_like(resid)}):
        found = model.think(problems).thoughts
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    clean = model.think(problems).thoughts
    assert (found - clean).abs().max() > 1e-3
    # who only reads changes nothing, to the bit
    with model.hooks({"L1.P3.head:1": lambda resid, context: None, RESULT: lambda tensor, hook: None}):
        assert torch.equal(model.think(problems).thoughts, clean)


def test_the_whole_result_can_be_changed_under_transformer_lens_name(llama: Any, problems: list[Problem]) -> None:
    def doubled(tensor: Tensor, hook: Any) -> Tensor:
        assert tensor.shape[2:] == (4, 32)
        return 2 * tensor

    with llama.hooks({RESULT: doubled}):
        found = llama.think(problems).thoughts
    with llama.hooks({ATTN_OUT: lambda tensor, hook: 2 * tensor}):
        torch.testing.assert_close(found, llama.think(problems).thoughts, atol=1e-5, rtol=1e-5)


def test_heads_are_kept_where_they_are_asked_for(llama: Any, problems: list[Problem]) -> None:
    assert RESULT in llama.hook_names
    assert not [name for name in llama.run_with_cache(problems[:1]).cache if "hook_result" in name]


def test_a_head_or_component_that_does_not_exist_is_refused(llama: Any) -> None:
    with pytest.raises(SiteError, match="Head 4 does not exist: tiny-llama has heads 0 to 3") as caught:
        llama.check_site("L1.P3.head:4")
    assert caught.value.remedy == "Choose another head."
    with pytest.raises(HookError, match="No hook is named"), llama.hooks({"blocks.1.attn.hook_result.4": print}):
        pass
    for component in ("head", "head:", "head:x", "head:-1", "head:01", "nose", "head:1:2"):
        with pytest.raises(SiteError, match="does not exist") as caught:
            Site(1, 3, component)
        assert "head:0, head:1" in caught.value.remedy
    with pytest.raises(SiteError, match="is no site"):
        Site(None, 3, "head:1")
    assert str(Site.parse("L1.P3.head:2")) == "L1.P3.head:2"
