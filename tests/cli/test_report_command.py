"""`codi-int report`: every kind of run, several side by side, and what is no run."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codi_int.cli._report_runs import report_of
from codi_int.data.problems import load_problems, write_jsonl
from codi_int.interventions.kept import save_finding
from codi_int.report.html.blocks import ReportPage
from codi_int.report.html.render import render_report
from codi_int.types import Outcome, Problem, Step
from tests.cli import golden_models as models
from tests.cli import golden_predictions as predictions
from tests.cli import golden_results as results
from tests.cli import golden_screens as screens
from tests.cli.conftest import Ran
from tests.report.reading import check_alone, read_page

GOLDEN = Path(__file__).parent / "golden"
NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*\.?\d*")
KINDS: dict[str, Any] = {
    "result": results.RESULT,
    "dead-feature": results.DEAD_RESULT,
    "swap": results.SWAP_RESULT,
    "family": results.FAMILY,
    "compare": results.COMPARISON,
    "curve": screens.CURVE,
    "map": screens.MAP,
    "map-split": screens.SPLIT_MAP,
    "swap-predicted": predictions.PREDICTED_SWAP,
    "eval": models.EVALUATION,
    "probe": models.PROBE,
    "stop": models.STOP,
    "screen": screens.SCREEN,
}


@pytest.mark.parametrize("name", KINDS)
def test_every_number_of_the_page_is_in_the_report(name: str) -> None:
    made = report_of(KINDS[name], "run1")
    page = check_alone(render_report(ReportPage(made.title, (made,))))
    golden = (GOLDEN / f"{name}-120.txt").read_text().split("\nLeft out at")[0]
    if name == "screen":
        golden = golden[: golden.index("integrated gradients")]  # the document of a screen has the attribution
    wanted = set(NUMBER.findall(golden))
    assert len(wanted) > 3
    assert wanted - set(NUMBER.findall(page.text)) == set()
    assert page.values("section", "id") == ["run1"]
    assert made.question.endswith("?")
    assert made.answers


def test_the_answer_is_told_from_what_stands_beside_it() -> None:
    made = report_of(results.RESULT, "run1")
    assert made.title == "ablate 449 (mean) at L14.P3 of codi-mini"
    assert made.answers == ["Accuracy falls by 4.3 points (a verdict made by hand)."]
    assert made.conclusion == "changed"
    assert made.conditions[-1] == "bound declared beforehand: 1.23 points of accuracy"
    assert made.notes == ["a note made by hand, of [bold]literal[/bold] words"]
    page = read_page(render_report(ReportPage(made.title, (made,))))
    assert ["accuracy, points", "-4.32", "-6.54 to -2.11", "0.0031"] in page.rows
    screen = report_of(screens.SCREEN, "run1")
    assert next(len(block.rows) for block in screen.blocks if hasattr(block, "rows")) == len(screens.SCREEN.rows)
    assert len(screen.answers) == 3
    assert screen.conditions[-1] == "bound declared beforehand: 0.75 points of accuracy"


def outcome(number: int, answer: float | None, correct: bool) -> Outcome:
    return Outcome(f"p{number}", answer, correct, answer_logprob=-0.5, touched=True, answer_margin=1.0)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A run with a problem of each kind, and its problems."""
    problems = [
        Problem(f"p{i}", f"question {i} <script>alert({i})</script>", 10 + i, (Step(2, "multiplication", i, 2 * i),))
        for i in range(4)
    ]
    write_jsonl(problems, tmp_path / "problems.jsonl")
    sha = load_problems(str(tmp_path / "problems.jsonl")).sha256
    clean = (outcome(0, 10, True), outcome(1, 5, False), outcome(2, 7, False), outcome(3, 13, True))
    after = (outcome(0, 99, False), outcome(1, 11, True), outcome(2, None, False), outcome(3, 13, True))
    run = replace(
        results.RESULT,
        experiment=replace(results.EXPERIMENT, data=str(tmp_path / "problems.jsonl"), n_problems=4),
        environment=replace(results.RESULT.environment, data_sha256=sha),
        outcomes={"clean": clean, "reconstructed": clean, "intervened": after},
    )
    save_finding(run, tmp_path / "run")
    return tmp_path / "run"


def test_flips_have_their_text_steps_and_both_answers(run: Callable[..., Ran], kept: Path) -> None:
    done = run("report", str(kept))
    assert (done.code, done.out.strip()) == (0, str(kept / "report.html"))
    page = check_alone((kept / "report.html").read_text())
    assert "1 broken , 1 fixed , 1 changed" in page.text
    for flip in (
        "broken p0: 10 → 99 (true: 10) question 0 <script>alert(0)</script> 2 * 0 = 0",
        "fixed p1: 5 → 11 (true: 11) question 1 <script>alert(1)</script> 2 * 1 = 2",
        "changed p2: 7 → no number (true: 12)",
    ):
        assert flip in page.text
    assert "p3" not in page.text
    assert [a.get("aria-label") for tag, a in page.tags if tag == "svg"] == ["figure: effect"]


def test_problems_that_have_changed_meanwhile_have_no_text(run: Callable[..., Ran], kept: Path) -> None:
    (kept.parent / "problems.jsonl").write_text('{"id": "p0", "question": "another", "answer": 1}\n')
    assert run("report", str(kept)).code == 0
    page = read_page((kept / "report.html").read_text())
    assert "is not at hand as it was, so the problems have no text here" in page.text
    assert "broken p0: 10 → 99" in page.text
    assert "another" not in page.text


def test_several_runs_stand_side_by_side(run: Callable[..., Ran], kept: Path, tmp_path: Path) -> None:
    save_finding(screens.CURVE, tmp_path / "curve")
    done = run("report", str(kept), str(tmp_path / "curve"), "--out", str(tmp_path / "both"), "--json")
    document = json.loads(done.out)
    assert document["files"] == [str(tmp_path / "both" / "report.html")]
    page = check_alone((tmp_path / "both" / "report.html").read_text())
    assert page.values("a", "href") == ["#run1", "#run2"]
    row = next(row for row in page.rows if row[0] == "ablate 449 (mean) at L14.P3 of codi-mini")
    assert row[1:3] == ["changed", "Accuracy falls by 4.3 points (a verdict made by hand)."]
    assert "codi-int ablate --feature N --out FOLDER" in page.text


def test_a_result_without_answers_of_problems_says_so() -> None:
    made = report_of(results.RESULT, "run1")
    assert made.flips is not None
    assert made.flips.note == "The run has no answers of single problems."


def test_a_report_belongs_to_its_run(kept: Path, run: Callable[..., Ran]) -> None:
    from codi_int.run_folder import read_kept

    run("report", str(kept))
    found = read_kept(kept)
    assert found is not None
    assert "report.html" in found.files, "--force takes it away with the run"


def two_lines(done: Ran) -> list[str]:
    lines = done.err.strip().splitlines()[-2:]
    assert done.code == 2
    assert done.out == ""
    assert "Traceback" not in done.err
    return lines


def test_what_is_no_run_is_refused_in_two_lines(run: Callable[..., Ran], kept: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no result" in two_lines(run("report", str(empty)))[0]
    assert "does not exist" in two_lines(run("report", str(tmp_path / "nowhere")))[0]
    (kept / "outcomes.parquet").unlink()
    assert "result.json is not whole" in two_lines(run("report", str(kept)))[0]
    assert not (kept / "report.html").exists()


def test_several_runs_need_a_folder(run: Callable[..., Ran], kept: Path) -> None:
    assert "--out is missing" in two_lines(run("report", str(kept), str(kept)))[0]
