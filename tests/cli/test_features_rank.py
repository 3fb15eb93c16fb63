"""features rank: what it prints, keeps and refuses."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import codi_int as ci
from codi_int.records import flatten


@pytest.fixture
def words(shelf) -> tuple[str, ...]:
    return ("features", "rank", "--model", shelf.model, "--data", shelf.data, "--sae", shelf.sae)


@pytest.fixture
def rows(shelf) -> list[dict]:
    found = ci.profile_features(shelf.sae, ci.load_model(shelf.model), ci.load_problems(shelf.data))
    return [json.loads(json.dumps(flatten(one))) for one in found]


def test_the_document_has_a_row_for_each_living_feature(
    run: Callable, shelf, words: tuple[str, ...], rows: list[dict]
) -> None:
    ran = run(*words, "--json")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["schema"] == "codi-int/features-rank@1"
    assert document["rows"] == rows
    assert (document["n_alive"], document["d_sae"], document["n_problems"]) == (len(rows), 32, 12)
    assert shelf.dead not in [row["feature"] for row in rows]
    rates = [row["firing_rate"] for row in rows]
    assert rates == sorted(rates, reverse=True)


def test_the_page_shows_the_top_and_how_to_see_more(run: Callable, words: tuple[str, ...], rows: list[dict]) -> None:
    ran = run(*words, "--top", "3")
    assert f"{len(rows)} of 32 features alive at L2.P3 of random" in ran.out
    lines = [line.split() for line in ran.out.splitlines() if line.strip()[:1].isdigit()][2:]
    assert [(line[0], line[1]) for line in lines] == [(str(row["rank"]), str(row["feature"])) for row in rows[:3]]
    first = rows[0]
    assert lines[0][2:5] == [f"{100 * first['firing_rate']:.1f}", "%", str(first["n_firing"])]
    assert lines[0][5:7] == [f"{first['mean_activation']:#.3g}", f"{first['max_activation']:#.3g}"]
    assert f"and {len(rows) - 3} more; --rank 4-23 shows the next" in ran.out
    # paths stay whole, so that they can be copied, however long they are
    assert max(len(line) for line in ran.out.splitlines() if "/" not in line) <= 100


def test_ranks_are_chosen_like_any_numbers(run: Callable, words: tuple[str, ...], rows: list[dict]) -> None:
    found = json.loads(run(*words, "--rank", "2-3,5", "--json").out)["rows"]
    assert found == [rows[1], rows[2], rows[4]]
    ran = run(*words, "--rank", "2-3,5")
    assert "more;" not in ran.out
    beyond = run(*words, "--rank", f"{len(rows) + 1}-{len(rows) + 9}")
    assert beyond.out.splitlines()[-1] == f"None of the ranks asked for: there are 1 to {len(rows)}."
    ran = run(*words, "--rank", "0-3")
    assert ran.err == "codi-int: --rank starts at 1, got 0.\nWrite --rank 1-20, for example.\n"


def test_out_keeps_csv_and_json(run: Callable, words: tuple[str, ...], rows: list[dict], tmp_path: Path) -> None:
    ran = run(*words, "--out", str(tmp_path / "run"), "--json")
    assert json.loads((tmp_path / "run" / "features-rank.json").read_text()) == json.loads(ran.out)
    with (tmp_path / "run" / "features-rank.csv").open(newline="") as file:
        kept = list(csv.DictReader(file))
    assert list(kept[0]) == list(rows[0])
    assert [float(row["firing_rate"]) for row in kept] == [row["firing_rate"] for row in rows]
    assert "Kept in" in ran.err


def test_the_site_is_that_of_the_sae_or_the_one_that_is_named(
    run: Callable, shelf, words: tuple[str, ...], tmp_path: Path
) -> None:
    assert json.loads(run(*words, "--json").out)["site"] == {"layer": 2, "position": 3, "component": "resid_post"}
    shutil.copytree(shelf.sae, tmp_path / "saes" / "L2.P3")
    many = (*words[:-1], str(tmp_path / "saes"))
    assert json.loads(run(*many, "--layer", "2", "--json").out)["sae"] == str(tmp_path / "saes" / "L2.P3")
    ran = run(*many, "--layer", "1")
    assert ran.code == 2
    assert f"codi-int sae train --layer 1 --position 3 --model {shelf.model} --out {tmp_path}/saes/L1.P3" in ran.err
    config = tmp_path / "saes" / "L2.P3" / "cfg.json"
    known = json.loads(config.read_text())
    known["metadata"] = {}
    config.write_text(json.dumps(known))
    ran = run(*words[:-1], str(config.parent))
    assert ran.err.endswith("does not say at which site it was trained.\nGive --layer and --position.\n")
