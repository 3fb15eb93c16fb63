"""Every command with --out keeps its run by one rule: what the manifest says, what is logged, the same bytes again."""

import json
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from codi_int.cli.main import option_classes
from codi_int.data.problems import write_jsonl
from codi_int.data.stories import load_stories
from codi_int.interventions.kept import load_result
from codi_int.report import figures
from tests.cli.conftest import without_times

WORDS = {
    "ablate": "--layer 2 --feature LIVING --controls 1",
    "amplify": "--layer 2 --feature LIVING --factor 2,3 --controls 1",
    "swap": "--layer 2 --feature LIVING --with 3 --controls 1",
    "patch": "--layer 2 --auto different --step 1 --underpowered --controls 1",
    "screen": "--layer 2 --feature LIVING,3 --confirm folds",
    "curve": "--layer 2 --n 1 --draws 1",
    "map": "--layer 2 --position 5,6",
    "eval": "",
    "stop": "",
    "probe": "--target result:1 --layer 1 --position 3 --folds 3 --controls 1 --confirm none --directions 0",
    "think": "--limit 2",
    "lens": "--limit 5",
    "capture": "--layer 2 --position 3",
    "compare": "RUNS/ablate RUNS/swap",
    "doctor": "--parity 1",
    "features rank": "--layer 2",
    "features show": "--layer 2 --feature LIVING",
    "features specialize": "--layer 2 --confirm folds",
    "features pairs": "--layer 2",
    "features export": "--layer 2",
    "sae train": "--layer 2 --k 3 --features 16 --epochs 1 --held-out DATA --recipe RECIPE",
    "sae sweep": "--layer 2 --position 3 --k 3 --features 16 --seed 0 --epochs 1 --held-out DATA --recipe RECIPE",
    "sae eval": "SAE --no-splice --train-data none",
}
MINUTES = {"reproduce"}
"""too long for here; `benchmarks/reproductions.py` runs it"""
READ = {"ablate", "amplify", "swap", "patch", "screen", "curve", "map", "eval", "stop", "probe", "compare"}
"""whose runs `load_result` reads"""
WITH_MODEL = set(WORDS) - {"compare"}


def test_no_command_is_left_out() -> None:
    kinds = option_classes()
    assert {name for name, kind in kinds.items() if any(one.name == "out" for one in fields(kind))} == {
        *WORDS,
        *MINUTES,
    }


def contents(folder: Path) -> dict[str, Any]:
    """Every file: JSON without the clock, all others as their bytes."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name in ("manifest.json", "log.txt"):
            continue
        name = str(path.relative_to(folder))
        found[name] = without_times(json.loads(path.read_bytes())) if path.suffix == ".json" else path.read_bytes()
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Enough problems for folds of probes."""
    path = tmp_path_factory.mktemp("data") / "stories.jsonl"
    write_jsonl(load_stories("validation", limit=40), path)
    return str(path)


@pytest.mark.parametrize("name", WORDS)
def test_a_run_says_what_it_is_and_is_the_same_again(
    name: str, run: Callable, shelf: Any, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "save_figures", lambda *given: [])  # they take seconds, and have tests of their own
    monkeypatch.setattr(figures, "sweep_figures", lambda *given: [])
    given = data if name == "probe" else shelf.data
    (tmp_path / "recipe.json").write_text('{"batch_size": 4}')
    places = {
        "RECIPE": str(tmp_path / "recipe.json"),
        "LIVING": str(shelf.living),
        "SAE": shelf.sae,
        "DATA": shelf.data,
        "RUNS": str(tmp_path),
    }
    words = WORDS[name]
    for place, value in places.items():
        words = words.replace(place, value)
    rest = ["--model", shelf.model, "--data", given] if name in WITH_MODEL else []
    if name == "compare":
        for one in ("ablate", "swap"):
            asked = WORDS[one].replace("LIVING", str(shelf.living)).split()
            kept = ["--model", shelf.model, "--data", shelf.data, "--out", str(tmp_path / one)]
            assert run(one, *asked, *kept).code == 0
    typed = [*name.split(), *words.split(), *rest]
    if name.startswith("features"):
        typed += ["--sae", shelf.sae]
    first, second = tmp_path / "first", tmp_path / "second"
    for out in (first, second):
        ran = run(*typed, "--out", str(out))
        assert ran.code in ({0, 1} if name == "doctor" else {0}), ran.err

    manifest = json.loads((first / "manifest.json").read_text())
    check_manifest(manifest, first, name)
    assert manifest["command"] == ["codi-int", *typed, "--out", str(first)]
    assert [line.split("  ", 1)[1] for line in (first / "log.txt").read_text().splitlines()][-1] == "finished"
    assert contents(first) == contents(second)
    assert contents(first)
    if name in READ - {"amplify"}:  # a family has a folder for each of its results
        assert load_result(first).to_dict() == load_result(first).to_dict()
        assert run("report", str(first)).code == 0


def check_manifest(manifest: dict[str, Any], folder: Path, name: str) -> None:
    """Configuration, hashes, versions, seed, device, times, and the files that there are."""
    assert manifest["schema"] == "codi-int/manifest@1"
    assert (manifest["experiment"]["command"], manifest["run"]["command"]) == (name, name)
    assert len(manifest["digest"]) == 64
    known = {one.name for one in fields(option_classes()[name])}
    if "seed" in known and name not in ("sae train", "sae sweep"):  # theirs may be the recipe's
        assert "seed" in manifest["experiment"]["options"]
    assert manifest["device"] == "cpu"
    assert manifest["threads"] >= 1
    assert manifest["versions"]["codi-int"]
    assert manifest["versions"]["torch"]
    started, ended = (datetime.fromisoformat(manifest[when]) for when in ("started", "ended"))
    assert started <= ended
    assert manifest["finished"] is True
    hashes = manifest["run"]["inputs"]
    if name in WITH_MODEL:
        assert len(hashes["model"]) == 64
    # a comparison is of two runs
    assert {len(one) for both in hashes.values() for one in both.split(",") if one} <= {64}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"manifest.json"}
    # captures, which other runs may take up, have sidecars of their own
    unlisted = {file for file in there - {*manifest["files"]} if not file.startswith("activations/")}
    assert not unlisted
    for file, digest in manifest["sha256"].items():
        assert sha256((folder / file).read_bytes()).hexdigest() == digest, file
