"""patch: what it prints and keeps, that it equals the library, and every bad input's two lines."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import codi_int as ci
from codi_int.cli._patched import Found
from codi_int.interventions.patching.claims import ConfirmedClaim
from codi_int.interventions.patching.pairs import find_pairs
from codi_int.interventions.patching.patch import participants, run_patch
from codi_int.interventions.patching.predictions import predict_patch

PATCH = ("patch", "--layer", "2", "--controls", "2", "--step", "1", "--underpowered")


@pytest.fixture
def base(shelf) -> tuple[str, ...]:
    return ("--model", shelf.model, "--data", shelf.data)


@pytest.fixture
def ids(shelf) -> list[str]:
    return [problem.id for problem in ci.load_problems(shelf.data)]


def test_json_is_one_document_and_equals_the_library(run: Callable, shelf, base: tuple[str, ...]) -> None:
    ran = run(*PATCH, "--auto", "different", *base, "--confirm", "none", "--json")
    assert ran.code == 0, ran.err
    printed = json.loads(ran.out)
    problems = ci.load_problems(shelf.data)
    people = participants(problems, find_pairs(problems, "different", 1), 1)
    predictions = predict_patch(people.problems, people.sources, 1)
    engine = ci.FeatureInterventionEngine(ci.load_model(shelf.model), {ci.Site(2, 3): None})
    expected = run_patch(engine, people, [ci.Site(2, 3)], predictions, controls=2).to_dict()
    assert printed["schema"] == "codi-int/result@2"
    for part in ("arms", "effect", "prediction", "by_operation", "counts"):
        assert printed[part] == json.loads(json.dumps(expected[part]))
    assert printed["prediction"]["n_tested"] > 0


def test_the_page_says_what_was_predicted_and_what_came(run: Callable, base: tuple[str, ...]) -> None:
    ran = run(*PATCH, "--auto", "different", *base)
    assert ran.code == 0, ran.err
    for expected in (
        "pairs with different results in step 1",
        "prediction: the result of step 1 is the source's",
        "are needed to find a share of 10%",
        "the answer became",
        "third value",
        "Too few problems to tell",
        "No SAE at L2.P3",
    ):
        assert expected in ran.page
    assert max(map(len, ran.out.splitlines())) <= 100


def test_both_kinds_stand_side_by_side(run: Callable, base: tuple[str, ...], shelf, tmp_path: Path) -> None:
    # stories in which two problems share a result, for the twelve of the shelf need not hold any
    words = ("patch", "--what", "thought", "--position", "1", "--auto", "both", "--step", "1", "--controls", "1")
    given = ("--model", shelf.model, "--data", "stories:validation", "--limit", "60", "--underpowered")
    ran = run(*words, *given)
    assert ran.code == 0, ran.err
    for expected in ("same value", "another value", "answers change with another value", "answers changed"):
        assert expected in ran.page
    ran = run(*words, *given, "--json", "--out", str(tmp_path / "run"))
    document = json.loads(ran.out)
    assert document["schema"] == "codi-int/results@1"
    assert [result["prediction"] is None for result in document["results"]] == [True, False]
    confirmation = document["confirmation"]
    assert [result["experiment"]["data"] for result in confirmation["results"]] == ["stories:confirmation"] * 2
    assert json.loads((tmp_path / "run" / "confirmation.json").read_text()) == confirmation
    # a random model does nothing that was predicted, so nothing is claimed
    assert set(confirmation["confirmed"].values()) <= {False}
    assert json.loads((tmp_path / "run" / "contrast.json").read_text()) == document["contrast"]
    for kind, result in zip(("same", "different"), document["results"], strict=True):
        assert json.loads((tmp_path / "run" / kind / "result.json").read_text()) == result


def test_pairs_of_a_file_cannot_be_confirmed_elsewhere(
    run: Callable, base: tuple[str, ...], tmp_path: Path, shelf
) -> None:
    problems = ci.load_problems(shelf.data)
    (tmp_path / "pairs.csv").write_text(f"target,source\n{problems[1].id},{problems[0].id}\n")
    given = ("patch", "--layer", "2", "--pairs", str(tmp_path / "pairs.csv"), *base)
    assert "needs pairs that can be found there" in refused(run, *given, "--confirm", "stories:confirmation")
    assert "1 pairs cannot be divided into two folds" in refused(run, *given, "--confirm", "folds")


def test_pairs_of_other_data_are_found_and_tested_in_two_folds(
    run: Callable, shelf, base: tuple[str, ...], tmp_path: Path
) -> None:
    data = tmp_path / "mine.jsonl"
    data.write_text(
        "".join(
            json.dumps(
                {
                    "id": p.id,
                    "question": p.question,
                    "answer": p.answer,
                    "steps": [[s.left, s.operation, s.right, s.result] for s in p.steps],
                }
            )
            + "\n"
            for p in ci.load_problems("stories:validation", limit=40)
        )
    )
    what = ("patch", "--layer", "2", "--controls", "0", "--step", "1", "--underpowered", "--auto", "different")
    words = (*what, "--model", shelf.model, "--data", str(data))
    ran = run(*words, "--out", str(tmp_path / "kept"))
    assert ran.code == 0, ran.err
    assert "within two folds" in ran.page
    assert "Nothing was found that the other fold could confirm." in ran.page
    kept = json.loads((tmp_path / "kept" / "confirmation.json").read_text())
    assert kept == {"on": "folds", "confirmed": {}, "claims": []}
    few = run(*words, "--limit", "3", "--json")
    assert few.code == 0, few.err
    assert "confirmation" not in json.loads(few.out)
    assert "3 problems cannot be divided into two folds that confirm each other" in run(*words, "--limit", "3").page


def test_pairs_of_a_file_are_kept_with_their_predictions(
    run: Callable, shelf, base: tuple[str, ...], tmp_path: Path
) -> None:
    problems = ci.load_problems(shelf.data)
    target = next(p for p in problems if len(p.steps) >= 1 and p.steps[0].result != problems[0].steps[0].result)
    (tmp_path / "pairs.csv").write_text(f"target,source\n{target.id},{problems[0].id}\n")
    out = tmp_path / "run"
    words = ("--pairs", str(tmp_path / "pairs.csv"), *base, "--json", "--out", str(out))
    assert "No problem has a third result of step 1" in refused(run, *PATCH, *words)
    ran = run("patch", "--layer", "2", *words)
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["prediction"] is None  # no step, no prediction
    assert document["effect"]["n_touched"] == 1
    assert json.loads((out / "result.json").read_text()) == document
    rows = {row["problem_id"]: row for row in pq.read_table(out / "predictions.parquet").to_pylist()}
    assert (rows[target.id]["source_id"], rows[target.id]["why_not"]) == (problems[0].id, "no step named")
    assert (rows[problems[0].id]["source_id"], rows[problems[0].id]["why_not"]) == (None, "no source")


def test_predictions_of_single_problems_are_kept(run: Callable, base: tuple[str, ...], tmp_path: Path) -> None:
    ran = run(*PATCH, "--auto", "different", *base, "--json", "--out", str(tmp_path))
    test = json.loads(ran.out)["prediction"]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    figures = {f"{name}.{end}" for name in ("effect", "prediction") for end in ("png", "svg")}
    tables = ("outcomes.parquet", "predictions.parquet")
    assert set(manifest["sha256"]) == {"result.json", "confirmation.json", *tables, *figures}
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    rows = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert sum(row["informative"] for row in rows) == test["n_informative"]
    assert sum(row["informative"] and row["intervened"] == row["predicted"] for row in rows) == test["n_hits"]
    outcomes = pq.read_table(tmp_path / "outcomes.parquet").to_pylist()
    assert [row["clean"] for row in rows] == [row["answer"] for row in outcomes if row["arm"] == "clean"]


def test_features_are_patched_with_matched_features_beside(run: Callable, shelf, base: tuple[str, ...]) -> None:
    ran = run(*PATCH, "--auto", "different", "--what", "features", "--feature", str(shelf.living), *base, "--json")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["experiment"]["features"] == [shelf.living]
    assert document["experiment"]["sae"] == shelf.sae
    if document["effect"]["n_touched"]:
        assert document["controls"]["random_features"]["draws"] > 0


def refused(run: Callable, *words: str) -> str:
    """The error of a command that must be refused: exit code 2, at most two lines, nothing on stdout."""
    ran = run(*words)
    assert (ran.code, ran.out) == (2, ""), ran.err
    stages = ("clean pass: ", "edited passes: ", "controls: ")
    lines = [line for line in ran.err.splitlines() if not line.startswith(stages)]
    assert lines[0].startswith("codi-int: ")
    assert len(lines) <= 2, ran.err
    return ran.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--layer", "2"), "--pairs FILE or --auto KIND; got neither"),
        (("--layer", "2", "--auto", "same", "--pairs", "x.csv", "--step", "1"), "got both"),
        (("--layer", "2", "--auto", "equal", "--step", "1"), "same, different, both"),
        (("--layer", "2", "--auto", "same"), "--step is missing"),
        (("--layer", "2", "--auto", "same", "--step", "9"), "No problem has a step 9"),
        (("--layer", "2", "--auto", "same", "--step", "one"), "--step takes a whole number"),
        (("--auto", "same", "--step", "1"), "--what residual needs a layer"),
        (("--layer", "2", "--what", "thought", "--auto", "same", "--step", "1"), "--what thought belongs to no layer"),
        (("--layer", "2", "--what", "heads", "--auto", "same", "--step", "1"), "residual, thought, features"),
        (("--layer", "2", "--feature", "3", "--auto", "same", "--step", "1"), "--feature goes with --what features"),
        (("--layer", "1,2", "--what", "features", "--auto", "same", "--step", "1"), "takes one site"),
        (("--layer", "2", "--pairs", "nowhere.csv"), "nowhere.csv cannot be read"),
        (("--layer", "9", "--auto", "different", "--step", "1", "--underpowered"), "Layer 9 does not exist"),
        (("--layer", "2", "--auto", "different", "--step", "1"), "to find a share of 10% predicted answers"),
        (
            ("--what", "thought", "--position", "6", "--auto", "different", "--step", "1", "--underpowered"),
            "cannot reach the answer",
        ),
    ],
)
def test_what_cannot_work_teaches(run: Callable, base: tuple[str, ...], words: tuple[str, ...], says: str) -> None:
    assert says in refused(run, "patch", *words, *base)


def test_wrong_pairs_name_the_line(run: Callable, base: tuple[str, ...], ids: list[str], tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"target": ids[0], "source": "no-such"}) + "\n")
    assert "line 1: no problem has the id 'no-such'" in refused(
        run, "patch", "--layer", "2", "--pairs", str(path), *base
    )


def test_pairs_that_predict_nothing_new_are_refused(
    run: Callable, base: tuple[str, ...], shelf, tmp_path: Path
) -> None:
    problems = ci.load_problems(shelf.data)
    longest = max(len(problem.steps) for problem in problems)
    short = next(problem for problem in problems if len(problem.steps) < longest)
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"target": short.id, "source": next(p.id for p in problems if p is not short)}) + "\n")
    said = refused(run, "patch", "--layer", "2", "--pairs", str(path), "--step", str(longest), *base)
    assert f"predicts another answer by the result of step {longest}" in said


def test_what_confirms_is_told_with_its_power() -> None:
    claim = ConfirmedClaim(
        name="the prediction",
        fold=None,
        n_selecting=400,
        selecting_estimate=0.2,
        n=380,
        estimate=0.153,
        p_value=0.0012,
        p_adjusted=0.0024,
        confirmed=True,
        power=0.934,
    )
    found = Found((), (), None, claims=(claim,), confirmed_on="stories:confirmation")
    assert found.confirmation_words() == (
        "On stories:confirmation (Holm, same sign): the prediction is confirmed (+15.30 points, p = 0.0024; power 93 % "
        "at most)."
    )
    folds = (replace(claim, fold=0), replace(claim, fold=1, n=0, estimate=None, p_adjusted=None, confirmed=False))
    assert replace(found, claims=folds, confirmed_on="folds").confirmation_words() == (
        "On the other fold (Holm at half the level, same sign): the prediction, found by fold 1, is confirmed (+15.30 "
        "points, p = 0.0024; power 93 % at most); the prediction, found by fold 2, is not confirmed (no pair there "
        "could be tested)."
    )
    assert Found((), (), None, notes=("Too few.",)).confirmation_words() == "Too few."
    assert Found((), (), None).confirmation_words() is None
