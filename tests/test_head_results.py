"""The page of heads and components: its numbers are those of the kept results, and each script says what it means."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benchmark_scripts import benchmark_script

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "results" / "heads.md").read_text()
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """benchmarks/each_head.py."""
    with benchmark_script("each_head") as module:
        yield module


def kept(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def section(marker: str) -> str:
    found = re.search(f"<!-- {marker}: begin -->(.*)<!-- {marker}: end -->", PAGE, flags=re.DOTALL)
    assert found is not None
    return found[1].strip()


def test_both_paths_agree_on_every_cell_of_every_component() -> None:
    found = kept("components")
    assert not found["quick"]
    # three heads, and what a block takes in, passes on, puts out and adds by attention and MLP, at 16 x 7 places
    assert {row["component"] for row in found["rows"]} >= {
        "resid_pre",
        "resid_mid",
        "resid_post",
        "attn_out",
        "mlp_out",
    }
    assert [row["component"] for row in found["rows"]][-3:] == ["head:0", "head:1", "head:2"]
    assert all(108 <= row["cells"] <= 112 for row in found["rows"])
    assert sum(row["answers_differ"] for row in found["rows"]) == 0
    assert max(row["most_nats"] for row in found["rows"]) < 1e-4
    assert found["heads"] < 1e-5
    for row in found["rows"]:
        assert f"| {row['component']} | {row['cells']} | 0 | {row['most_nats']:.1e} |" in section("components")


def test_the_map_of_heads_has_every_head_that_is_read(script: ModuleType) -> None:
    rows = kept("each_head_map")["rows"]
    places = {(row["layer"], row["position"], row["head"]) for row in rows}
    every = {(layer, position, head) for layer in range(16) for position in range(7) for head in range(3)}
    assert every - places == {(15, 6, head) for head in range(3)}  # nothing later reads the last position's last block
    assert section("each-counts") == script.share_words(kept("each_head_map"))


def test_what_is_said_again_is_what_was_measured(script: ModuleType) -> None:
    again = kept("each_head_again")
    ranked = sorted(kept("each_head_map")["rows"], key=lambda row: row["nats"])[: len(again["rows"])]
    assert [script.head_name(row) for row in again["rows"]] == [script.head_name(row) for row in ranked]
    assert script.again_table(again["rows"]) in section("each-again")
    results = kept("each_head_results")
    for kind in ("writes", "reads"):
        assert section(f"each-{kind}") == script.results_table([r for r in results["again"] if r["kind"] == kind])
    assert section("each-readers") == script.readers_table(kept("each_head_readers"))


ROW = {"first": 5, "position": 1, "head": 2, "step": 1, "n": 10, "nats": 0.5, "low": 0.25, "high": 0.75, "p_holm": 0.01}


def test_a_row_is_worded_with_its_place_interval_and_verdict(script: ModuleType) -> None:
    sure = {**ROW, "nats_ranking": 0.4, "confirmed": True}
    loose = {**ROW, "position": 7, "nats": 0.9, "low": None, "p_holm": None, "nats_ranking": 1.0, "confirmed": False}
    lines = script.results_table([loose, sure]).splitlines()
    assert lines[2] == "| L5.P1.head:2 | 1 | 10 | +0.500 | +0.250 to +0.750 | 0.0100 | +0.400 | yes |"
    assert lines[3] == "| L5.answer.head:2 | 1 | 10 | +0.900 | too few carry it | - | +1.000 | no |"


def test_one_head_is_one_head(script: ModuleType) -> None:
    one = script.Single(kind="writes", step=1, first=4, last=4, position=3, head=2)
    assert one.heads(3) == [(4, 2)]
    place = {"layer": 4, "position": 3, "head": 2}
    assert script.lost_at([{**place, "nats": -0.2}], **place) == 0.2
    assert script.lost_at([{**place, "nats": 0.2}], **place) == 0.0
    assert script.lost_at([], **place) is None
