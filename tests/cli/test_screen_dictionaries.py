"""screen --seeds and --against: trained on the way, kept, taken up again, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from codi_int.cli._dictionary_pages import _coefficient
from codi_int.interventions.kept import load_result
from codi_int.interventions.screens.dictionaries import DictionaryComparison, SeedComparison
from codi_int.records import Estimate
from codi_int.sae import load_sae, save_sae


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.json"
    path.write_text(json.dumps({"batch_size": 4, "epochs": 2, "d_sae": 16, "k": 3}))
    return path


@pytest.fixture
def train(run: Callable, shelf, recipe: Path, tmp_path: Path) -> Callable[..., Path]:
    """Trains an SAE at L2.P3 of the tiny model; returns its folder."""

    def train(name: str, *more: str) -> Path:
        data = ("--model", shelf.model, "--data", shelf.data, "--held-out", shelf.data, "--layer", "2")
        ran = run("sae", "train", *data, "--recipe", str(recipe), "--out", str(tmp_path / name), *more)
        assert ran.code == 0, ran.err
        return tmp_path / name

    return train


@pytest.fixture
def words(shelf, train: Callable[..., Path]) -> tuple[str, ...]:
    sae = str(train("own"))
    return ("screen", "--layer", "2", "--model", shelf.model, "--data", shelf.data, "--sae", sae)


def test_dictionaries_are_trained_compared_kept_and_not_trained_again(
    run: Callable, words: tuple[str, ...], tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    asked = (*words, "--seeds", "0-1", "--against", "frozen,random", "--out", str(out), "--json")
    first = run(*asked)
    assert first.code == 0, first.err
    document = json.loads(first.out)
    seeds, against = document["seeds"], document["against"]
    assert (document["schema"], seeds["schema"], against["schema"]) == (
        "codi-int/screen@1",
        "codi-int/seeds@1",
        "codi-int/against@1",
    )
    # 0 is the own one's seed
    assert [(one["name"], one["seed"]) for one in (seeds["own"], *seeds["others"])] == [("own", 0), ("seed 1", 1)]
    own = {row["feature"]: row for row in document["rows"] if row["n_touched"]}
    for row in seeds["rows"]:
        assert (row["n_touched"], row["accuracy"]) == (
            own[row["feature"]]["n_touched"],
            own[row["feature"]]["estimate"],
        )
    assert [row["name"] for row in against["rows"]] == ["own", "frozen", "random"]
    assert against["rows"][0]["n_living"] == len(own)
    assert against["rows"][0]["n_confirmed"] == document["selection"]["n_confirmed"]
    kept = out / "dictionaries" / "L2.P3"
    recipes = {name: load_sae(kept / name).config.provenance.recipe for name in ("seed-1", "frozen", "random")}
    assert {name: (noted["seed"], noted["freeze"]) for name, noted in recipes.items()} == {
        "seed-1": (1, "none"),
        "frozen": (0, "decoder"),
        "random": (0, "all"),
    }
    other_seeds = load_result(out / "seeds.json")
    assert isinstance(other_seeds, SeedComparison)
    assert "SeedComparison at L2.P3" in repr(other_seeds)
    assert list(other_seeds.to_frame()["partner"]) == [row["partner"] for row in seeds["rows"]]
    read = load_result(out / "against.json")
    assert isinstance(read, DictionaryComparison)
    assert read.to_dict() == against
    assert f"own: {len(own)} of 16 features fire" in repr(read)
    assert list(read.to_frame()["name"]) == ["own", "frozen", "random"]
    times = {path: path.stat().st_mtime_ns for path in kept.rglob("*.safetensors")}
    again = run(*asked)
    assert "features are finished" in again.err
    assert "train seed 1" not in again.err
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*.safetensors")} == times
    repeated = json.loads(again.out)
    for name in ("seeds", "against"):
        for one in (repeated[name], document[name]):
            del one["environment"]
        assert repeated[name] == document[name]
    page = run(*asked[:-1]).page
    assert "other dictionaries of the same recipe: seed 1" in page
    assert "this dictionary against others" in page


def test_chosen_features_have_their_partners_alone(run: Callable, words: tuple[str, ...]) -> None:
    whole = json.loads(run(*words, "--seeds", "1", "--json").out)["seeds"]
    feature = whole["rows"][0]["feature"]
    some = json.loads(run(*words, "--seeds", "1", "--feature", str(feature), "--json").out)["seeds"]
    assert [(row["feature"], row["partner"]) for row in some["rows"]] == [(feature, whole["rows"][0]["partner"])]
    assert some["rows"][0]["probability_partner"] == pytest.approx(whole["rows"][0]["probability_partner"], abs=1e-5)
    assert some["agreements"] == []


def test_seeds_may_be_saes_that_are_there(run: Callable, words: tuple[str, ...], train: Callable[..., Path]) -> None:
    other = train("other", "--seed", "5")
    found = json.loads(run(*words, "--seeds", str(other), "--against", f"random,{other}", "--json").out)
    (note,) = found["seeds"]["others"]
    assert (note["seed"], note["sae"], note["sae_sha256"]) == (5, str(other), load_sae(other).sha256)
    assert [row["kind"] for row in found["against"]["rows"]] == ["own", "random", "given"]


@pytest.mark.parametrize(
    ("more", "words_of_error"),
    [
        (("--k", "4"), "its k is 4, not 3."),
        (("--features", "20"), "its d_sae is 20, not 16."),
        (("--limit", "10"), "its training data is"),
        (("--epochs", "3", "--seed", "1"), "its recipe has epochs 3, not 2."),
        (("--freeze", "decoder"), "its recipe has freeze decoder, not none."),
        ((), "is"),
    ],
)
def test_what_differs_in_more_than_its_seed_is_no_seed(
    run: Callable, words: tuple[str, ...], train: Callable[..., Path], more: tuple[str, ...], words_of_error: str
) -> None:
    ran = run(*words, "--seeds", str(train("other", *more)))
    assert (ran.code, len(ran.err.strip().splitlines())) == (2, 2), ran.err
    assert words_of_error in ran.err
    assert ("itself" in ran.err) == (not more)


@pytest.mark.parametrize(
    ("more", "words_of_error"),
    [
        (("--seeds", "0"), "names only the seed of SAE"),
        (("--seeds", "0,,1"), "--seeds takes names with commas between them"),
        (("--seeds", "3-1"), "--seeds 3-1 runs downwards."),
        (("--against", ""), "--against takes names with commas between them"),
        (("--against", "nothing-there"), "nothing-there"),
        (("--against", "random", "--feature", "1"), "--against compares whole dictionaries."),
        (("--seeds", "1", "--position", "2,3"), "--seeds compares dictionaries of one site."),
        (("--seeds", "1", "--pairs", "pairs.csv"), "--seeds compares single features"),
    ],
)
def test_slips_are_two_lines(run: Callable, words: tuple[str, ...], more: tuple[str, ...], words_of_error: str) -> None:
    ran = run(*words, *more)
    assert ran.code == 2
    assert words_of_error in ran.err
    errors = [line for line in ran.err.strip().splitlines() if "loading" not in line]
    assert len(errors) == 2, ran.err


def test_an_sae_without_a_recipe_or_with_other_data_has_no_other_seeds(
    run: Callable, shelf, words: tuple[str, ...], tmp_path: Path
) -> None:
    bare = ("screen", "--layer", "2", "--model", shelf.model, "--data", shelf.data)
    ran = run(*bare, "--seeds", "1")
    assert ran.code == 2
    assert "No recipe is noted with SAE" in ran.err
    altered = load_sae(words[-1])
    altered.annotate(data_sha256="0" * 64)
    save_sae(altered, tmp_path / "altered")
    ran = run(*bare, "--sae", str(tmp_path / "altered"), "--seeds", "1")
    assert ran.code == 2
    assert "is not what SAE" in ran.err


@pytest.mark.parametrize(
    ("value", "interval", "shown"),
    [
        (0.57, (0.08, 0.66), "0.57"),
        (1.02, (0.91, 1.08), "1.02"),
        (-1.35, (-0.27, 0.72), "-"),
        (1.39, (None, None), "-"),
        (0.31, (None, None), "0.31"),
        (0.0, (None, None), "-"),
    ],
)
def test_a_coefficient_that_its_own_draws_never_come_near_is_none(
    value: float, interval: tuple[float | None, float | None], shown: str
) -> None:
    assert _coefficient(Estimate(value, *interval)) == shown
