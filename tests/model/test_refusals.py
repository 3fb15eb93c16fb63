"""What a model refuses: token rows of another form, numbers that are none, and folders that reach outside."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from codi_int.errors import CheckpointError, ConfigError, HookError
from codi_int.model import building
from codi_int.model.light import light_config
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
    with pytest.raises((CheckpointError, ConfigError), match=re.escape(name)):
        load_model(tmp_path)


@pytest.mark.parametrize("way", [light_config, lambda *_: None], ids=["light", "ordinary"])
@pytest.mark.parametrize(
    "change", [{"vocab_size": 2**70}, {"hidden_size": 2**70}, {"num_hidden_layers": 2**31}], ids=str
)
def test_sizes_that_no_machine_has_are_refused_at_once(
    llama: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Any, change: dict[str, int]
) -> None:
    llama.save(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    monkeypatch.setattr(building, "light_config", way)
    with pytest.raises(CheckpointError, match=r"config\.json") as caught:
        load_model(tmp_path)
    assert len(str(caught.value).splitlines()) == 2


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


def hostile(folder: Path, change: dict[str, Any], file: str = "config.json") -> Path:
    """The folder with an `auto_map` to code of its own, which would leave a mark."""
    mark = folder / "it_ran"
    code = f"open({str(mark)!r}, 'w')\nclass Evil: pass\n"
    (folder / "evil.py").write_text(code)
    auto = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForCausalLM"), "evil.Evil")
    auto_map = {**auto, "AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    document = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**document, "auto_map": auto_map, **change}))
    return mark


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", {}),
        ("config.json", {"model_type": "evil"}),
        ("tokenizer_config.json", {}),
        ("tokenizer_config.json", {"tokenizer_class": "Evil"}),
    ],
)
def test_a_folder_never_runs_code_and_never_asks(
    llama: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, change: dict[str, Any]
) -> None:
    llama.save(tmp_path)
    mark = hostile(tmp_path, change, file)
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text="": asked.append(text) or "y")
    if change:
        with pytest.raises(CheckpointError, match=r"evil|config\.json"):
            load_model(tmp_path)
    else:  # a known architecture needs none of the code
        assert load_model(tmp_path).sha256 == llama.sha256
    assert not mark.exists()
    assert not asked


def as_pickle(llama: Any, folder: Path) -> dict[str, torch.Tensor]:
    """Save the model with its weights in a pytorch_model.bin; returns them."""
    llama.save(folder)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    return state


def test_a_whole_pickle_loads(llama: Any, tmp_path: Path) -> None:
    as_pickle(llama, tmp_path)
    assert load_model(tmp_path).sha256 == llama.sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weight: torch.zeros(1).expand(10**6, 10**6), "stores less than its shape says"),
        (lambda weight: torch.zeros(1).as_strided((10**9,), (0,)), "stores less than its shape says"),
        (lambda weight: torch.empty(10**6, 10**6, device="meta"), "stores less than its shape says"),
        (lambda weight: weight.to_sparse(), "is no plain tensor"),
        (lambda weight: weight.to(torch.complex64), "is no plain tensor"),
        (lambda weight: {"a": 1}, "one flat dictionary of tensors"),
        (lambda weight: weight[:-1].clone(), "1 misshapen"),
        (lambda weight: Path("a"), "holds more than tensors"),
    ],
)
def test_a_pickle_that_claims_more_than_it_holds_is_refused(
    llama: Any, tmp_path: Path, change: Any, message: str
) -> None:
    state = as_pickle(llama, tmp_path)
    name = "model.layers.0.mlp.up_proj.weight"
    torch.save({**state, name: change(state[name])}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(tmp_path)
    if "misshapen" not in message:
        assert "pytorch_model.bin" in str(caught.value)


def test_a_pickle_with_compressed_or_cut_members_is_refused(llama: Any, tmp_path: Path) -> None:
    as_pickle(llama, tmp_path)
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: archive.read(member) for member in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin cannot be read: it holds compressed members"):
        load_model(tmp_path)
    # storages cut short, as their pickle does not say
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content[:8] if "/data/" in name else content)
    with pytest.raises(CheckpointError):
        load_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_what_is_no_zip_is_refused_by_name(llama: Any, tmp_path: Path, content: bytes) -> None:
    as_pickle(llama, tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin cannot be read"):
        load_model(tmp_path)
