"""amplify: factors, clamps and predictions, as options and as files."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codi_int.data.problems import load_problems
from codi_int.model.loading import load_model
from codi_int.sae import load_sae
from codi_int.types import Site


@pytest.fixture
def amplify(shelf) -> tuple[str, ...]:
    return ("amplify", "--model", shelf.model, "--data", shelf.data, "--layer", "2", "--controls", "2")


def test_a_clamp_sets_the_feature_on_all_problems_to_its_own_percentile(
    run: Callable, amplify: tuple[str, ...], shelf, tmp_path: Path
) -> None:
    ran = run(*amplify, "--feature", str(shelf.living), "--clamp", "p90", "--json", "--out", str(tmp_path))
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    done = document["experiment"]
    assert (done["kind"], done["mode"], done["factor"]) == ("clamp", "p90", None)
    assert done["label"] == f"set {shelf.living} to its p90 where firing"
    assert document["effect"]["n_touched"] == 12
    # the rule of the controls is the edit's, each with a percentile of its own
    assert all(label.endswith("to its p90 where firing") for label in document["controls"]["random_features"]["labels"])
    assert json.loads((tmp_path / "result.json").read_text())["experiment"] == done
    # the same as the value that comes out of the latents by hand
    model, sae = load_model(shelf.model), load_sae(shelf.sae)
    values = sae.encode(model.think(load_problems(shelf.data), capture=[Site(2, 3)]).at(Site(2, 3)).values).dense()
    fires = values[:, shelf.living][values[:, shelf.living] != 0].numpy()
    sign = 1.0 if (fires > 0).mean() >= 0.5 else -1.0
    value = sign * np.percentile(sign * fires, 90)
    given = run(*amplify, "--feature", str(shelf.living), "--clamp", str(value), "--json")
    again = json.loads(given.out)
    assert again["effect"]["logprob"]["estimate"] == pytest.approx(document["effect"]["logprob"]["estimate"], abs=1e-3)
    assert again["experiment"]["label"] == f"set {shelf.living} to {value:g}"


def test_a_dead_feature_can_be_set_to_a_value_and_to_no_percentile(
    run: Callable, amplify: tuple[str, ...], shelf
) -> None:
    dead = (*amplify, "--feature", str(shelf.dead))
    ran = run(*dead, "--clamp", "p90")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-2:] == [
        f"codi-int: --feature {dead[-1]}: Feature {dead[-1]} fires on none of the 12 problems: it has no p90 there.",
        "Give the value that it is to be set to, such as --clamp 2.0, or Clamp(feature, 2.0, 2.0).",
    ]
    document = json.loads(run(*dead, "--clamp", "2.5", "--json").out)
    assert document["effect"]["n_touched"] == 12


def test_a_pull_is_held_against_matched_features(
    run: Callable, amplify: tuple[str, ...], shelf, tmp_path: Path
) -> None:
    given = (*amplify, "--feature", str(shelf.living), "--clamp", "p90", "--predict", "value:12", "--underpowered")
    ran = run(*given, "--json", "--out", str(tmp_path))
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)["prediction"]
    assert found["claim"] == "the answer becomes 12"
    assert 0 < found["n_tested"] <= 12
    assert found["controls"]["kind"] == "the same edit of matched random features"
    assert (tmp_path / "predictions.parquet").is_file()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ((), "was given neither --factor nor --clamp"),
        (("--factor", "2", "--clamp", "p90"), "was given both --factor and --clamp"),
        (("--clamp", "p101"), "these end at p100"),
        (("--clamp", "much"), "--clamp takes a number, got 'much'"),
        (("--factor", "2,3", "--predict", "value:12"), "--factor names 2"),
        (("--factor", "2", "--underpowered"), "--underpowered goes with --predict"),
        (("--factor", "2", "--predict", "value:12", "--propagate", "split"), "are two experiments"),
        (("--factor", "2", "--predict", "power"), "'power' is no prediction"),
        (("--factor", "2", "--predict", "addition:addition"), "turns addition into itself"),
        (("--factor", "2", "--predict", "value:twelve"), "names something that is no number"),
        (("--factor", "2", "--predict", "value:12"), "it takes 10"),
    ],
)
def test_what_cannot_be_is_refused_in_two_lines(
    run: Callable, amplify: tuple[str, ...], shelf, more: tuple[str, ...], says: str
) -> None:
    ran = run(*amplify, "--feature", str(shelf.living), *more)
    assert (ran.code, ran.out) == (2, "")
    lines = [line for line in ran.err.splitlines() if not line.startswith(("clean pass", "loading", "warning"))]
    assert len(lines) == 2, ran.err
    assert says in ran.err
