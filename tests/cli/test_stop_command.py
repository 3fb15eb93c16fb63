"""stop: what it prints, keeps and refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import codi_int as ci


def test_the_document_counts_the_models_answers(run: Callable, shelf, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ("stop", "--model", shelf.model, "--data", shelf.data, "--thoughts", "7", "--out", str(out))
    document = json.loads(run(*words, "--json").out)
    assert document["schema"] == "codi-int/stop@1"
    problems, model = ci.load_problems(shelf.data), ci.load_model(shelf.model)
    for k in (0, 4, 7):
        answers = ci.answer_after(model, problems, thoughts=k)
        right = sum(ci.is_right(a.answer, p.answer) for a, p in zip(answers, problems, strict=True))
        rows = [row for row in document["rows"] if row["thoughts"] == k]
        assert sum(row["n_correct"] for row in rows) == right
        assert {row["steps"]: row["n"] for row in rows} == {
            steps: sum(len(p.steps) == steps for p in problems) for steps in {len(p.steps) for p in problems}
        }
    assert {"stop.json", "stop.parquet", "outcomes.parquet", "stop.png", "stop.svg"} <= {p.name for p in out.iterdir()}
    assert ci.load_result(out).to_dict() == document
    # the same command goes on in its folder, another one is refused
    assert run(*words).code == 0
    refused = run(*words, "--seed", "1")
    assert (refused.code, len(refused.err.strip().splitlines())) == (2, 2)


def test_the_page_names_the_models_own_number(run: Callable, shelf) -> None:
    ran = run("stop", "--model", shelf.model, "--data", shelf.data)
    assert ran.code == 0, ran.err
    for text in ("after 0 to 6 thoughts", "its own number of thoughts is 6", "% right after", "addition", "lost again"):
        assert text in ran.page


@pytest.mark.parametrize(
    ("thoughts", "says"),
    [("-1", "--thoughts"), ("3", "--thoughts 3"), ("9999", "--thoughts 9999"), ("x", "--thoughts")],
)
def test_numbers_of_thoughts_that_cannot_be(run: Callable, shelf, thoughts: str, says: str) -> None:
    ran = run("stop", "--model", shelf.model, "--data", shelf.data, "--limit", "3", "--thoughts", thoughts)
    lines = [line for line in ran.err.strip().splitlines() if not line.startswith("loading")]
    assert (ran.code, len(lines)) == (2, 2), ran.err
    assert lines[0].startswith(f"codi-int: {says}"), ran.err
