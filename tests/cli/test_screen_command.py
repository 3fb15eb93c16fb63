"""screen: what it prints, keeps and refuses."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest


@pytest.fixture
def words(shelf) -> tuple[str, ...]:
    return ("screen", "--layer", "2", "--model", shelf.model, "--data", shelf.data)


def test_every_feature_has_a_row_whatever_the_order(run: Callable, words: tuple[str, ...]) -> None:
    by_index = json.loads(run(*words, "--json").out)
    by_attribution = json.loads(run(*words, "--order", "attribution", "--json").out)
    assert [row["feature"] for row in by_index["rows"]] == list(range(32))
    for row, other in zip(by_attribution["rows"], by_index["rows"], strict=True):
        # rows of a batch are summed in another order
        assert row == pytest.approx(other, abs=1e-5)


def test_the_table_shows_as_many_as_asked(run: Callable, words: tuple[str, ...]) -> None:
    ran = run(*words, "--top", "3", "--feature", "1,2,3,4,5")
    assert ran.code == 0, ran.err
    assert "ablate each of 5 features" in ran.page
    assert len(re.findall(r"^\d+ +\d+\.\d %", ran.out, re.MULTILINE)) == 3


def test_out_is_kept_and_taken_up_again(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    first = run(*words, "--out", str(tmp_path), "--json", "--feature", "1,2,3")
    assert first.code == 0, first.err
    assert [row["feature"] for row in pq.read_table(tmp_path / "screen.parquet").to_pylist()] == [1, 2, 3]
    again = run(*words, "--out", str(tmp_path), "--json", "--feature", "1,2,3")
    assert "3 features are finished" in again.err
    document = json.loads(again.out)
    assert document["counts"]["pairs"] == 0
    assert document["rows"] == json.loads(first.out)["rows"]
    assert json.loads((tmp_path / "screen.json").read_text()) == document


def test_rows_of_another_screen_are_not_mixed_in(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    run(*words, "--out", str(tmp_path), "--feature", "1")
    ran = run(*words, "--out", str(tmp_path), "--feature", "1", "--seed", "5")
    assert ran.code == 2
    assert "holds a screen with seed 0, not 5" in ran.err


def test_interrupted_rows_stay(
    run: Callable, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codi_int.interventions import screen, screen_store

    keep = screen_store.ScreenFolder.keep

    def keep_and_stop(self: screen_store.ScreenFolder, rows: list) -> None:
        keep(self, rows)
        raise KeyboardInterrupt

    monkeypatch.setattr(screen, "ROWS_PER_GROUP", 1)
    monkeypatch.setattr(screen_store.ScreenFolder, "keep", keep_and_stop)
    ran = run(*words, "--out", str(tmp_path))
    assert ran.code == 130
    assert f"1 features are kept in {tmp_path}" in ran.err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--order", "beauty"), "index, attribution"),
        (("--feature", "32"), "0 to 31"),
        (("--top", "many"), "--top takes a whole number"),
        (("--position", "8"), "Position 8 does not exist"),
    ],
)
def test_values_that_cannot_work_teach(run: Callable, words: tuple[str, ...], more: tuple[str, ...], says: str) -> None:
    ran = run(*words, *more)
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) <= 2
