"""The export to TransformerLens: its activations equal ours at every hook of every layer."""

from typing import Any

import pytest
import torch


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def exported(request: pytest.FixtureRequest, make_model: Any, problems: list[Any]) -> Any:
    model = make_model(request.param)
    same_length = [p for p in problems if len(p.question) == len(problems[0].question)][:3]
    return model, same_length, model.to_transformer_lens()


def test_activations_equal_ours_at_every_name(exported: Any) -> None:
    model, problems, bridge = exported
    run = model.run_with_cache(problems)
    ids = torch.tensor([model.encode_question(p) for p in problems])
    inputs = torch.cat([model.stack.token_embedding()(ids), run.batch.thoughts], 1)
    logits, cache = bridge.run_with_cache(inputs)
    for name in model.stack.hook_names():
        torch.testing.assert_close(
            run.cache[name], cache[name], rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )
    torch.testing.assert_close(model.stack.unembed(run.cache["ln_final.hook_out"]), logits, rtol=1e-4, atol=1e-4)


def test_the_export_leaves_the_model_alone(exported: Any) -> None:
    model, problems, bridge = exported
    before = model.think(problems).thoughts
    bridge(torch.tensor([[5, 6, 7]]))
    assert torch.equal(model.think(problems).thoughts, before)
    assert not any("_original_component" in name for name in model.hf.state_dict())


def test_a_hook_function_works_on_both(exported: Any) -> None:
    model, problems, bridge = exported

    def cut(z: torch.Tensor, hook: Any) -> torch.Tensor:
        z = z.clone()
        z[:, :, 2] = 0
        return z

    name = "blocks.1.attn.hook_z"
    with model.hooks({name: cut}):
        run = model.run_with_cache(problems, "ln_final.hook_out")
    ids = torch.tensor([model.encode_question(p) for p in problems])
    inputs = torch.cat([model.stack.token_embedding()(ids), run.batch.thoughts], 1)
    theirs = bridge.run_with_hooks(inputs, fwd_hooks=[(name, cut)])
    torch.testing.assert_close(model.stack.unembed(run.cache["ln_final.hook_out"]), theirs, rtol=1e-4, atol=1e-4)
