"""features pairs, and swap --pairs: what they print, keep and refuse."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.golden_features import PAIR


@pytest.fixture
def words(shelf) -> tuple[str, ...]:
    return ("--model", shelf.model, "--data", shelf.data, "--sae", shelf.sae)


def keep(folder: Path, site: dict[str, object], features: tuple[int, int]) -> str:
    """A pair as `features pairs --out` keeps it."""
    row = {**vars(PAIR), "feature": features[0], "other": features[1]}
    known = {"rule": "tested", "site": site, "model": "random", "sae": "x", "data": "y", "n_problems": 12, "n_pairs": 1}
    document = {"schema": "codi-int/swap-pairs@1", **known, "rows": [row]}
    folder.mkdir()
    (folder / "features-pairs.json").write_text(json.dumps({"tested": document}))
    return str(folder)


def test_pairs_are_printed_and_kept(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    ran = run("features", "pairs", *words, "--json", "--out", str(tmp_path / "run"))
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["schema"] == "codi-int/features-pairs@1"
    assert {name: document[name]["rule"] for name in ("tested", "published")} == {
        "tested": "tested",
        "published": "published",
    }
    assert json.loads((tmp_path / "run" / "features-pairs.json").read_text()) == document
    assert (tmp_path / "run" / "features-pairs.csv").exists()


def test_a_kept_pair_is_swapped(run: Callable, shelf, words: tuple[str, ...], tmp_path: Path) -> None:
    site = {"layer": 2, "position": 3, "component": "resid_post"}
    folder = keep(tmp_path / "pairs", site, (shelf.living, 0))
    asked = ("swap", "--pairs", folder, *words, "--controls", "1", "--json")
    assert run(*asked, "--layer", "2").err.endswith("or run it anyway with --underpowered.\n")
    ran = run(*asked, "--layer", "2", "--underpowered")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["experiment"]["features"] == [shelf.living, 0]
    assert document["prediction"]["claim"] == "division and addition trade places"
    assert "is of L2.P3, not of L1.P3.\nGive its --layer" in run(*asked, "--layer", "1").err
    assert "has 1 pairs.\n" in run(*asked, "--layer", "2", "--pair", "2").err
    ran = run(*asked, "--layer", "2", "--feature", "3")
    assert ran.err == (
        "codi-int: --pairs names features and claim.\n"
        "Leave out --feature, --with and --predict, or leave out --pairs.\n"
    )
    ran = run("swap", *words, "--layer", "2")
    assert (ran.code, ran.err) == (2, "codi-int: A swap needs two sides.\nGive --feature and --with, or --pairs.\n")
