"""Capture files: what the model gives, bounded, resumable, and checked before they are read."""

import json

import pytest
import torch
from safetensors.torch import load_file

from codi_int.errors import ConfigError, DataError, OutputError, SiteError
from codi_int.sae.captures import SIDECAR, capture_to_disk, layer_file, open_capture
from codi_int.types import Site


@pytest.fixture
def whole(model, problems, tmp_path):
    """A complete capture of two layers and three positions."""
    return capture_to_disk(
        model, problems, tmp_path / "acts", "stories", layers=(0, 2), positions=(1, 3, 6), rows_at_once=4
    )


def test_files_hold_what_the_model_gives(model, problems, whole):
    full = model.think(problems, capture="all").residuals
    assert full is not None
    for layer in (0, 2):
        stored = load_file(layer_file(whole.folder, layer))["resid_post"]
        assert stored.shape == (3, 11, 24)
        torch.testing.assert_close(stored, full[:, layer][:, [1, 3, 6]].transpose(0, 1), atol=1e-5, rtol=1e-5)


def test_reading_one_site(model, problems, whole):
    site = Site(2, 3)
    found = open_capture(whole.folder, model).at(site)
    assert found.problem_ids == tuple(problem.id for problem in problems)
    torch.testing.assert_close(
        found.values, model.think(problems, capture=[site]).at(site).values, atol=1e-5, rtol=1e-5
    )


def test_everything_by_default(model, problems, tmp_path):
    capture = capture_to_disk(model, problems[:3], tmp_path / "acts")
    assert capture.info.layers == (0, 1, 2)
    assert capture.info.positions == (0, 1, 2, 3, 4, 5, 6)


def test_half_the_disk_in_bfloat16(model, problems, tmp_path):
    site = Site(1, 3)
    capture = capture_to_disk(model, problems, tmp_path / "acts", layers=[1], positions=[3], dtype="bfloat16")
    exact = model.think(problems, capture=[site]).at(site).values
    assert load_file(layer_file(capture.folder, 1))["resid_post"].dtype == torch.bfloat16
    torch.testing.assert_close(capture.at(site).values, exact.bfloat16().float())


def test_a_killed_run_goes_on_and_never_shows_half_a_capture(model, problems, tmp_path, monkeypatch):
    folder, asked = tmp_path / "acts", {"layers": [1], "positions": [3], "rows_at_once": 4}

    def kill(stage: str, done: int, total: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture_to_disk(model, problems, folder, progress=kill, **asked)
    with pytest.raises(DataError, match="half-written: 8 of 11") as caught:
        open_capture(folder, model)
    assert "goes on where it stopped" in caught.value.remedy
    thought_about = []
    think = type(model).think

    def counting(self, chunk, **more):
        thought_about.append(len(chunk))
        return think(self, chunk, **more)

    monkeypatch.setattr(type(model), "think", counting)
    capture = capture_to_disk(model, problems, folder, **asked)
    assert thought_about == [3], "only what was missing"
    site = Site(1, 3)
    torch.testing.assert_close(
        capture.at(site).values, model.think(problems, capture=[site]).at(site).values, atol=1e-5, rtol=1e-5
    )


def test_memory_is_bounded_by_the_chunk(model, problems, tmp_path):
    seen = []
    capture_to_disk(model, problems, tmp_path / "acts", rows_at_once=5, progress=lambda *said: seen.append(said))
    assert seen == [("thoughts", done, 11) for done in (5, 10, 11)]


def test_a_capture_of_another_model_is_refused(other_model, problems, whole):
    with pytest.raises(DataError, match=r"captured from random-0 .* not from random-1") as caught:
        open_capture(whole.folder, other_model)
    assert caught.value.remedy
    with pytest.raises(DataError, match="something else"):
        capture_to_disk(other_model, problems, whole.folder, "stories", layers=(0, 2), positions=(1, 3, 6))


def test_a_capture_of_other_problems_is_not_gone_on_with(model, problems, whole):
    with pytest.raises(DataError, match="something else"):
        capture_to_disk(model, problems[::-1], whole.folder, "stories", layers=(0, 2), positions=(1, 3, 6))


@pytest.mark.parametrize("site", [Site(1, 3), Site(2, 2), Site(2, 3, "mlp_out"), Site(None, 3, "thought")])
def test_sites_that_were_not_captured(whole, site):
    with pytest.raises(DataError, match=r"is not in .* layers 0, 2, positions 1, 3, 6") as caught:
        whole.at(site)
    assert caught.value.remedy


def truncate(folder):
    path = layer_file(folder, 2)
    path.write_bytes(path.read_bytes()[:-1])


def spoil(folder, **fields):
    raw = json.loads((folder / SIDECAR).read_text())
    (folder / SIDECAR).write_text(json.dumps({**raw, **fields}))


DAMAGE = {
    "no folder": (lambda folder: (folder / SIDECAR).unlink(), "holds no capture"),
    "no JSON": (lambda folder: (folder / SIDECAR).write_text("{"), "holds no capture"),
    "layers that are no numbers": (lambda folder: spoil(folder, layers=["1"]), "holds no capture"),
    "a width that is no number": (lambda folder: spoil(folder, d_model="16"), "holds no capture"),
    "an unknown dtype": (lambda folder: spoil(folder, dtype={}), "holds no capture"),
    "no fields": (lambda folder: (folder / SIDECAR).write_text(json.dumps({"model": "x"})), "holds no capture"),
    "truncated": (truncate, "truncated"),
    "missing file": (lambda folder: layer_file(folder, 0).unlink(), "missing"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_captures(model, whole, name):
    damage, says = DAMAGE[name]
    damage(whole.folder)
    with pytest.raises(DataError, match=says) as caught:
        open_capture(whole.folder, model)
    assert caught.value.remedy


def test_arguments_that_cannot_work(model, problems, tmp_path):
    with pytest.raises(ConfigError, match="no problems"):
        capture_to_disk(model, (), tmp_path / "a")
    with pytest.raises(ConfigError, match="Known: float32, bfloat16"):
        capture_to_disk(model, problems, tmp_path / "a", dtype="int8")
    with pytest.raises(SiteError, match="Layer 3 does not exist"):
        capture_to_disk(model, problems, tmp_path / "a", layers=[3])
    assert not (tmp_path / "a").exists(), "nothing is written before the arguments are checked"
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written to"):
        capture_to_disk(model, problems, tmp_path / "file")
