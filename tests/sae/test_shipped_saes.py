"""codi-mini's SAE at every site: all are there and whole, fit the model, and one of them as it always was."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import codi_int as ci
from codi_int.catalog import shipped_config, shipped_saes
from codi_int.sae.base import check_fits
from codi_int.sae.metrics import measure

SITES = [ci.Site(layer, position) for layer in range(16) for position in range(7)]
CODI = Path(sys.executable).with_name("codi-int")


@pytest.fixture(scope="module")
def model():
    return ci.load_model("codi-mini")


def test_there_is_one_for_every_site_and_all_are_of_one_recipe_and_seed(model):
    assert shipped_saes() == tuple(f"codi-mini/{site}" for site in SITES)
    recipes = set()
    for site in SITES:
        sae = ci.load_sae(f"codi-mini/{site}")  # which compares its hash
        check_fits(sae, model, site)
        assert (sae.d_in, sae.d_sae, sae.config.k, sae.config.rule) == (96, 512, 16, "abs")
        known = sae.config.provenance
        assert known.model_sha256 == model.sha256
        assert known.training_data == "stories:sae"
        if site != ci.Site(14, 3):
            recipes.add(json.dumps(dict(known.recipe), sort_keys=True))
            assert known.seed == 0
            assert abs(known.measures["explained_variance_unrounded"] - known.measures["explained_variance"]) < 1e-4
        assert shipped_config(f"codi-mini/{site}")["metadata"]["site"] == str(site)
    assert len(recipes) == 1


def test_the_one_that_was_chosen_is_unchanged():
    chosen = ci.load_sae("codi-mini/L14.P3")
    assert chosen.config.provenance.seed == 71
    assert chosen.sha256 == "8240a43a8bcad06114e9bb46e105cae589de057a818e36408459827b4f976c97"


def test_what_the_index_says_is_what_is_measured(model):
    problems, some = (
        ci.load_problems("stories:validation"),
        [ci.Site(0, 0), ci.Site(7, 6), ci.Site(10, 5), ci.Site(15, 1)],
    )
    batch = model.think(problems, capture=some)
    for site in some:
        sae = ci.load_sae(f"codi-mini/{site}")
        found = measure(sae, batch.at(site).values)
        assert found.explained_variance > 0.9
        assert found.explained_variance == pytest.approx(sae.config.provenance.measures["explained_variance"], abs=1e-5)
        assert found.dead_share == pytest.approx(sae.config.provenance.measures["dead_share"], abs=3 / 512)


@pytest.mark.parametrize(
    "words",
    [
        "ablate --feature 3 --layer 10 --position 5 --controls 2",
        "swap --feature 3 --with 5 --layer 10 --position 5 --controls 2",
        "screen --feature 3 --layer 10 --position 5",
        "curve --n 1 --n 2 --draws 2 --order frequency --layer 10 --position 5",
    ],
)
def test_commands_take_it_without_being_told(words):
    ran = subprocess.run([str(CODI), *words.split(), "--limit", "12", "--json"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "codi-mini/L10.P5" in ran.stdout


def test_python_takes_it_by_name(model):
    problems = ci.load_problems("stories:validation", limit=12)
    engine = ci.FeatureInterventionEngine(model, {ci.Site(10, 5): ci.load_sae("codi-mini/L10.P5")})
    result = engine.run(ci.Ablate(3), problems, controls=None)
    assert result.experiment.sae == "codi-mini/L10.P5"
    assert result.environment.sae_sha256 == ci.load_sae("codi-mini/L10.P5").sha256


def test_a_site_that_the_model_does_not_have():
    ran = subprocess.run(
        [str(CODI), "ablate", "--feature", "3", "--layer", "10", "--position", "9"], capture_output=True, text=True
    )
    assert ran.returncode == 2
    rule, remedy = ran.stderr.strip().splitlines()[-2:]  # before them it says that it loads
    assert rule.startswith("codi-int: ")
    assert "Position 9 does not exist" in rule
    assert remedy == "Choose another position."
