"""From nothing to another site: which SAE a command takes, and what it says where there is none."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from codi_int.sae import load_sae

COMMANDS: dict[str, tuple[str, ...]] = {
    "ablate": ("--feature", "3", "--controls", "2"),
    "amplify": ("--feature", "3", "--factor", "4", "--controls", "2"),
    "swap": ("--feature", "3", "--with", "4", "--controls", "2"),
    "screen": ("--feature", "3,4"),
    "curve": ("--n", "1", "--draws", "1"),
}
"""every command that takes --sae beside one site, with the words that it cannot do without"""


def site_words(shelf, layer: int, position: int) -> tuple[str, ...]:
    return ("--layer", str(layer), "--position", str(position), "--model", shelf.model, "--data", shelf.data)


@pytest.fixture
def saes(shelf, tmp_path: Path) -> Path:
    """A folder of two sites, one with the shape's folder that a sweep makes."""
    for place in ("L2.P3", "L1.P3/d32_k10_s0"):
        shutil.copytree(shelf.sae, tmp_path / "saes" / place)
    config = tmp_path / "saes" / "L1.P3" / "d32_k10_s0" / "cfg.json"
    config.write_text(config.read_text().replace('"site": "L2.P3"', '"site": "L1.P3"').replace("blocks.2", "blocks.1"))
    return tmp_path / "saes"


def names_in(document: object) -> set[str]:
    """Every text in a document that names an SAE."""
    return set(re.findall(r'"sae": "([^"]+)"', json.dumps(document)))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_of_many_sites_works_in_every_command(run: Callable, shelf, saes: Path, command: str) -> None:
    for layer, place in ((2, "L2.P3"), (1, "L1.P3/d32_k10_s0")):
        ran = run(command, *COMMANDS[command], *site_words(shelf, layer, 3), "--sae", str(saes), "--json")
        assert ran.code == 0, ran.err
        assert names_in(json.loads(ran.out)) == {str(saes / place)}


def test_a_patch_of_features_takes_it_from_the_folder_too(run: Callable, shelf, saes: Path) -> None:
    kind = ("--what", "features", "--auto", "different", "--step", "1", "--underpowered", "--controls", "1")
    ran = run("patch", *kind, *site_words(shelf, 1, 3), "--sae", str(saes), "--json")
    assert ran.code == 0, ran.err
    assert names_in(json.loads(ran.out)) == {str(saes / "L1.P3/d32_k10_s0")}


@pytest.mark.parametrize("command", COMMANDS)
def test_where_there_is_none_the_two_commands_are_named(run: Callable, shelf, command: str) -> None:
    words = (command, *COMMANDS[command], *site_words(shelf, 3, 4))
    ran = run(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"codi-int: --model {shelf.model} has no SAE for L3.P4: it has SAEs for L2.P3.\n"
        f"Train it: codi-int sae train --layer 3 --position 4 --model {shelf.model} --out saes/L3.P4 · "
        f"then: codi-int {shlex.join(words)} --sae saes\n"
    )


def test_the_two_commands_lead_to_the_answer(
    run: Callable, shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"batch_size": 4, "epochs": 2}')
    words = ("ablate", "--feature", "3", *site_words(shelf, 3, 4), "--json", "--controls", "2")
    _, remedy = run(*words).err.strip().split("\n")
    train, use = (shlex.split(part) for part in remedy.removeprefix("Train it: ").split(" · then: "))
    trained = run(*train[1:], "--data", shelf.data, "--held-out", shelf.data, "--recipe", str(recipe))
    assert trained.code == 0, trained.err
    assert use[1:] == [*words, "--sae", "saes"]
    ran = run(*use[1:])
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["experiment"]["sae"] == "saes/L3.P4"


