"""curve: what it prints, keeps and refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest


@pytest.fixture
def words(shelf) -> tuple[str, ...]:
    return ("curve", "--layer", "2", "--model", shelf.model, "--data", shelf.data, "--limit", "6")


def test_a_page_a_document_and_files(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    given = (*words, "--n", "1", "--n", "4,8", "--draws", "2")
    kept = run(*given, "--json", "--out", str(tmp_path))
    assert kept.code == 0, kept.err
    document = json.loads(kept.out)
    assert (document["schema"], document["order"]) == ("codi-int/curve@1", "attribution")
    assert [point["n"] for point in document["top"]] == [1, 4, 8]
    assert [len(line) for line in document["random"]] == [3, 3]
    assert json.loads((tmp_path / "curve.json").read_text()) == document
    rows = pq.read_table(tmp_path / "curve.parquet").to_pylist()
    assert [(row["set"], row["draw"]) for row in rows] == [("top", None)] * 3 + [("random", 0)] * 3 + [
        ("random", 1)
    ] * 3
    assert [row["accuracy"] for row in rows[:3]] == [point["accuracy"] for point in document["top"]]
    page = run(*given).page
    assert f"ablate the top n of {document['n_living']} alive features by attribution at L2.P3" in page
    assert "than random sets that take out as many latents and as much norm" in page


@pytest.mark.parametrize("order", ["screen", "frequency"])
def test_other_orders(run: Callable, words: tuple[str, ...], order: str) -> None:
    ran = run(*words, "--order", order, "--draws", "0", "--json")
    document = json.loads(ran.out)
    assert (document["order"], document["random"]) == (order, [])
    assert document["top"][-1]["n"] == document["n_living"] == len(document["features"])


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--order", "beauty"), "attribution, screen, frequency"),
        (("--n", "0"), "--n starts at 1, got 0"),
        (("--n", "few"), "--n takes whole numbers"),
        (("--draws", "-1"), "--draws is -1; it takes whole numbers from 0"),
        (("--layer", "9"), "layers 0 to 3"),
        (("--position", "4"), "L2.P4"),
    ],
)
def test_values_that_cannot_work_teach(run: Callable, words: tuple[str, ...], more: tuple[str, ...], says: str) -> None:
    ran = run(*words, *more)
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) <= 2
