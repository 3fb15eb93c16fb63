"""Logs of Inspect: against a kept file, which Inspect's own classes read (scripts/check_peers.py), and what is refused.

`UPDATE_GOLDEN=1 pytest tests/runs/test_inspect_log.py` writes the file anew; run the script on it before it is kept.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from codi_int.errors import DataError
from codi_int.runs.inspect_log import inspect_log
from codi_int.types import Arm, Effect, Environment, Experiment, Outcome, Problem, Result, RunCounts, Site, Step

GOLDEN = Path(__file__).parent / "golden" / "inspect-log.json"
STARTED, ENDED = "2026-03-01T10:00:00Z", "2026-03-01T10:00:20Z"
PROBLEMS = (
    Problem("a", "Tom has 3 pens and buys 4. How many?", 7, (Step(3, "addition", 4, 7),)),
    Problem("b", "<script>alert(1)</script> is 10 - 4.5?", 5.5, (Step(10, "subtraction", 4.5, 5.5),)),
    Problem("c", "Half of 9?", 4.5, ()),
)


def outcome(problem_id: str, answer: int | float | None, correct: bool, touched: bool = False) -> Outcome:
    return Outcome(problem_id, answer, correct, -0.25, touched, answer_margin=1.5)


RESULT = Result(
    experiment=Experiment(
        kind="ablate",
        features=(449,),
        site=Site(14, 3),
        mode="zero",
        factor=None,
        splice="add",
        propagate="both",
        model="codi-mini",
        sae="codi-mini/L14.P3",
        data="made",
        n_problems=3,
        seed=0,
        label="ablate 449",
        sites=(Site(14, 3),),
    ),
    arms={"clean": Arm(2 / 3, 2), "intervened": Arm(1 / 3, 1)},
    effect=Effect(
        estimate=-1 / 3,
        low=-0.9,
        high=0.2,
        confidence=0.95,
        p_value=1.0,
        method="exact sign flips, by cluster",
        n=3,
        n_touched=2,
        n_broken=1,
        n_fixed=0,
        n_answer_changed=1,
        logprob=None,
        minimum_detectable=None,
        verdict="Unresolved.",
    ),
    controls={},
    by_operation=(),
    environment=Environment(
        codi_int="0.1.0",
        torch="2.13.0",
        model_sha256="m",
        sae_sha256="s",
        data_sha256="d",
        threads=1,
        device="cpu",
        dtype="float32",
        seconds=1.0,
    ),
    counts=RunCounts(pairs=0, skipped=0, suffix_rows=0, decoded=0, rerun=0),
    outcomes={
        "clean": (outcome("a", 7, True), outcome("b", 5.5, True), outcome("c", 4, False)),
        "intervened": (outcome("a", 7, True), outcome("b", None, False, True), outcome("c", 4, False, True)),
    },
)


def test_a_log_is_the_kept_file() -> None:
    log = inspect_log(RESULT, PROBLEMS, STARTED, ENDED)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(log, indent=1) + "\n")
    assert json.loads(json.dumps(log)) == json.loads(GOLDEN.read_text())


def test_accuracy_is_that_of_the_samples() -> None:
    log = inspect_log(RESULT, PROBLEMS, STARTED, ENDED)
    for score in log["results"]["scores"]:
        right = [sample["scores"][score["name"]]["value"] == "C" for sample in log["samples"]]
        assert score["metrics"]["accuracy"]["value"] == pytest.approx(sum(right) / len(right))
    # what the viewer cannot show is there in full
    assert log["eval"]["metadata"]["codi_int"] == RESULT.to_dict()


def test_without_the_problems_there_are_no_texts_and_that_is_said() -> None:
    log = inspect_log(RESULT, None, STARTED)
    assert {(sample["input"], sample["target"], sample["metadata"]["has_text"]) for sample in log["samples"]} == {
        ("", "", False)
    }
    assert log["stats"]["completed_at"] == ""


def test_the_same_run_has_the_same_names_and_another_one_others() -> None:
    first, again = (inspect_log(RESULT, PROBLEMS, STARTED)["eval"] for _ in range(2))
    later = inspect_log(RESULT, PROBLEMS, ENDED)["eval"]
    assert (first["eval_id"], first["run_id"]) == (again["eval_id"], again["run_id"])
    assert first["run_id"] != later["run_id"]
    assert first["task_id"] == later["task_id"]


def test_a_result_without_outcomes_is_refused() -> None:
    with pytest.raises(DataError, match="no answers of single problems"):
        inspect_log(replace(RESULT, outcomes={}), PROBLEMS, STARTED)
