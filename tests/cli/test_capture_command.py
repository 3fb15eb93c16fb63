"""capture: what lies on the disk, that it goes on after a stop, and what it refuses."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from codi_int.data.problems import load_problems
from codi_int.model.loading import load_model
from codi_int.types import Site


@pytest.fixture
def words(shelf) -> tuple[str, ...]:
    return ("capture", "--model", shelf.model, "--data", shelf.data)


def test_files_hold_what_the_model_gives(run: Callable, words: tuple[str, ...], shelf, tmp_path: Path) -> None:
    ran = run(*words, "--layer", "1,3", "--position", "3-4", "--out", str(tmp_path / "acts"))
    assert ran.code == 0, ran.err
    assert "Activations of random on 12 problems" in ran.page
    assert "positions 3, 4" in ran.page
    assert "2 x 12 x 24" in ran.page
    model, problems = load_model(shelf.model), load_problems(shelf.data)
    exact = model.think(problems, capture=[Site(3, 4)]).at(Site(3, 4)).values
    stored = load_file(tmp_path / "acts" / "layer03.safetensors")["resid_post"]
    torch.testing.assert_close(stored[1], exact, atol=1e-5, rtol=1e-5)


def test_json_is_the_sidecar_and_everything_is_the_default(
    run: Callable, words: tuple[str, ...], tmp_path: Path
) -> None:
    ran = run(*words, "--out", str(tmp_path / "acts"), "--dtype", "bfloat16", "--limit", "3", "--json")
    document = json.loads(ran.out)
    assert (document["layers"], document["positions"]) == ([0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6])
    assert (document["n_problems"], document["dtype"], document["padding"]) == (3, "bfloat16", "masked")
    assert document["bytes"] == sum(path.stat().st_size for path in (tmp_path / "acts").glob("layer*"))


def test_a_stopped_capture_says_how_to_go_on(
    run: Callable, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codi_int.model.hooked import CodiModel
    from codi_int.sae import captures

    think, seen = CodiModel.think, []

    def think_once(self: CodiModel, problems: list, **more: object) -> object:
        if seen:
            raise KeyboardInterrupt
        seen.append(len(problems))
        return think(self, problems[:], **more)

    monkeypatch.setattr(captures, "capture_to_disk", partial(captures.capture_to_disk, rows_at_once=5))
    monkeypatch.setattr(CodiModel, "think", think_once)
    ran = run(*words, "--layer", "2", "--out", str(tmp_path / "acts"))
    assert ran.code == 130
    assert f"5 of 12 problems are kept in {tmp_path / 'acts'}; the command goes on there" in ran.err
    monkeypatch.setattr(CodiModel, "think", think)
    assert run(*words, "--layer", "2", "--out", str(tmp_path / "acts")).code == 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--layer", "9"), "Layer 9 does not exist"),
        (("--position", "7"), "Position 7 does not exist"),
        (("--layer", "many"), "--layer takes whole numbers, got 'many'"),
        (("--dtype", "int8"), "float32, bfloat16"),
        (("--padding", "none"), "masked, official"),
        (("--limit", "0"), "--limit is 0; it takes whole numbers from 1"),
    ],
)
def test_values_that_cannot_work_teach(
    run: Callable, words: tuple[str, ...], tmp_path: Path, more: tuple[str, ...], says: str
) -> None:
    ran = run(*words, "--out", str(tmp_path / "acts"), *more)
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) <= 2
    assert not (tmp_path / "acts").exists()


def test_places_that_cannot_be_used(
    run: Callable, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*words, "--layer", "2", "--out", str(tmp_path / "acts"))
    other = run(*words, "--layer", "2", "--out", str(tmp_path / "acts"), "--limit", "3")
    assert other.code == 2
    assert "--limit is not given there, 3 here" in other.err
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1000, 999, 1))
    full = run(*words, "--layer", "2", "--out", str(tmp_path / "new"))
    assert full.code == 2
    assert "The activations take 0.00 GiB; 0.00 GiB are free" in full.err
