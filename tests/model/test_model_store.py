"""The native format: a round trip, plain transformers as a reader, and damage."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from codi_int.errors import CheckpointError, CodiError, OutputError
from codi_int.model.loading import load_model
from codi_int.model.store import save_model


@pytest.fixture
def saved(make_model: Callable[..., Any], tmp_path: Path) -> Path:
    model = make_model("llama", provenance={"recipe": "none"})
    save_model(tmp_path / "own", model.hf, model.projection, model.config, model.tokenizer)
    return tmp_path / "own"


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_a_saved_model_comes_back_the_same(
    kind: str, make_model: Callable[..., Any], problems: list[Any], tmp_path: Path
) -> None:
    model = make_model(kind)
    model.save(tmp_path)
    again = load_model(tmp_path)
    assert again.sha256 == model.sha256
    assert again.config == model.config
    one, other = (m.think(problems, answers=True) for m in (model, again))
    torch.testing.assert_close(one.thoughts, other.thoughts)
    assert one.completions == other.completions
    assert not any(p.requires_grad for p in again.hf.parameters())


def test_plain_transformers_loads_the_language_model(saved: Path, make_model: Callable[..., Any]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    hf, info = AutoModelForCausalLM.from_pretrained(saved, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    ids = AutoTokenizer.from_pretrained(saved)("Tom has 3 apples.", return_tensors="pt")["input_ids"]
    torch.testing.assert_close(hf(ids).logits, make_model("llama").hf(ids).logits)


def test_a_merged_official_checkpoint_is_saved_merged(make_official: Callable[..., Any], tmp_path: Path) -> None:
    official = make_official("gpt2")
    model = load_model(official.folder, base=official.base)
    model.save(tmp_path / "own")
    again = load_model(tmp_path / "own")
    assert again.sha256 == model.sha256
    assert again.config.suppress_last_id
    assert again.config.provenance["lora_alpha"] == 32


def damage(folder: Path, how: str) -> None:
    if how == "settings":
        (folder / "codi.json").write_text("{")
    elif how == "bot id":
        settings = json.loads((folder / "codi.json").read_text())
        (folder / "codi.json").write_text(json.dumps({**settings, "bot_id": 99999}))
    elif how == "projection":
        (folder / "projection.safetensors").unlink()
    elif how == "weights":
        tensors = load_file(folder / "model.safetensors")
        del tensors["model.layers.2.mlp.up_proj.weight"]
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    else:
        (folder / "config.json").unlink()


MESSAGES = {
    "settings": "codi.json cannot be read",
    "bot id": "bot_id is 99999; the model has ids 0 to",
    "projection": "projection.safetensors does not exist",
    "weights": r"1 missing \(model.layers.2.mlp.up_proj.weight\)",
    "config": "describes no known architecture",
}


@pytest.mark.parametrize("how", MESSAGES)
def test_damage_is_named(how: str, saved: Path) -> None:
    damage(saved, how)
    with pytest.raises(CheckpointError, match=MESSAGES[how]) as caught:
        load_model(saved)
    assert isinstance(caught.value, CodiError)
    assert len(str(caught.value).splitlines()) <= 2


def test_a_place_that_cannot_be_written_to(make_model: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written to"):
        make_model().save(tmp_path / "file" / "folder")
