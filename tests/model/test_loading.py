"""The entry point for models: what it finds, and the two lines it gives for what it cannot load."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from codi_int.errors import CheckpointError, CodiError, ConfigError
from codi_int.model.loading import load_model
from codi_int.model.presets import PRESETS, PUBLISHED, preset_for


def assert_refused(text: str, *args: Any, error: type[CodiError] = CheckpointError, **settings: Any) -> None:
    with pytest.raises(error, match=text) as caught:
        load_model(*args, **settings)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2, "one line for the rule, one for the remedy"
    assert all(lines)


def test_a_name_that_is_nothing(tmp_path: Path) -> None:
    assert_refused("no folder and no model of ours", "codi-minni")
    assert_refused("no folder", tmp_path / "nothing")


def test_a_hub_name_without_a_network_says_what_to_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert_refused(
        r"(?s)hub could not give it.*Download .*safetensors.* from https://huggingface.co/zen-E/CODI-x", "zen-E/CODI-x"
    )


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    assert_refused("holds no weights", tmp_path, base=tmp_path)


def test_another_architecture(make_official: Callable[..., Any]) -> None:
    official = make_official()
    config = json.loads((official.base / "config.json").read_text())
    for kind in ("gpt_neox", "no-such-model"):
        (official.base / "config.json").write_text(json.dumps({**config, "model_type": kind}))
        assert_refused("Supported: llama, qwen2, gpt2", official.folder, base=official.base)


def test_a_checkpoint_of_the_other_family(make_official: Callable[..., Any]) -> None:
    official = make_official("llama")
    import transformers

    transformers.GPT2Config(
        vocab_size=40, n_embd=32, n_layer=4, n_head=4, bos_token_id=1, eos_token_id=1
    ).save_pretrained(official.base)
    assert_refused("it is no gpt2 checkpoint", official.folder, base=official.base)


def test_half_a_shard_set(make_official: Callable[..., Any]) -> None:
    official = make_official()
    (official.folder / "model.safetensors").unlink()
    names = sorted(official.state)
    weight_map = {name: f"model-{1 + i % 2}.safetensors" for i, name in enumerate(names)}
    (official.folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    save_file({n: official.state[n] for n in names[::2]}, official.folder / "model-1.safetensors")
    assert_refused(r"1 of 2 shards are missing .*: model-2.safetensors", official.folder, base=official.base)


@pytest.mark.parametrize(
    ("key", "value", "text"), [("hidden_size", 64, "hidden size 64"), ("vocab_size", 51, "51 tokens")]
)
def test_a_wrong_base_model(key: str, value: int, text: str, make_official: Callable[..., Any]) -> None:
    official = make_official()
    config = json.loads((official.base / "config.json").read_text())
    (official.base / "config.json").write_text(json.dumps({**config, key: value}))
    assert_refused(f"Wrong base model: .*{text}", official.folder, base=official.base)


class Harmful:
    """A pickle of this writes a file when code is allowed to run."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def test_a_pickle_with_code_is_refused_and_its_code_does_not_run(make_official: Callable[..., Any]) -> None:
    official = make_official()
    (official.folder / "model.safetensors").unlink()
    target = official.folder / "ran"
    torch.save({"codi.x": Harmful(target)}, official.folder / "pytorch_model.bin")
    assert_refused("never loaded with code execution", official.folder, base=official.base)
    (official.folder / "pytorch_model.bin").write_bytes(pickle.dumps(Harmful(target)))
    assert_refused("never loaded with code execution", official.folder, base=official.base)
    assert not target.exists()


def test_a_pickle_of_something_else(make_official: Callable[..., Any]) -> None:
    official = make_official()
    (official.folder / "model.safetensors").unlink()
    torch.save({"state_dict": official.state}, official.folder / "pytorch_model.bin")
    assert_refused("one flat dictionary", official.folder, base=official.base)


@pytest.mark.parametrize("damage", ["header", "truncated", "empty"])
def test_a_corrupt_safetensors_file(damage: str, make_official: Callable[..., Any]) -> None:
    official = make_official()
    path = official.folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes({"header": b"\xff" * 16 + data[16:], "truncated": data[:-40], "empty": b""}[damage])
    assert_refused("no whole safetensors file", official.folder, base=official.base)


def test_a_tokenizer_that_does_not_fit(make_official: Callable[..., Any], tokenizer: Any) -> None:
    official = make_official()
    tokenizer.save_pretrained(official.base)
    assert_refused(f"has {len(tokenizer)} tokens; the model has 43", official.folder, base=official.base)
    for path in official.base.glob("*token*"):
        path.unlink()
    assert_refused("no tokenizer that can be read", official.folder, base=official.base)


def test_no_base_model_anywhere(make_official: Callable[..., Any]) -> None:
    assert_refused("does not say which base model", make_official().folder)


def test_devices_and_types_that_do_not_exist_here(make_official: Callable[..., Any]) -> None:
    folder = make_official().folder
    assert_refused("dtype 'int8'", folder, dtype="int8", error=ConfigError)
    assert_refused("Device 'warp'", folder, device="warp", error=ConfigError)
    if not torch.cuda.is_available():
        assert_refused("Device 'cuda'", folder, device="cuda", error=ConfigError)


@pytest.mark.parametrize("alpha", [0, -3.0, float("nan"), float("inf")])
def test_an_alpha_that_cannot_work(alpha: float, make_official: Callable[..., Any]) -> None:
    official = make_official()
    assert_refused(
        "must be a positive number", official.folder, base=official.base, lora_alpha=alpha, error=ConfigError
    )


def test_settings_that_our_own_format_says_itself_are_not_swallowed(
    make_model: Callable[..., Any], tmp_path: Path
) -> None:
    make_model().save(tmp_path)
    assert_refused("says lora_alpha, remove_eos itself", tmp_path, lora_alpha=32, remove_eos=True, error=ConfigError)


def test_presets_are_found_by_hub_name_and_by_folder_name() -> None:
    answer_only = PRESETS["bcywinski/codi_llama1b-answer_only"]
    assert not answer_only.remove_eos
    assert preset_for("bcywinski/codi_llama1b-answer_only") == answer_only
    assert preset_for("downloads/codi_llama1b-answer_only/") == answer_only
    assert preset_for("my-own-run") == PUBLISHED
