"""map: what it prints, keeps and refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest


@pytest.fixture
def words(shelf) -> tuple[str, ...]:
    return ("map", "--model", shelf.model, "--data", shelf.data, "--limit", "6")


def test_the_whole_map_has_every_layer_position_and_thought(run: Callable, words: tuple[str, ...]) -> None:
    ran = run(*words, "--limit", "3", "--later", "free", "--json")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    places = [(c["site"]["layer"], c["site"]["position"]) for c in document["cells"]]
    assert places == [(layer, p) for layer in (0, 1, 2, 3, None) for p in range(7)]
    assert (document["schema"], document["kind"], document["cumulative"]) == ("codi-int/map@1", "mean", False)
    assert document["n_problems"] == 3


def test_pages_and_files_hold_the_same_cells(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    given = (*words, "--layer", "1,3", "--position", "3", "--position", "6-6", "--mode", "zero", "--later", "free")
    kept = run(*given, "--out", str(tmp_path), "--json")
    assert kept.code == 0, kept.err
    document = json.loads(kept.out)
    assert json.loads((tmp_path / "map.json").read_text()) == document
    rows = pq.read_table(tmp_path / "map.parquet").to_pylist()
    assert [row["site"] for row in rows] == ["L1.P3", "L1.P6", "L3.P3", "L3.P6"]
    assert [row["estimate"] for row in rows] == [cell["estimate"] for cell in document["cells"]]
    assert rows[-1]["estimate"] is None
    page = run(*given).page
    assert "zero in place of the residual at one layer and position" in page
    assert page.count("no path ") == 3  # both tables and the sentence
    assert "From 1 cell no path leads to the answer: nothing later reads it." in page


def test_a_map_says_what_its_cells_cost_alone_and_in_other_contexts(
    run: Callable, words: tuple[str, ...], tmp_path: Path
) -> None:
    given = (*words, "--layer", "1", "--position", "3,6")
    kept = run(*given, "--out", str(tmp_path), "--json")
    assert kept.code == 0, kept.err
    document = json.loads(kept.out)
    assert (document["later"], [cell["later"] for cell in document["cells"]]) == ("each", ["free", "free"])
    assert [cell["later"] for cell in document["contexts"]] == ["mean", "mean", "only", "only"]
    assert [row["later"] for row in pq.read_table(tmp_path / "contexts.parquet").to_pylist()][:2] == ["mean", "mean"]
    # behind the last position there is nothing to silence
    assert document["contexts"][1]["estimate"] == document["cells"][1]["estimate"]
    note = (
        "Nothing later of the layer is read behind L1.P6: what has no later position is the same alone and with later"
    )
    assert document["notes"][-1] == f"{note} ones silent."
    page = run(*given).page
    for words_of in (note, "(alone)", "(later silent)", "(only this one)", "the same cells side by side"):
        assert words_of in page
    alone = json.loads(run(*given, "--later", "free", "--json").out)
    assert (alone["later"], alone["contexts"]) == ("free", [])
    assert not any("Nothing later" in one for one in alone["notes"])
    assert [cell["estimate"] for cell in alone["cells"]] == [cell["estimate"] for cell in document["cells"]]


def test_roads_can_be_told_apart(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    given = (*words, "--layer", "1", "--position", "2-3", "--thoughts", "--propagate", "split")
    page = run(*given, "--out", str(tmp_path)).page
    assert "by both paths" in page
    assert "by the cache alone" in page
    assert "both - (cache + recurrence)" in page
    document = json.loads((tmp_path / "map.json").read_text())
    assert [split["site"]["position"] for split in document["splits"]] == [2, 3]
    assert len(document["cells"]) == 3 * 4
    assert len(pq.read_table(tmp_path / "splits.parquet").to_pylist()) == 2


def test_positions_can_be_replaced_together(run: Callable, words: tuple[str, ...]) -> None:
    given = (*words, "--layer", "1", "--position", "5", "--cumulative")
    for more, direction, n, says in (
        ((), "onwards", 2, "and all later ones"),
        (("--direction", "upto"), "upto", 5, "thoughts 1 to a position"),
    ):
        document = json.loads(run(*given, *more, "--json").out)
        assert (document["direction"], document["cells"][0]["n_replaced"]) == (direction, n)
        assert says in run(*given, *more).page


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--mode", "median"), "mean, zero"),
        (("--propagate", "air"), "both, cache, recurrence, split"),
        (("--cumulative", "--direction", "sideways"), "onwards, upto"),
        (("--direction", "upto"), "Add --cumulative"),
        (("--cumulative", "--later", "mean"), "Leave one of them out, or write --later free"),
        (("--propagate", "split", "--later", "each"), "--later each says what other positions do"),
        (("--layer", "4"), "layers 0 to 3"),
        (("--position", "7"), "Position 7 does not exist"),
        (("--position", "six"), "--position takes whole numbers"),
        (("--layer", "3", "--position", "6"), "Nothing later reads"),
    ],
)
def test_values_that_cannot_work_teach(run: Callable, words: tuple[str, ...], more: tuple[str, ...], says: str) -> None:
    ran = run(*words, *more)
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) <= 2


def test_ctrl_c_stops_cleanly(
    run: Callable, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codi_int.interventions.engine.engine import FeatureInterventionEngine

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FeatureInterventionEngine, "score", stop)
    ran = run(*words, "--layer", "1", "--out", str(tmp_path / "kept"))
    assert ran.code == 130
    assert not (tmp_path / "kept").exists()


def test_a_model_that_is_nowhere_cannot_be_drawn_anew(run: Callable) -> None:
    ran = run("map", "--model", "nowhere/at-all", "--reinitialize", "3", "--limit", "2")
    lines = [line for line in ran.err.splitlines() if not line.startswith("loading")]
    assert (ran.code, ran.out, len(lines)) == (2, "", 2)
    assert "nowhere/at-all is no folder here" in lines[0]
