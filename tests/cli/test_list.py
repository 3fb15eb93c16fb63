"""list: what is at hand, how large and how good it is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from codi_int.catalog import ASSETS, shipped_saes
from codi_int.data.problems import load_problems
from codi_int.model.loading import load_model
from codi_int.report.inventory import take_inventory

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Neither the hub's cache nor a folder of SAEs of whoever runs the tests."""
    for name in ("HF_HUB_CACHE", "HF_DATASETS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_what_ships_is_listed_with_its_quality(run: Callable) -> None:
    ran = run("list", "--json")
    assert (ran.code, ran.err) == (0, "")
    document = json.loads(ran.out)
    assert document["schema"] == "codi-int/list@1"
    (model,) = document["models"]
    card = json.loads((ROOT / "benchmarks" / "results" / "codi_mini_card.json").read_text())["evaluation"]
    assert (model["accuracy"], model["n_problems"]) == (card["overall"]["accuracy"], card["overall"]["n"])
    assert model["measured_on"] == card["data"]
    loaded = load_model("codi-mini")
    shape = (loaded.n_layers, loaded.d_model, loaded.n_thoughts)
    assert (model["n_layers"], model["d_model"], model["n_thoughts"]) == shape
    files = [path for path in (ASSETS / "codi-mini").iterdir() if path.is_file()]
    assert (model["folder"], model["bytes"]) == (str(ASSETS / "codi-mini"), sum(p.stat().st_size for p in files))
    assert tuple(sae["name"] for sae in document["saes"]) == shipped_saes()
    (sae,) = (sae for sae in document["saes"] if sae["name"] == "codi-mini/L14.P3")
    measures = json.loads((ASSETS / "codi-mini/sae/L14.P3/cfg.json").read_text())["metadata"]["measures"]
    assert sae["name"] == "codi-mini/L14.P3"
    assert (sae["site"], sae["d_sae"], sae["k"], sae["model"]) == ("L14.P3", 512, 16, "codi-mini")
    assert (sae["explained_variance"], sae["dead_share"]) == (measures["explained_variance"], measures["dead_share"])
    other = next(sae for sae in document["saes"] if sae["name"] == "codi-mini/L10.P5")
    assert (other["site"], other["d_sae"], other["folder"]) == ("L10.P5", 512, str(ASSETS / "codi-mini" / "sae"))
    assert 190_000 < other["bytes"] < 210_000


def test_data_is_listed_with_its_size(run: Callable) -> None:
    data = {row["name"]: row for row in json.loads(run("list", "--json").out)["data"]}
    for name in ("stories:validation", "stories:sae", "stories:confirmation"):
        assert data[name]["n_problems"] == len(load_problems(name))
        assert data[name]["at_hand"]
    assert data["stories:train"]["n_problems"] is None
    assert (data["gsm8k:test"]["source"], data["gsm8k:test"]["at_hand"]) == ("openai/gsm8k", False)


def test_the_page_fits_in_80_columns(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codi_int.cli._job.stdout", lambda: __import__("rich").console.Console(width=80))
    out = run("list").out
    assert "16 layers, width 96, 6 thoughts" in out
    assert "right on 97.5 % of 1,495" in " ".join(out.split())
    (many,) = (line.split() for line in out.splitlines() if line.startswith("codi-mini/L*.P*"))
    assert many[1:] == ["111", "sites", "512", "16", "92.5-99.7", "%", "11.1-92.4", "%", "21.0", "MiB"]
    (row,) = (line.split() for line in out.splitlines() if line.startswith("codi-mini/L14.P3"))
    assert row[1:8] == ["L14.P3", "512", "16", "92.7", "%", "17.8", "%"]
    assert ["stories:train", "no", "end", "generated"] in [line.split() for line in out.splitlines()]
    assert max(map(len, out.splitlines())) <= 80


def test_folders_that_are_named_are_listed_too(run: Callable, shelf, elsewhere: Path) -> None:
    shutil.copytree(shelf.sae, elsewhere / "sweep" / "L2.P3" / "d32_k10_s0")
    document = json.loads(run("list", "--model", shelf.model, "--sae", str(elsewhere / "sweep"), "--json").out)
    mine = document["models"][1]
    assert (mine["name"], mine["n_layers"], mine["accuracy"]) == (shelf.model, 4, None)
    names = [sae["name"] for sae in document["saes"]]
    assert names == [*shipped_saes(), shelf.sae, str(elsewhere / "sweep" / "L2.P3" / "d32_k10_s0")]
    assert document["saes"][112]["explained_variance"] is None
    page = run("list", "--model", shelf.model).page
    assert f"nobody measured it: codi-int eval --model {shelf.model}" in page


def test_saes_here_are_found_without_being_named(run: Callable, shelf, elsewhere: Path) -> None:
    shutil.copytree(shelf.sae, elsewhere / "here" / "saes" / "L2.P3")
    names = [sae["name"] for sae in json.loads(run("list", "--json").out)["saes"]]
    assert names == [*shipped_saes(), "saes/L2.P3"]


def test_what_the_hub_has_left_here_is_listed(elsewhere: Path) -> None:
    home = elsewhere / "hub-home"
    folder = home / "hub" / "models--zen-E--CODI-gpt2" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    assert [model.name for model in take_inventory().models] == ["codi-mini"]  # a download that was stopped
    (folder / "model.safetensors").write_bytes(b"12345")
    (home / "datasets" / "openai___gsm8k").mkdir(parents=True)
    found = take_inventory()
    assert [(model.name, model.bytes, model.folder) for model in found.models[1:]] == [
        ("zen-E/CODI-gpt2", 5, str(folder))
    ]
    assert {one.name for one in found.data if one.at_hand} >= {"gsm8k:test", "gsm8k:train"}


@pytest.mark.parametrize(("option", "says"), [("--model", "holds no weights"), ("--sae", "holds no SAE")])
def test_folders_that_hold_nothing_are_refused(run: Callable, elsewhere: Path, option: str, says: str) -> None:
    ran = run("list", option, str(elsewhere))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"codi-int: {option} {elsewhere} {says}.\nGive the folder of ")


def test_it_loads_neither_torch_nor_a_model(run: Callable) -> None:
    import subprocess
    import sys

    code = (
        "import sys, codi_int.cli.main as m\n"
        "try: m.main(['list'])\n"
        "except SystemExit: pass\n"
        "print({'torch', 'transformers'} & set(sys.modules), file=sys.stderr)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == "set()\n"
