"""Official checkpoints: against the same model with its LoRA un-merged, and against the official code's own numbers."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from codi_int.errors import CheckpointError
from codi_int.model.loading import load_model

QUESTION = [5, 9, 30, 7, 12, 22, 41]


def assert_same_model(model: Any, plain: Any, unmerged: Any, ids: list[int] = QUESTION) -> None:
    expected = plain(unmerged, ids, 8, stop=False)
    batch = model.think_tokens(torch.tensor([ids]), None, max_new_tokens=8)
    residuals = expected.hidden_states[:, 1:-1].transpose(0, 1)
    torch.testing.assert_close(batch.residuals[0, :-1], residuals, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(batch.thoughts[0], expected.thoughts, rtol=1e-4, atol=1e-4)
    assert tuple(batch.completion_ids[0].tolist()) == expected.ids


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize(("tied", "no_ln"), [(True, False), (False, True)])
def test_merged_equals_unmerged(
    kind: str, tied: bool, no_ln: bool, make_official: Callable[..., Any], plain: Any
) -> None:
    official = make_official(kind, alpha=16.0, tied=tied, no_ln=no_ln)
    model = load_model(official.folder, base=official.base, lora_alpha=16.0)
    assert_same_model(model, plain, official.unmerged)
    assert model.config.provenance["lora_r"] == 4
    assert (model.config.prj_dim, model.config.prj_no_ln) == (20, no_ln)
    assert (model.config.pad_id, model.config.bot_id, model.config.eot_id) == (40, 41, 42)


def test_another_alpha_is_another_model(make_official: Callable[..., Any]) -> None:
    official = make_official()
    one, other = (load_model(official.folder, base=official.base, lora_alpha=a) for a in (16.0, 32.0))
    assert one.sha256 != other.sha256
    default = load_model(official.folder, base=official.base)
    assert default.sha256 == other.sha256
    assert "lora_alpha" in default.config.provenance["assumed"]


def test_an_end_token_before_bot_where_the_model_was_trained_so(make_official: Callable[..., Any], plain: Any) -> None:
    from codi_int.types import Problem

    official = make_official("gpt2")
    model = load_model(official.folder, base=official.base, lora_alpha=16.0, remove_eos=False)
    ids = model.encode_question(Problem("p", "w3 w4", 1, ()))
    assert ids == (5, 6, 1, 41)
    official.unmerged.config = replace(official.unmerged.config, remove_eos=False)
    assert_same_model(model, plain, official.unmerged, list(ids))


def shards(state: dict[str, Tensor], folder: Path) -> None:
    names, parts = sorted(state), [{}, {}]
    for i, name in enumerate(names):
        parts[i % 2][name] = state[name].contiguous()
    files = [f"model-0000{i + 1}-of-00002.safetensors" for i in range(2)]
    for part, file in zip(parts, files, strict=True):
        save_file(part, folder / file)
    weight_map = {name: files[i % 2] for i, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


@pytest.mark.parametrize("layout", ["bin", "shards", "empty config", "config of its own", "old buffers", "head only"])
def test_every_layout_gives_the_same_weights(layout: str, make_official: Callable[..., Any], words: Any) -> None:
    official = make_official("llama")
    folder, state, base = official.folder, dict(official.state), official.base
    expected = load_model(folder, base=base).sha256
    if layout == "bin":
        (folder / "model.safetensors").unlink()
        torch.save(state, folder / "pytorch_model.bin")
    elif layout == "shards":
        (folder / "model.safetensors").unlink()
        shards(state, folder)
    elif layout == "empty config":
        (folder / "config.json").write_text("")
    elif layout == "config of its own":
        (folder / "config.json").write_text((base / "config.json").read_text())
        words.save_pretrained(folder)
        base = None
    elif layout == "old buffers":
        state["codi.base_model.model.model.rotary_emb.inv_freq"] = torch.zeros(4)
        save_file(state, folder / "model.safetensors")
    else:
        head = state.pop("codi.base_model.model.model.embed_tokens.weight")
        save_file({**state, "codi.base_model.model.lm_head.weight": head}, folder / "model.safetensors")
    model = load_model(folder, base=base)
    assert model.sha256 == expected
    assert model.config.provenance["ignored_keys"] == [k for k in state if k.endswith("inv_freq")]


def test_gpt2_masks_of_old_versions_are_no_weights(make_official: Callable[..., Any]) -> None:
    official = make_official("gpt2")
    expected = load_model(official.folder, base=official.base).sha256
    prefix = "codi.base_model.model.transformer.h.0.attn."
    masks = {prefix + "bias": torch.ones(1, 1, 8, 8), prefix + "masked_bias": torch.tensor(-1e4)}
    save_file({**official.state, **masks}, official.folder / "model.safetensors")
    assert load_model(official.folder, base=official.base).sha256 == expected


def test_special_tokens_of_a_stored_tokenizer_are_found_by_name(make_official: Callable[..., Any], words: Any) -> None:
    import copy

    official = make_official("llama")
    stored = copy.deepcopy(words)
    stored.add_special_tokens({"pad_token": "<pad>"})
    stored.add_tokens(["<|eocot|>", "<|bocot|>"], special_tokens=True)
    stored.save_pretrained(official.folder)
    config = load_model(official.folder, base=official.base).config
    assert (config.pad_id, config.eot_id, config.bot_id) == (40, 41, 42)


def test_bfloat16_is_merged_in_float32_and_cast_once(make_official: Callable[..., Any]) -> None:
    official = make_official("llama")
    low = {name: tensor.bfloat16() for name, tensor in official.state.items()}
    save_file(low, official.folder / "model.safetensors")
    model = load_model(official.folder, base=official.base, lora_alpha=16.0, dtype="bfloat16")
    prefix = "codi.base_model.model.model.layers.2.mlp.down_proj."
    delta = low[prefix + "lora_B.default.weight"].double() @ low[prefix + "lora_A.default.weight"].double()
    exact = low[prefix + "base_layer.weight"].double() + 4.0 * delta
    merged = model.hf.model.layers[2].mlp.down_proj.weight
    assert merged.dtype == torch.bfloat16
    torch.testing.assert_close(merged.double(), exact, rtol=2**-8, atol=1e-6)
    assert (merged == exact.bfloat16()).float().mean() > 0.99


def broken(state: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    state, layer = dict(state), "codi.base_model.model.model.layers.1.self_attn."
    if how == "missing":
        del state["codi.base_model.model.model.norm.weight"]
    elif how == "unknown":
        state["codi.base_model.model.model.layers.1.self_attn.x_proj.weight"] = torch.zeros(2)
    elif how == "foreign":
        state["decoder.weight"] = torch.zeros(2)
    elif how == "misshapen":
        state["codi.base_model.model.model.norm.weight"] = torch.zeros(31)
    elif how == "half a LoRA":
        del state[layer + "q_proj.lora_B.default.weight"]
    elif how == "misshapen LoRA":
        state[layer + "q_proj.lora_B.default.weight"] = torch.zeros(31, 4)
    elif how == "no projection":
        state = {name: tensor for name, tensor in state.items() if not name.startswith("prj.")}
    elif how == "half a projection":
        del state["prj.3.bias"]
    return state


MESSAGES = {
    "missing": r"1 missing \(model.norm.weight\)",
    "unknown": r"1 unknown \(model.layers.1.self_attn.x_proj.weight\)",
    "foreign": r"1 keys of no known kind: decoder.weight",
    "misshapen": r"model.norm.weight is \(31,\), not \(32,\)",
    "half a LoRA": r"LoRA of model.layers.1.self_attn.q_proj is not whole",
    "misshapen LoRA": r"is \(31, 32\), its weight \(32, 32\)",
    "no projection": r"no projection: prj.1.weight is missing",
    "half a projection": r"1 missing \(prj.3.bias\)",
}


@pytest.mark.parametrize("how", MESSAGES)
def test_every_key_is_accounted_for(how: str, make_official: Callable[..., Any]) -> None:
    official = make_official("llama")
    save_file(broken(official.state, how), official.folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=MESSAGES[how]) as caught:
        load_model(official.folder, base=official.base)
    assert len(str(caught.value).splitlines()) <= 2


def load_golden(folder: Path) -> tuple[Any, dict[str, Tensor]]:
    base = next(folder.glob("base-*"))
    return load_model(folder / "checkpoint", base=base, lora_alpha=32), load_file(folder / "golden.safetensors")


def assert_golden(batch: Any, numbers: dict[str, Tensor]) -> None:
    """Hidden states of every layer, measured against the length of each state: 1e-5."""
    n = batch.residuals.shape[1]
    states = torch.cat([numbers["question_last_hidden_states"][:, None], numbers["thought_hidden_states"]], 1)
    ours, theirs = batch.residuals[:, : n - 1].transpose(1, 2), states[:, :, 1:n]
    assert ((ours - theirs).norm(dim=-1) / theirs.norm(dim=-1)).max() < 1e-5
    assert torch.equal(batch.completion_ids, numbers["generated_ids"])


def test_the_official_codes_own_numbers_come_out(golden: Path) -> None:
    model, numbers = load_golden(golden)
    ids = numbers["input_ids"]
    assert_golden(model.think_tokens(ids, numbers["attention_mask"]), numbers)
    for row in range(len(ids)):
        alone = model.think_tokens(ids[row : row + 1], None)
        assert_golden(alone, {name: tensor[row : row + 1] for name, tensor in numbers.items()})


def test_the_official_codes_own_numbers_come_out_of_a_padded_batch(golden: Path) -> None:
    """Each golden row beside longer questions, behind padding of any content."""
    model, numbers = load_golden(golden)
    ids = numbers["input_ids"]
    n, width = ids.shape
    noise = torch.randint(0, 256, (n, 5), generator=torch.Generator().manual_seed(0))
    padded = torch.cat([torch.cat([noise, ids], 1), torch.cat([noise.flip(0), ids.flip(1)], 1)])
    padded[n:, -1] = model.config.bot_id
    mask = torch.ones_like(padded)
    for row in range(n):
        mask[row, :5] = 0
    batch = model.think_tokens(padded, mask)
    first = replace(
        batch,
        problem_ids=batch.problem_ids[:n],
        residuals=batch.residuals[:n],
        thoughts=batch.thoughts[:n],
        completion_ids=batch.completion_ids[:n],
    )
    assert width + 5 == padded.shape[1]
    assert_golden(first, numbers)


def test_the_last_state_of_the_official_code_is_after_the_final_norm(golden: Path) -> None:
    model, numbers = load_golden(golden)
    batch = model.think_tokens(numbers["input_ids"], numbers["attention_mask"])
    ours = model.stack.final_norm(batch.residuals[:, -1, 1:])
    theirs = numbers["thought_hidden_states"][:, :, -1]
    assert ((ours - theirs).norm(dim=-1) / theirs.norm(dim=-1)).max() < 1e-5
