"""features show, and a screen beside profiles: what they print, keep and refuse."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import codi_int as ci
from codi_int.features.causal import attach_screen, read_screen


@pytest.fixture
def words(shelf) -> tuple[str, ...]:
    return ("--model", shelf.model, "--data", shelf.data, "--sae", shelf.sae)


@pytest.fixture(scope="module")
def screened(shelf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kept screen of two features of the shelf's SAE."""
    folder = tmp_path_factory.mktemp("screens") / "screen"
    engine = ci.FeatureInterventionEngine(ci.load_model(shelf.model), {ci.Site(2, 3): shelf.sae})
    screen = ci.run_screen(engine, ci.load_problems(shelf.data), features=[shelf.living, 0])
    return screen.save(folder)


def test_a_feature_is_shown_and_kept(run: Callable, shelf, words: tuple[str, ...], tmp_path: Path) -> None:
    asked = ("features", "show", "--feature", f"{shelf.living},{shelf.dead}", *words)
    ran = run(*asked, "--json", "--out", str(tmp_path / "run"))
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["schema"] == "codi-int/features-show@1"
    living, dead = document["features"]
    assert (living["profile"]["feature"], dead["profile"]["feature"]) == (shelf.living, shelf.dead)
    assert dead["profile"]["n_firing"] == 0
    assert "fires on none of these problems" in dead["missing"][0]
    assert {group["kind"] for group in living["groups"]} >= {"operation", "n_steps", "correct"}
    assert json.loads((tmp_path / "run" / "features-show.json").read_text()) == document
    with (tmp_path / "run" / "features-show.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [group["name"] for one in (living, dead) for group in one["groups"]]
    again = run(*asked, "--out", str(tmp_path / "run"))
    assert again.code == 0, again.err
    assert f"feature {shelf.living} at L2.P3 of random" in again.out
    assert "Feature 31 fires on none of these problems: nothing is known of where it would." in again.page


def test_a_feature_that_is_not_there(run: Callable, words: tuple[str, ...]) -> None:
    ran = run("features", "show", "--feature", "32", *words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith("codi-int: --feature 32: Feature 32 does not exist.\nThe SAE has features 0 to 31.\n")
    assert "answers" not in ran.err  # refused before the model runs


def test_a_screen_stands_beside(run: Callable, shelf, words: tuple[str, ...], screened: Path) -> None:
    ran = run("features", "rank", *words, "--screen", str(screened), "--json")
    assert ran.code == 0, ran.err
    rows = {row["feature"]: row for row in json.loads(ran.out)["rows"]}
    screen = read_screen(screened)
    (mine,) = [row for row in screen.rows if row.feature == shelf.living]
    assert rows[shelf.living]["effect_logprob"] == mine.effect.logprob.value
    assert rows[shelf.living]["conclusion"] == mine.effect.conclusion
    assert all(row["effect_logprob"] is None for feature, row in rows.items() if feature not in (shelf.living, 0))
    page = run("features", "show", "--feature", str(shelf.living), *words, "--screen", str(screened)).page
    assert "removed: " in page


def test_a_screen_of_something_else_is_refused(run: Callable, shelf, words: tuple[str, ...], screened: Path) -> None:
    model, problems = ci.load_model(shelf.model), ci.load_problems(shelf.data)
    other = ci.load_sae(shelf.sae)
    other.W_dec.data[0] += 1.0
    found = ci.profile_features(other, model, problems, answers=False)
    with pytest.raises(ci.CodiError, match=r"is of another SAE .*feature numbers mean other things there\.\nScreen"):
        attach_screen(found, read_screen(screened))
    elsewhere = ci.profile_features(other, model, problems, site=ci.Site(2, 3), answers=False)
    with pytest.raises(ci.CodiError, match=r"The screen is of L2\.P3, the profiles are of None\.\n"):
        attach_screen(ci.Profiles(elsewhere.rows, elsewhere.latents, elsewhere.sae), read_screen(screened))
    ran = run("features", "rank", *words, "--screen", str(screened.parent))
    assert ran.code == 2
    assert "holds no result" in ran.err
