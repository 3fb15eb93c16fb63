"""The guide to the SAE laboratory and the page of its grid: commands parse, recipes are recipes, markers are there."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from codi_int.cli.main import make_app
from codi_int.sae.recipe_files import read_recipe

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guides" / "sae-laboratory.md").read_text(encoding="utf-8")
GRID = (ROOT / "docs" / "results" / "sae-grid.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(?:\$ )?codi-int (.*?)(?:  #.*)?$", PAGE + GRID, re.MULTILINE)
RECIPES = re.findall(r"`(\{\".*?\})`", PAGE)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line: str) -> None:
    command, words = typer.main.get_command(make_app()), shlex.split(line)
    while hasattr(command, "resolve_command"):
        group = command.make_context("codi-int", words[:])
        _, command, words = command.resolve_command(group, words)
    context = command.make_context("codi-int", words)
    assert not context.args


@pytest.mark.parametrize("text", RECIPES)
def test_recipes_are_recipes(text: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(text)
    architecture = "matryoshka" if "widths" in text else "gated" if "sparsity" in text else "topk"
    k = None if architecture == "gated" else 16
    found = read_recipe(tmp_path / "recipe.json", {"d_sae": 512}, {"architecture": architecture, "k": k})
    assert found != read_recipe(None, {"d_sae": 512}, {"k": 16})


def test_the_pages_have_both() -> None:
    assert len(COMMANDS) >= 6
    assert len(RECIPES) >= 6
    assert GRID.count(": begin -->") == GRID.count(": end -->") == 2
