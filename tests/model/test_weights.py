"""What a model's hash and its key for remembered runs depend on."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from codi_int.model.loading import load_model
from codi_int.model.weights import SAMPLED, WeightsWatch, hash_weights
from codi_int.types import Site

WRITES: dict[str, Callable[[nn.Linear], Any]] = {
    "in place": lambda module: module.weight.mul_(2),
    "one element": lambda module: module.weight[1, 2].add_(0.5),
    "around autograd": lambda module: module.weight.data.mul_(-1),
    "through numpy": lambda module: module.weight.detach().numpy().__setitem__((0, 0), 3.0),
    "rows exchanged around autograd": lambda module: module.weight.data.copy_(module.weight.data.flip(0)),
    "other memory": lambda module: setattr(module.weight, "data", module.weight.data + 1),
    "another parameter": lambda module: setattr(module, "weight", nn.Parameter(module.weight + 1)),
    "by torch's own loader": lambda module: module.load_state_dict(
        {name: tensor + 1 for name, tensor in module.state_dict().items()}
    ),
    "one tensor less": lambda module: module.register_parameter("bias", None),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("width", [6, SAMPLED])
def test_every_way_of_writing_is_seen_once(write: Callable[[nn.Linear], Any], width: int) -> None:
    module = nn.Linear(width, 8)
    watch = WeightsWatch(module)
    assert watch.revision() == watch.revision() == 0
    with torch.no_grad():
        write(module)
    assert watch.revision() == watch.revision() == 1


def test_reading_and_gradients_are_no_change() -> None:
    module = nn.Linear(4, 3)
    watch = WeightsWatch(module)
    module(torch.ones(2, 4)).sum().backward()
    module.requires_grad_(False).eval()
    module.state_dict()
    assert watch.revision() == 0


def test_an_optimizer_step_a_buffer_and_untied_weights_are_changes() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.BatchNorm1d(4))
    module[1].weight = module[0].weight
    watch = WeightsWatch(module)
    module(torch.randn(5, 4)).sum().backward()  # moves the running mean
    assert watch.revision() == 1
    torch.optim.SGD(module.parameters(), 0.1).step()
    assert watch.revision() == 2
    module[1].weight = nn.Parameter(module[0].weight.detach().clone())
    assert watch.revision() == 3


def test_memory_that_is_freed_and_used_again_is_another_tensor() -> None:
    module = nn.Linear(4, 3)
    watch = WeightsWatch(module)
    seen = 0
    for value in range(20):  # allocators give the same address back
        module.weight = nn.Parameter(torch.full((3, 4), float(value)))
        assert watch.revision() > seen
        seen = watch.revision()


def test_weights_without_a_counter_are_watched_by_their_contents() -> None:
    with torch.inference_mode():
        module = nn.Linear(4, 3)
    watch = WeightsWatch(module)
    with torch.inference_mode():
        module.weight.add_(1)
    assert watch.revision() == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda watch: pickle.loads(pickle.dumps(watch))])
def test_a_copy_watches_its_own_tensors(copied: Callable[[Any], Any]) -> None:
    module = nn.Linear(4, 3)
    watch = WeightsWatch(module)
    other = copied(watch)
    with torch.no_grad():
        module.weight.add_(1)
    assert (watch.revision(), other.revision()) == (1, 0)


def test_a_models_hash_follows_its_weights(make_model: Callable[..., Any]) -> None:
    model = make_model("gpt2")
    first = model.sha256
    assert first == hash_weights(model.hf, model.projection)
    weight = model.hf.transformer.h[1].mlp.c_fc.weight
    kept = weight.clone()
    weight.zero_()
    assert model.sha256 != first
    assert model.sha256 == hash_weights(model.hf, model.projection)
    weight.copy_(kept)
    assert model.sha256 == first
    model.projection[1].bias.add_(1)
    assert model.sha256 != first


def test_a_cast_models_hash_is_its_files_until_it_is_changed(make_model: Callable[..., Any], tmp_path: Path) -> None:
    make_model("llama").save(tmp_path)
    model = load_model(tmp_path, dtype="bfloat16")
    file = load_model(tmp_path).sha256
    assert model.sha256 == file
    model.hf.lm_head.weight.data = model.hf.lm_head.weight.data.clone()  # moved, and still the same
    assert model.sha256 == file
    model.hf.lm_head.weight.mul_(2)
    assert model.sha256 not in (file, None)
    assert model.sha256 == hash_weights(model.hf, model.projection)
    model.hf.lm_head.weight.div_(2)
    assert model.sha256 == file


def test_the_key_changes_with_weights_hooks_mode_and_settings(make_model: Callable[..., Any]) -> None:
    model, twin = make_model("llama"), make_model("llama")

    def negate(resid: torch.Tensor, context: Any) -> torch.Tensor:
        return -resid

    keys = [model.state_key()]
    assert model.state_key() == keys[0]
    assert hash(keys[0]) == hash(model.state_key())

    def note() -> None:
        assert model.state_key() == model.state_key()
        assert model.state_key() not in keys
        keys.append(model.state_key())

    keys.append(twin.state_key())
    assert keys[0] != keys[1]
    for propagate in ("both", "cache", "both"):  # the same function in another block is another hook
        with model.hooks({Site(1, 3): negate}, propagate):
            note()
            model.think_tokens(torch.tensor([[5, model.config.bot_id]]))
        assert model.state_key() == keys[0]
    handle = model.hf.model.layers[0].register_forward_hook(lambda *_: None)
    note()
    handle.remove()
    assert model.state_key() == keys[0]
    model.hf.train()
    note()
    model.hf.eval()
    assert model.state_key() == keys[0]
    model.config = replace(model.config, max_new_tokens=3)
    note()
    model.hf.model.norm.weight.add_(1)
    note()
    model.hf.model.norm.weight.sub_(1)
    note()
    assert copy.deepcopy(model).state_key() not in keys
