"""swap --predict: the page, the document, what is kept, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import codi_int as ci
from codi_int.interventions.patching.predicted_run import run_predicted
from codi_int.interventions.patching.predictions import ExchangeOperations, predict_answers


@pytest.fixture
def swap(shelf) -> tuple[str, ...]:
    words = ("swap", "--feature", str(shelf.living), "--with", "3", "--layer", "2", "--controls", "2")
    return (*words, "--model", shelf.model, "--data", shelf.data)


CLAIM = ("--predict", "multiplication:addition")


def test_the_document_equals_the_library(run: Callable, shelf, swap: tuple[str, ...], tmp_path: Path) -> None:
    ran = run(*swap, *CLAIM, "--underpowered", "--json", "--out", str(tmp_path))
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    problems = ci.load_problems(shelf.data)
    engine = ci.FeatureInterventionEngine(ci.load_model(shelf.model), {ci.Site(2, 3): ci.load_sae(shelf.sae)})
    predictions = predict_answers(ExchangeOperations("multiplication", "addition"), problems)
    expected = run_predicted(
        engine,
        ci.Swap(shelf.living, 3),
        problems,
        predictions,
        controls=2,
        underpowered=True,
    ).to_dict()
    for part in ("arms", "effect", "controls", "prediction", "counts"):
        assert document[part] == json.loads(json.dumps(expected[part]))
    assert json.loads((tmp_path / "result.json").read_text()) == document
    rows = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert sum(row["informative"] for row in rows) == document["prediction"]["n_informative"]


def test_the_page_says_what_should_have_happened(run: Callable, swap: tuple[str, ...]) -> None:
    ran = run(*swap, *CLAIM, "--underpowered")
    assert ran.code == 0, ran.err
    for expected in ("prediction: multiplication and addition trade places", "the answer became", "Too few problems"):
        assert expected in ran.page


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (CLAIM, "to find a share of 10% predicted answers"),
        (("--predict", "addition:minus"), "is no prediction"),
        (("--predict", "value:12"), "two values"),
        (("--predict", "value:1000:2000"), "No problem supports the prediction that 1000 and 2000 trade places"),
        (("--underpowered",), "--underpowered goes with --predict"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    run: Callable, swap: tuple[str, ...], words: tuple[str, ...], says: str
) -> None:
    ran = run(*swap, *words)
    assert (ran.code, ran.out) == (2, ""), ran.err
    lines = [line for line in ran.err.splitlines() if not line.startswith("clean pass: ")]
    assert lines[0].startswith("codi-int: ")
    assert len(lines) == 2, ran.err
    assert says in ran.err
