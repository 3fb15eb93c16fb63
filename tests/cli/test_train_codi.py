"""`codi-int train-codi`: repeating it on a finished or a stopped run."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from codi_int.cli.main import make_app
from codi_int.model.loading import load_model
from codi_int.training.recipe import Recipe, Stage

TINY = Recipe(
    stages=(Stage("drill", 2, 0.002, 0.002), Stage("chain", 2, 0.002, 0.001)),
    n_layers=2,
    d_model=24,
    d_mlp=32,
    prj_dim=24,
    batch_size=4,
    drill_facts=3,
)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(TINY.to_dict()))
    return path


def train(recipe: Path, out: Path, *options: str) -> Result:
    command = ["train-codi", "--recipe", str(recipe), "--out", str(out), "--workers", "1", "--name", "tiny", *options]
    return CliRunner().invoke(make_app(), command)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run and its recipe, which tests copy: each run starts a process of its own."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "recipe.json").write_text(json.dumps(TINY.to_dict()))
    result = train(folder / "recipe.json", folder / "run")
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def finished(trained: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


def test_a_stopped_run_goes_on_and_a_finished_one_exports_what_is_missing(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = train(recipe, out, "--minutes", "0")
    assert result.exit_code == 0, result.output
    assert "Stopped after 1 of 4 batches" in result.stderr
    assert load_model(out / "model").config.provenance["progress"]["batch"] == 1
    for _ in range(2):
        result = train(recipe, out)
        assert result.exit_code == 0, result.output
        assert "All 4 batches of the recipe are done." in result.stderr
        assert f"The model is in {out / 'model'}" in result.stdout
    model = load_model(out / "model")
    first = (model.sha256, model.config)
    del model  # its tensors lie in the file that is cut here
    assert first[1].provenance["progress"]["batch"] == 4
    # stopped in the middle of the export, whose settings are its last file
    (out / "model" / "codi.json").unlink()
    (out / "model" / "model.safetensors").write_bytes(b"half")
    assert train(recipe, out).exit_code == 0
    again = load_model(out / "model")
    assert (again.sha256, again.config) == first


def test_a_finished_model_that_is_whole_is_not_written_again(recipe: Path, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert "model" in {path.name for path in before}
    assert train(recipe, finished).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_it_says_from_the_start_how_far_it_is(recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = train(recipe, tmp_path / "run")
    assert f"4 batches into {tmp_path / 'run'}; processes are starting: 1\n" in result.stderr
    # the worker is a process of its own
    assert re.search(r"^batch 1 of 4 · 0:00:\d\d gone, 0:0\d:\d\d left$", capfd.readouterr().err, re.MULTILINE)


def test_the_shipped_recipe_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Recipe.load("codi-mini").total_batches == 3350
    result = train(Path("nowhere"), tmp_path / "run")
    assert "Give the path of a recipe's JSON file, or a name: codi-mini" in str(result.exception)


def test_another_name_exports_again(recipe: Path, finished: Path) -> None:
    assert load_model(finished / "model").name == "tiny"
    assert train(recipe, finished, "--name", "other").exit_code == 0
    assert load_model(finished / "model").name == "other"


def test_another_recipe_is_no_traceback(recipe: Path, finished: Path) -> None:
    recipe.write_text(json.dumps(replace(TINY, seed=1).to_dict()))
    result = train(recipe, finished)
    assert "seed is 0 there, 1 here" in str(result.exception)
