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
