"""probe: what it prints, keeps, goes on from and refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import codi_int as ci
from codi_int.data.problems import write_jsonl
from codi_int.data.stories import load_stories


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Enough problems that every fold has every class."""
    path = tmp_path_factory.mktemp("data") / "stories.jsonl"
    write_jsonl(load_stories("validation", limit=60), path)
    return str(path)


def words(shelf, data: str, *more: str) -> tuple[str, ...]:
    quick = ("--folds", "3", "--controls", "1", "--confirm", "none", "--directions", "0")
    return ("probe", "--model", shelf.model, "--data", data, "--layer", "1,2", "--position", "3", *quick, *more)


def test_a_kept_run_goes_on_where_it_stopped(run: Callable, shelf, data: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    typed = words(shelf, data, *("--target", "n_steps", "--out", str(out)))
    ran = run(*typed, "--json")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["schema"] == "codi-int/probe@1"
    assert [row["site"]["layer"] for row in document["rows"]] == [1, 2]
    for row in document["rows"]:
        assert row["selectivity"] == pytest.approx(row["score"] - row["control"])
    assert {"probe.json", "probe.csv", "probe.png", "probe.svg"} <= {path.name for path in out.iterdir()}
    assert ci.load_result(out).to_dict() == document
    # a finished row is taken as it lies there, which a number of its own shows
    kept = json.loads((out / "finished-probes.json").read_text())
    kept["rows"][0]["control"] = 0.125
    (out / "finished-probes.json").write_text(json.dumps(kept))
    again = run(*typed)
    assert again.code == 0, again.err
    assert "Going on: 2 rows are finished" in again.err
    assert "0.125" in again.page
    for text in ("words of the question", "selectivity", "most selective first", "score at", "share none of"):
        assert text in again.page
    refused = run(*words(shelf, data, *("--target", "answer", "--out", str(out))))
    assert (refused.code, len(refused.err.strip().splitlines())) == (2, 2)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--target", "sum:1"), "--target sum:1"),
        (("--target", "result:9"), "have a target result:9"),
        (("--target", "answer", "--method", "logistic"), "--method logistic"),
        (("--target", "answer", "--k", "4"), "--k is for sparse probes"),
        (("--target", "answer", "--from", "thoughts"), "--layer does not go with --from thoughts"),
        (("--target", "answer", "--folds", "1"), "--folds is 1"),
    ],
)
def test_what_cannot_be_probed_is_refused_in_two_lines(
    run: Callable, shelf, data: str, more: tuple[str, ...], says: str
) -> None:
    ran = run(*words(shelf, data, *more))
    lines = [line for line in ran.err.strip().splitlines() if not line.startswith("loading")]
    assert (ran.code, len(lines)) == (2, 2), ran.err
    assert says in lines[0]
