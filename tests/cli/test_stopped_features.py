"""Ctrl-C in the middle of `features` and `probe`: what is left in --out, and that the same command then works."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codi_int.data.problems import load_problems, write_jsonl
from codi_int.features import profiles as profiles_module
from codi_int.probes.task import ProbeTask
from codi_int.sae import load_sae, save_sae
from codi_int.types import Site


@pytest.fixture(scope="module")
def typed(shelf: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, ...]]:
    """A command line of each kind, over two sites where it takes several."""
    folder = tmp_path_factory.mktemp("stopped")
    write_jsonl(load_problems("stories:validation", limit=60), folder / "more.jsonl")
    for site in (Site(1, 3), Site(2, 3)):
        sae = load_sae(shelf.sae)
        sae.annotate(site=site)
        save_sae(sae, folder / "saes" / str(site))
    data = ("--model", shelf.model, "--data", str(folder / "more.jsonl"))
    sites = ("--sae", str(folder / "saes"), "--layer", "1-2", "--position", "3")
    return {
        "rank": ("features", "rank", *data, *sites),
        "specialize": ("features", "specialize", *data, *sites),
        "pairs": ("features", "pairs", *data, "--sae", shelf.sae),
        "show": ("features", "show", "--feature", str(shelf.living), *data, "--sae", shelf.sae),
        "probe": (
            *("probe", "--target", "n_steps", *data, "--layer", "1,2", "--position", "3", "--folds", "3"),
            *("--controls", "1", "--confirm", "none", "--directions", "0"),
        ),
    }


def stop(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("command", ["rank", "specialize", "pairs", "show"])
def test_a_stopped_command_leaves_nothing(
    run: Callable, typed: dict[str, Any], command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    whole, calls = profiles_module.profile_rows, []

    def stop_at_the_last(*given: Any) -> Any:
        calls.append(given)
        return stop() if len(calls) == (2 if "--layer" in typed[command] else 1) else whole(*given)

    with monkeypatch.context() as patch:
        patch.setattr(profiles_module, "profile_rows", stop_at_the_last)
        ran = run(*typed[command], "--out", str(out))
    assert ran.code == 130
    assert "Traceback" not in ran.err
    assert not out.exists()
    # what lay there before is there still
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    monkeypatch.setattr(profiles_module, "profile_rows", stop)
    assert run(*typed[command], "--out", str(out)).code == 130
    assert [path.name for path in out.iterdir() if path.name != ".lock"] == ["notes.txt"]


def test_a_stopped_replacement_keeps_the_run_that_was_there(
    run: Callable, typed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    assert run(*typed["show"], "--out", str(out)).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    monkeypatch.setattr(profiles_module, "profile_rows", stop)
    assert run(*typed["show"], "--limit", "20", "--force", "--out", str(out)).code == 130
    after = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert {name: after.get(name) for name in before if name != ".lock"} == {
        name: data for name, data in before.items() if name != ".lock"
    }


def test_a_stopped_probe_goes_on(
    run: Callable, typed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(*typed["probe"], "--json", "--out", str(tmp_path / "whole"))
    assert whole.code == 0, whole.err
    out, score, calls = tmp_path / "run", ProbeTask.score_controls, []

    def stop_at_the_second(self: ProbeTask, *given: Any) -> Any:
        calls.append(given)
        return stop() if len(calls) > 1 else score(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(ProbeTask, "score_controls", stop_at_the_second)
        ran = run(*typed["probe"], "--out", str(out))
    assert ran.code == 130
    assert f"1 row is kept in {out}" in ran.err.replace("\n", " ")
    assert len(json.loads((out / "finished-probes.json").read_text())["rows"]) == 1
    assert not (out / "probe.json").exists()
    again = run(*typed["probe"], "--json", "--out", str(out))
    assert again.code == 0, again.err
    assert "Going on: 1 row is finished" in again.err
    assert json.loads(again.out)["rows"] == json.loads(whole.out)["rows"]
