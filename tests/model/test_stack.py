"""The block stacks against Hugging Face's own forward."""

from typing import Any

import pytest
import torch

from codi_int.errors import CheckpointError
from codi_int.model.chain import make_stack

IDS = torch.tensor([[4, 9, 11, 30, 6, 7, 8], [5, 10, 12, 40, 50, 3, 20]])


def test_question_and_every_layer_equal_hugging_face(model: Any) -> None:
    stack, cache = model.stack, model.stack.new_cache(2, 3)
    theirs = model.hf(IDS, output_hidden_states=True)
    x = stack.embed(IDS, cache)
    for layer in range(stack.n_layers):
        x = stack.run(x, cache, range(layer, layer + 1))
        if layer < stack.n_layers - 1:
            torch.testing.assert_close(x, theirs.hidden_states[layer + 1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(stack.final_norm(x), theirs.hidden_states[-1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(stack.unembed(stack.final_norm(x)), theirs.logits, rtol=1e-5, atol=1e-5)


def test_several_tokens_behind_a_padded_question_equal_the_same_tokens_alone(model: Any) -> None:
    stack, cache = model.stack, model.stack.new_cache(2, 3)
    mask = torch.tensor([[False, False, True, True, True, True, True], [True] * 7])
    stack.run(stack.embed(IDS, cache, mask), cache)
    out = stack.final_norm(stack.run(stack.embed(IDS[:, :3], cache), cache))
    for row, skip in enumerate((2, 0)):
        alone = torch.cat([IDS[row, skip:], IDS[row, :3]])[None]
        expected = model.hf(alone, output_hidden_states=True).hidden_states[-1][0, -3:]
        torch.testing.assert_close(out[row], expected, rtol=1e-5, atol=1e-5)


def test_upper_layers_alone_reproduce_a_step_from_its_middle(model: Any) -> None:
    stack, cache, seen = model.stack, model.stack.new_cache(2, 8), {}

    class Keep:
        names = ("blocks.1.hook_resid_post",)

        def __call__(self, name: str, tensor: torch.Tensor) -> None:
            seen[name] = tensor

    stack.run(stack.embed(IDS, cache), cache)
    x = stack.run(stack.embed(IDS[:, :1], cache), cache, hook=Keep())
    picked = cache.gather(torch.tensor([1, 1, 0]))
    middle = seen["blocks.1.hook_resid_post"][[1, 1, 0]]
    torch.testing.assert_close(stack.run(middle, picked, range(2, 4)), x[[1, 1, 0]], rtol=1e-5, atol=1e-5)


def test_writing_out_the_attention_pattern_changes_nothing(model: Any) -> None:
    stack, seen = model.stack, []

    class Keep:
        names = tuple(f"blocks.{i}.attn.hook_pattern" for i in range(4))

        def __call__(self, name: str, tensor: torch.Tensor) -> None:
            seen.append(tensor)

    mask = torch.tensor([[False, True, True, True, True, True, True], [True] * 7])
    results = []
    for hook in (None, Keep()):
        cache = stack.new_cache(2, 3)
        results.append(stack.run(stack.embed(IDS, cache, mask), cache, hook=hook)[:, 1:])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)
    assert len(seen) == 4
    torch.testing.assert_close(seen[0].sum(-1), torch.ones(2, 4, 7))
    assert (seen[0].triu(1) == 0).all()
    assert (seen[0][0, :, 1:, 0] == 0).all(), "padding is read"


def test_patterns_equal_hugging_face(model: Any) -> None:
    stack, seen = model.stack, []

    class Keep:
        names = tuple(f"blocks.{i}.attn.hook_pattern" for i in range(4))

        def __call__(self, name: str, tensor: torch.Tensor) -> None:
            seen.append(tensor)

    before = model.hf.config._attn_implementation
    model.hf.set_attn_implementation("eager")
    try:
        theirs = model.hf(IDS, output_attentions=True).attentions
    finally:
        model.hf.set_attn_implementation(before)
    cache = stack.new_cache(2, 8)
    stack.run(stack.embed(IDS, cache), cache, hook=Keep())
    for ours, other in zip(seen, theirs, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-6)


def test_an_unsupported_architecture_is_refused() -> None:
    import transformers as t

    with pytest.raises(CheckpointError, match="gpt_neox"):
        make_stack(t.GPTNeoXForCausalLM(t.GPTNeoXConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)))
    config = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    rotary = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    with pytest.raises(CheckpointError, match="dynamic"):
        make_stack(t.LlamaForCausalLM(t.LlamaConfig(vocab_size=9, rope_parameters=rotary, **config)))
