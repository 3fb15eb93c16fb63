"""Recipes from JSON: which source wins, that what is saved is read back, and what is no recipe."""

import json
from dataclasses import asdict

import pytest

from codi_int.errors import ConfigError
from codi_int.sae import Anneal, AuxK, SAETrainingConfig, Sparsity
from codi_int.sae.recipe_files import read_recipe

RECIPES = [
    SAETrainingConfig(64, 4, aux=AuxK(0.5, 3, 7), anneal=Anneal(32, 5), tied_init=True, bias_init="mean"),
    SAETrainingConfig(64, 4, "matryoshka", widths=(8, 16), prune_dead=True),
    SAETrainingConfig(64, None, "jumprelu", sparsity=Sparsity(0.2, 10, 4.0), decoder_norm="unit"),
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_an_sae_carries_is_a_recipe_file(tmp_path, recipe):
    (tmp_path / "recipe.json").write_text(json.dumps(asdict(recipe)))
    assert read_recipe(tmp_path / "recipe.json", {}, {}) == recipe


def test_given_wins_over_the_file_and_the_file_over_defaults(tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text('{"epochs": 3, "batch_size": 8, "learning_rate": 1}')
    found = read_recipe(path, {"d_sae": 16, "epochs": 9, "seed": 4}, {"k": 2, "batch_size": 32, "seed": None})
    assert (found.d_sae, found.k, found.epochs, found.batch_size, found.seed) == (16, 2, 3, 32, 4)
    assert found.learning_rate == 1.0
    assert read_recipe(None, {"d_sae": 16}, {"k": 2}) == SAETrainingConfig(16, 2)


def test_a_default_k_is_for_architectures_that_take_one(tmp_path):
    defaults, path = {"d_sae": 32, "k": 16}, tmp_path / "recipe.json"
    assert read_recipe(None, defaults, {}).k == 16
    path.write_text('{"architecture": "gated", "sparsity": {"coefficient": 1}}')
    assert read_recipe(path, defaults, {}).k is None
    with pytest.raises(ConfigError, match="takes no k"):
        read_recipe(path, defaults, {"k": 4})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON"),
        ("3", "the recipe is no JSON object"),
        ('{"lr": 3}', "the recipe has no 'lr'"),
        ('{"aux": {"weight": 3}}', "aux has no 'weight'"),
        ('{"aux": {"k": "all"}}', "k must be a whole number or null, not 'all'"),
        ('{"anneal": {}}', "anneal has no k_start"),
        ('{"sparsity": {"coefficient": -1}}', "coefficient must be a positive number"),
        ('{"widths": [1, "2"]}', "widths must be a list of whole numbers"),
        ('{"tied_init": 1}', "tied_init must be true or false, not 1"),
    ],
)
def test_files_that_are_no_recipe(tmp_path, text, says):
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        read_recipe(tmp_path / "recipe.json", {"d_sae": 16, "k": 2}, {})
    assert caught.value.remedy
    with pytest.raises(ConfigError, match="cannot be read"):
        read_recipe(tmp_path, {"d_sae": 16, "k": 2}, {})
