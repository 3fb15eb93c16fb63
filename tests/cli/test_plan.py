"""`--plan`: what it counts is what the run then counts, and the run is held against it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest


def words_of(name: str, shelf) -> list[str]:
    feature = str(shelf.living)
    own = {
        "ablate": ["ablate", "--feature", feature, "--controls", "2", "--directions", "1"],
        "mean": ["ablate", "--feature", feature, "--mode", "mean", "--controls", "0"],
        "amplify": ["amplify", "--feature", feature, "--factor", "2,5", "--controls", "0"],
        "screen": ["screen", "--confirm", "none"],
        "map": ["map", "--confirm", "none", "--position", "5,6", "--thoughts"],
        "line": ["map", "--confirm", "none", "--position", "6", "--later", "clean"],
        "paths": ["map", "--confirm", "none", "--position", "6", "--cumulative", "--propagate", "split"],
        "curve": ["curve", "--confirm", "none", "--draws", "1"],
        "folds": ["curve", "--confirm", "folds", "--draws", "1", "--n", "1,4"],
    }[name]
    return [*own, "--layer", "2", "--model", shelf.model, "--data", shelf.data]


@pytest.mark.parametrize("name", ["ablate", "amplify", "screen", "map", "paths", "curve"])
def test_of_few_problems_the_rows_are_those_that_the_run_counts(name: str, run: Callable, shelf) -> None:
    words = words_of(name, shelf)
    ran = run(*words, "--plan", "--json")
    assert ran.code == 0, ran.err
    plan = json.loads(ran.out)
    assert (plan["schema"], plan["n_problems"], plan["n_probed"]) == ("codi-int/plan@1", 12, 12)
    found = json.loads(run(*words, "--json").out)
    counts = [one["counts"] for one in found.get("results", [found])]
    assert plan["rows"] == sum(one["suffix_rows"] for one in counts)
    # sets of a curve that coincide run once, and some sizes may not be there
    assert plan["most_rows"] == sum(one["pairs"] for one in counts) or name == "curve"
    assert plan["most_rows"] >= sum(one["pairs"] for one in counts)
    assert plan["memory"] > 0


def test_of_many_problems_a_few_are_run_and_the_bound_holds(
    run: Callable, shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codi_int.runs.plan.PROBED", 5)
    words = words_of("line", shelf)
    plan = json.loads(run(*words, "--plan", "--json").out)
    # a replaced residual touches every problem: rows of a map are known from five of them
    assert (plan["n_probed"], plan["rows"]) == (5, json.loads(run(*words, "--json").out)["counts"]["suffix_rows"])
    words = words_of("screen", shelf)
    plan = json.loads(run(*words, "--plan", "--json").out)
    counts = json.loads(run(*words, "--json").out)["counts"]
    assert plan["n_probed"] == 5
    # 32 features on 12 problems, of which 5 were run
    assert plan["most_rows"] == counts["pairs"] == 32 * 12 >= counts["suffix_rows"]
    assert 0 < plan["rows"] <= plan["most_rows"]
    assert any(round(whole * 12 / 5) == plan["rows"] for whole in range(32 * 5 + 1))


def test_the_run_is_held_against_its_plan(run: Callable, shelf, tmp_path: Path) -> None:
    words, out, file = words_of("ablate", shelf), tmp_path / "kept", tmp_path / "experiment.json"
    file.write_text(run(*words, "--as-document").out)
    ran = run("run", str(file), "--plan", "--out", str(out))
    assert ran.code == 0, ran.err
    assert "nothing was run" in ran.page
    assert "rows are counted" in ran.page
    assert [path.name for path in out.iterdir()] == ["plan.json"]
    plan = json.loads((out / "plan.json").read_text())
    assert run("run", str(file), "--out", str(out)).code == 0
    manifest = json.loads((out / "manifest.json").read_text())
    result = json.loads((out / "result.json").read_text())
    assert manifest["plan"] == plan
    assert manifest["digest"] == plan["digest"]
    assert manifest["took"]["rows"] == plan["rows"] == result["counts"]["suffix_rows"]
    assert manifest["took"]["seconds"] == round(result["environment"]["seconds"], 3)
    assert manifest["took"]["memory"] > 0
    # the plan is of this run, so that the folder of another one is refused as ever
    assert "holds another run" in run(*words, "--seed", "1", "--plan", "--out", str(out)).err


@pytest.mark.parametrize("name", ["line", "folds"])
def test_maps_and_curves_are_held_against_their_plans(name: str, run: Callable, shelf, tmp_path: Path) -> None:
    out = tmp_path / "kept"
    words = [*words_of(name, shelf), "--out", str(out)]
    ran = run(*words, "--plan")
    assert ran.code == 0, ran.err
    assert f"Kept in {out}: the run there is held against it." in ran.page
    assert run(*words).code == 0
    manifest, file = json.loads((out / "manifest.json").read_text()), "map" if name == "line" else "curve"
    found = json.loads((out / f"{file}.json").read_text())
    # a curve of two folds is two curves, both of which were run
    parts = [found, found["exchanged"]] if name == "folds" else [found]
    assert manifest["took"]["rows"] == sum(one["counts"]["suffix_rows"] for one in parts)
    assert 0 < manifest["took"]["rows"] <= manifest["plan"]["most_rows"]
    assert manifest["took"]["seconds"] <= manifest["took"]["with_loading"]


@pytest.mark.parametrize("content", ["{", '{"digest": "of another experiment"}'])
def test_a_plan_of_something_else_is_named_and_costs_nothing(
    content: str, run: Callable, shelf, tmp_path: Path
) -> None:
    (tmp_path / "plan.json").write_text(content)
    ran = run(*words_of("mean", shelf), "--out", str(tmp_path))
    assert ran.code == 0
    assert "plan.json is of another experiment" in " ".join(ran.err.split())
    assert not {"plan", "took"} & set(json.loads((tmp_path / "manifest.json").read_text()))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["ablate", "--feature", "3", "--propagate", "split"], "--plan counts one run, and --propagate split"),
        (["amplify", "--feature", "3", "--factor", "2", "--propagate", "split"], "--plan counts one run"),
        (["amplify", "--feature", "3", "--factor", "2", "--predict", "value:12"], "--plan counts an edit without"),
        (["screen", "--against", "random"], "--plan counts a screen of single features, not --against"),
        (["screen", "--feature", "99"], "Feature 99 does not exist"),
    ],
)
def test_what_cannot_be_planned(more: list[str], message: str, run: Callable, shelf) -> None:
    ran = run(*more, "--layer", "2", "--model", shelf.model, "--data", shelf.data, "--plan")
    assert ran.code == 2
    assert message in ran.err, ran.err
    assert len(ran.err.strip().splitlines()) == 2, ran.err


def test_a_document_of_a_command_without_plans(run: Callable, tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text(run("lens", "--limit", "3", "--as-document").out)
    ran = run("run", str(tmp_path / "experiment.json"), "--plan")
    assert ran.code == 2
    assert "is of lens, which has no --plan.\nThese have: " in ran.err
    assert "ablate, amplify, swap" in ran.err
