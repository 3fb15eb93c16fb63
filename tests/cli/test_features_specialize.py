"""features specialize: what it prints, keeps and refuses."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from codi_int.data.problems import load_problems, write_jsonl


@pytest.fixture(scope="module")
def words(shelf, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    path = tmp_path_factory.mktemp("data") / "more.jsonl"
    write_jsonl(load_problems("stories:validation", limit=60), path)
    return ("features", "specialize", "--model", shelf.model, "--data", str(path), "--sae", shelf.sae)


def test_three_rules_stand_side_by_side(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    ran = run(*words, "--json", "--out", str(tmp_path / "run"))
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["schema"] == "codi-int/features-specialize@1"
    assert document["rules"] == ["published", "published-ties-counted", "tested"]
    assert [cell["n"] for cell in document["cells"][:3]] == [len(document["rows"])] * 3
    assert document["confirmed_on"] == "folds"
    assert json.loads((tmp_path / "run" / "features-specialize.json").read_text()) == document
    with (tmp_path / "run" / "features-specialize.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["feature"]) for row in rows] == [row["feature"] for row in document["rows"]]
    assert [row["published_label"] for row in rows] == [row["published_label"] for row in document["rows"]]
    with (tmp_path / "run" / "features-specialize-cells.csv").open(newline="") as file:
        assert [row["rule"] for row in csv.DictReader(file)] == 2 * document["rules"]
    assert (tmp_path / "run" / "rules.svg").exists()
    again = run(*words, "--out", str(tmp_path / "run"))
    assert again.code == 0, again.err
    assert "published-ties-counted" in again.out
    assert "confirmed on the other fold" in again.page


def test_what_it_refuses(run: Callable, shelf, words: tuple[str, ...], tmp_path: Path) -> None:
    ran = run(*words, "--band", "0.5")
    assert ran.err == "codi-int: --band takes two firing rates from 0 to 1, got 0.5.\nWrite --band 0.01-0.1.\n"
    ran = run(*words, "--confirm", "none")
    assert ran.err.endswith(
        "codi-int: --confirm none: what is not confirmed is no specialist.\n" + ran.err.splitlines()[-1] + "\n"
    )
    bare = [replace(problem, steps=()) for problem in load_problems(shelf.data)]
    write_jsonl(bare, tmp_path / "bare.jsonl")
    ran = run(*words[:4], "--data", str(tmp_path / "bare.jsonl"), "--sae", shelf.sae)
    assert ran.code == 2
    assert "has written steps, so what a feature is specialized in cannot be told.\nTake problems with steps" in ran.err
    # profiles work without
    ran = run(
        "features",
        "show",
        "--feature",
        str(shelf.living),
        *words[2:4],
        "--data",
        str(tmp_path / "bare.jsonl"),
        "--sae",
        shelf.sae,
    )
    assert ran.code == 0, ran.err
    assert "No problem has written steps: operations, numbers and patterns are not known." in ran.page