def test_a_folder_without_the_site_is_trained_into(run: Callable, shelf, saes: Path) -> None:
    words = ("ablate", "--feature", "3", *site_words(shelf, 3, 4))
    rule, remedy = run(*words, "--sae", str(saes)).err.strip().split("\n")
    assert rule == f"codi-int: --sae {saes} holds no SAE for L3.P4; it holds L1.P3/d32_k10_s0, L2.P3."
    assert f"--out {saes}/L3.P4 · then: codi-int {shlex.join(words)} --sae {saes}" in remedy
    rule, remedy = run(*words, "--sae=nowhere").err.strip().split("\n")
    assert rule == (
        "codi-int: --sae nowhere is neither a folder nor a shipped SAE (shipped: codi-mini/L0.P0 to "
        "codi-mini/L15.P6, 112 in all)."
    )
    assert f"--out nowhere/L3.P4 · then: codi-int {shlex.join(words)} --sae nowhere" in remedy


def test_an_sae_of_another_site_is_refused_before_it_runs(run: Callable, shelf) -> None:
    ran = run("ablate", "--feature", "3", *site_words(shelf, 1, 3), "--sae", shelf.sae)
    assert ran.code == 2
    assert ran.err.startswith(
        f"codi-int: --sae {shelf.sae} was trained at L2.P3, not at L1.P3.\nTrain it: codi-int sae"
    )


def test_where_the_model_brings_one_that_is_said_before_training(run: Callable, shelf) -> None:
    """Nothing needs to be trained for a site whose SAE ships."""
    for sae in ("codi-mini/L13.P3", "codi-mini/L99.P3"):
        ran = run("ablate", "--feature", "449", "--layer", "14", "--limit", "2", "--sae", sae)
        assert ran.code == 2
        assert ran.err.splitlines()[-1] == (
            "codi-mini comes with an SAE for L14.P3: leave --sae out, or give codi-mini/L14.P3."
        )
    own = run("ablate", "--feature", "449", "--layer", "14", "--limit", "2", "--sae", "nowhere")
    assert own.err.splitlines()[-1].startswith("Train it: codi-int sae train --layer 14 --position 3 --out nowhere/")


def test_several_sites_without_an_sae_are_one_sweep(run: Callable, shelf) -> None:
    ran = run("screen", "--layer", "0-1", "--position", "4", "--model", shelf.model, "--data", shelf.data)
    assert "has no SAE for L0.P4, L1.P4: it has SAEs for L2.P3.\n" in ran.err
    sweep = f"codi-int sae sweep --layer 0,1 --position 4 --model {shelf.model} --k 16 --features 512 --out saes"
    assert f"Train it: {sweep} · then: codi-int screen --layer 0-1 --position 4" in ran.err


def test_the_shipped_model_needs_no_option_for_any_of_its_sites(run: Callable) -> None:
    ran = run("ablate", "--feature", "3", "--layer", "10", "--position", "5", "--limit", "4", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["experiment"]["sae"] == "codi-mini/L10.P5"


def test_loading_a_folder_of_saes_says_which_there_are(saes: Path) -> None:
    with pytest.raises(
        Exception, match=r"is a folder of 2 SAEs: L1.P3/d32_k10_s0, L2.P3\.\nGive one of them"
    ) as caught:
        load_sae(saes)
    assert str(saes / "L1.P3" / "d32_k10_s0") in str(caught.value)


def test_a_dead_feature_is_answered_with_those_that_live(run: Callable, shelf) -> None:
    ran = run("ablate", "--feature", str(shelf.dead), *site_words(shelf, 2, 3))
    assert ran.code == 0, ran.err
    (named,) = re.findall(r"Alive at L2.P3, the most frequent first: ([\d, ]+) and (\d+) more\.", ran.page)
    rows = json.loads(run("screen", *site_words(shelf, 2, 3), "--json").out)["rows"]
    alive = sorted((row for row in rows if row["n_touched"]), key=lambda row: (-row["n_touched"], row["feature"]))
    assert [int(word) for word in named[0].split(", ")] == [row["feature"] for row in alive[:5]]
    assert int(named[1]) == len(alive) - 5
    assert "`codi-int features rank --layer 2 --position 3` lists them." in ran.page
    assert "Alive at" not in run("ablate", "--feature", str(shelf.living), *site_words(shelf, 2, 3)).page
