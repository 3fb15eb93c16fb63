"""What a model refuses: token rows of another form, numbers that are none, and folders that reach outside."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from codi_int.errors import CheckpointError, ConfigError, HookError
from codi_int.model.loading import load_model
from codi_int.types import Site


@pytest.mark.parametrize(
    ("row", "mask", "text"),
    [
        ([5, 6, 7], None, "must end in <bot>"),
        ([5, 10**6, -1], None, "none of 0 to"),
        ([5, 6, "bot"], [[1, 1]], "The mask is"),
        ([5, 6, "bot"], [[1, 0, 1]], "must be 0 at the padding in front"),
        ([5, 6, "bot"], [[0, 0, 0]], "must be 0 at the padding in front"),
        ([5, 6, "bot"], [[0, 0, 2]], "must be 0 at the padding in front"),
    ],
)
def test_token_rows_of_another_form_are_refused(
    llama: Any, as_users_call: None, row: Any, mask: Any, text: str
) -> None:
    ids = torch.tensor([[llama.config.bot_id if token == "bot" else token for token in row]])
    with pytest.raises(ConfigError, match=text):
        llama.think_tokens(ids, None if mask is None else torch.tensor(mask))


def test_a_mask_is_asked_for_every_row(llama: Any, as_users_call: None) -> None:
    ids = torch.tensor([[5, 6, llama.config.bot_id]] * 2)
    with pytest.raises(ConfigError, match="The mask is"):
        llama.think_tokens(ids, torch.tensor([[0, 1, 1]]))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_hook_that_returns_no_number_is_an_error(llama: Any, problems: list[Any], value: float) -> None:
    with (
        pytest.raises(HookError, match=r"L1\.P3 returned NaN or inf"),
        llama.hooks({Site(1, 3): lambda r, c: r * value}),
    ):
        llama.think(problems)


def test_logits_that_are_no_numbers_are_an_error(llama: Any, problems: list[Any]) -> None:
    def spoil(tensor: torch.Tensor, context: Any) -> None:
        tensor.fill_(torch.nan)

    with pytest.raises(HookError, match="logits hold NaN"), llama.hooks({Site(1, 3): spoil}):
        llama.answer(problems)


def test_what_was_recorded_stays_when_a_later_hook_writes_in_place(llama: Any, problems: list[Any]) -> None:
    def spoil(tensor: torch.Tensor, hook: Any) -> None:
        tensor.zero_()

    names = ["hook_thought", "blocks.0.hook_resid_pre", "blocks.0.hook_resid_post"]
    clean = llama.run_with_cache(problems, names)
    with llama.hooks({"blocks.1.hook_resid_pre": spoil}):
        run = llama.run_with_cache(problems, names)
    question = clean.cache.question_tokens
    for name in names[1:]:
        assert torch.equal(run.cache[name][:, :question], clean.cache[name][:, :question])
    assert run.cache["blocks.0.hook_resid_post"].abs().sum() > 0
    with llama.hooks({"blocks.0.hook_resid_pre": spoil}):
        run = llama.run_with_cache(problems, names)
    assert run.batch.thoughts.abs().sum() > 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["projection.safetensors", "model.safetensors"])
def test_weights_that_are_no_numbers_are_refused_by_name(llama: Any, tmp_path: Path, name: str, value: float) -> None:
    llama.save(tmp_path)
    state = load_file(tmp_path / name)
    first = sorted(state)[0]
    state[first].view(-1)[0] = value
    save_file(state, tmp_path / name, {"format": "pt"})
    with pytest.raises(CheckpointError, match=f"hold NaN or inf.*{first}"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "..", "a\\b", 3])
def test_a_shard_outside_its_folder_is_refused(llama: Any, tmp_path: Path, name: Any) -> None:
    llama.save(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match="names a shard outside"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "codi.json", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"a": 1}'])
def test_a_damaged_file_is_our_error(llama: Any, tmp_path: Path, name: str, content: bytes) -> None:
    llama.save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises((CheckpointError, ConfigError)):
        load_model(tmp_path)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_model_is_its_file_in_every_dtype(llama: Any, tmp_path: Path, dtype: str) -> None:
    llama.save(tmp_path)
    assert load_model(tmp_path, dtype=dtype).sha256 == load_model(tmp_path).sha256 == llama.sha256


def test_a_published_file_that_says_more_than_it_stores_is_refused(tmp_path: Path) -> None:
    from codi_int.errors import SAEError
    from codi_int.sae.published import import_published

    huge = torch.zeros(1).expand(60_000, 60_000)
    torch.save({"encoder.weight": huge, "decoder.weight": huge, "config": {"k": 1}}, tmp_path / "a.pt")
    with pytest.raises(SAEError, match="stores less than its shape says"):
        import_published(tmp_path / "a.pt")
