"""What the command line has kept is read back in Python, and is what Python finds."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import codi_int as ci
from codi_int.errors import OutputError


def test_kept_runs_are_what_python_finds(run: Callable, shelf, tmp_path: Path) -> None:
    rest = ["--layer", "2", "--model", shelf.model, "--data", shelf.data, "--out"]
    feature = str(shelf.living)
    assert run("ablate", "--feature", feature, "--controls", "2", *rest, str(tmp_path / "ablate")).code == 0
    back = ci.load_result(tmp_path / "ablate")
    engine = ci.FeatureInterventionEngine(ci.load_model(shelf.model), {"L2.P3": shelf.sae})
    want = engine.run(ci.Ablate(shelf.living), ci.load_problems(shelf.data), controls=2)
    assert (back.effect, back.outcomes, back.controls) == (want.effect, want.outcomes, want.controls)
    with pytest.raises(OutputError, match="holds another run: codi-int ablate"):
        want.save(tmp_path / "ablate")


def test_kept_screens_are_read_without_what_stands_beside_them(run: Callable, shelf, tmp_path: Path) -> None:
    words = ["screen", "--layer", "2", "--feature", f"3,{shelf.living}", "--order", "attribution"]
    ran = run(*words, "--model", shelf.model, "--data", shelf.data, "--out", str(tmp_path))
    assert ran.code == 0, ran.err
    assert {row.feature for row in ci.load_result(tmp_path).rows} == {3, shelf.living}
    assert "agreement" in json.loads((tmp_path / "screen.json").read_text())


def test_two_kept_runs_are_compared(run: Callable, shelf, tmp_path: Path) -> None:
    rest = ["--layer", "2", "--model", shelf.model, "--data", shelf.data, "--controls", "0"]
    one, other, out = (str(tmp_path / name) for name in ("one", "other", "compared"))
    assert run("ablate", "--feature", str(shelf.living), *rest, "--out", one).code == 0
    assert run("amplify", "--feature", str(shelf.living), "--factor", "-90", *rest, "--out", other).code == 0
    ran = run("compare", one, other, "--json", "--out", out)
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    runs = [ci.load_result(folder) for folder in (one, other)]
    right = [[outcome.correct for outcome in kept.outcomes["intervened"]] for kept in runs]
    want = ci.compare_paired(right[0], right[1])
    assert (document["effect"]["n_broken"], document["effect"]["n_fixed"]) == (want.n_broken, want.n_fixed)
    assert document["differs"] == ["kind", "mode", "factor"]
    assert document["n"] == 12
    assert ci.load_result(out).to_dict() == document
    page = run("compare", one, other).page
    assert "second run minus first run 12 problems of both" in page
    assert "the runs differ in: kind, mode, factor" in page
    again = run("compare", other, one, "--out", out)
    assert again.code == 2
    assert "holds another run: codi-int compare" in again.err


def test_what_cannot_be_compared_is_said_in_two_lines(run: Callable, shelf, tmp_path: Path) -> None:
    words = ["screen", "--layer", "2", "--feature", str(shelf.living), "--model", shelf.model, "--data", shelf.data]
    assert run(*words, "--out", str(tmp_path / "screen")).code == 0
    ran = run("compare", str(tmp_path / "screen"), str(tmp_path / "nowhere"))
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 2
    assert "it is a kept Screen" in ran.err
    assert "--out" in ran.err
