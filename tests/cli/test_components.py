"""--component: from a capture at a head to a trained SAE, its edits, a screen, a map and a patch there."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from codi_int.data.problems import load_problems
from codi_int.model.loading import load_model
from codi_int.types import Site

HEAD = Site(2, 3, "head:1")
WHERE = ("--layer", "2", "--position", "3", "--component", "head:1")


@pytest.fixture(scope="module")
def trained(shelf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small SAE of one head, trained from a capture on disk."""
    from codi_int.sae.at_site import TrainingData, train_at_site
    from codi_int.sae.recipe import SAETrainingConfig

    folder, problems = tmp_path_factory.mktemp("saes"), load_problems(shelf.data)
    data = TrainingData(problems, problems, captures=folder / "captures")
    config = SAETrainingConfig(d_sae=16, k=3, batch_size=4, epochs=1)
    train_at_site(load_model(shelf.model), HEAD, data, config=config, folder=folder / str(HEAD))
    return folder


def of(shelf) -> tuple[str, ...]:
    return (*WHERE, "--model", shelf.model, "--data", shelf.data)


def test_a_capture_holds_the_component(run: Callable, shelf, tmp_path: Path) -> None:
    ran = run("capture", *of(shelf), "--out", str(tmp_path))
    assert ran.code == 0, ran.err
    assert "head:1 at positions 3" in ran.page
    exact = load_model(shelf.model).think(load_problems(shelf.data), capture=[HEAD]).at(HEAD).values
    torch.testing.assert_close(load_file(tmp_path / "layer02.safetensors")["head:1"][0], exact, atol=1e-5, rtol=1e-5)
    other = run("capture", *of(shelf)[:-4], *of(shelf)[-4:], "--component", "mlp_out", "--out", str(tmp_path))
    assert other.code == 2
    assert "--component is head:1 there, mlp_out here" in other.err


def test_an_sae_of_a_head_is_trained_ablated_and_screened(run: Callable, shelf, trained: Path, tmp_path: Path) -> None:
    again = ("--held-out", shelf.data, "--captures", str(trained / "captures"), "--features", "16", "--k", "3")
    made = run("sae", "train", *of(shelf), *again, "--epochs", "1", "--out", str(tmp_path / "sae"), "--json")
    assert made.code == 2  # the published batch is larger than these data
    screen = json.loads(run("screen", *of(shelf), "--sae", str(trained), "--json").out)
    assert [site["site"] for site in screen["sites"]] == [{"layer": 2, "position": 3, "component": "head:1"}]
    alive = next(row for row in screen["rows"] if row["n_touched"])
    assert alive["site"] == "L2.P3.head:1"
    words = ("ablate", "--feature", str(alive["feature"]), *of(shelf), "--sae", str(trained), "--controls", "0")
    one = json.loads(run(*words, "--json").out)
    assert one["experiment"]["site"]["component"] == "head:1"
    assert one["effect"]["n_touched"] == alive["n_touched"]
    assert one["effect"]["logprob"]["estimate"] == pytest.approx(alive["logprob"], abs=1e-4)
    assert "at L2.P3.head:1 of random" in run(*words).page


def test_maps_and_patches_take_a_component(run: Callable, shelf) -> None:
    found = json.loads(run("map", *of(shelf), "--later", "free", "--json").out)
    assert [cell["site"]["component"] for cell in found["cells"]] == ["head:1"]
    assert "mean in place of the head:1 at one layer and position" in run("map", *of(shelf), "--later", "free").page
    kind = ("--auto", "different", "--step", "1", "--underpowered", "--controls", "1")
    patch = run("patch", *kind, *of(shelf), "--json")
    assert patch.code == 0, patch.err
    assert json.loads(patch.out)["experiment"]["site"]["component"] == "head:1"


def test_where_no_sae_is_the_component_is_in_the_command(run: Callable, shelf) -> None:
    ran = run("ablate", "--feature", "1", *of(shelf))
    assert ran.code == 2
    assert "has no SAE for L2.P3.head:1" in ran.err
    assert "codi-int sae train --layer 2 --position 3 --component head:1" in ran.err


@pytest.mark.parametrize("command", ["ablate --feature 1", "screen", "map", "patch --auto same --step 1", "capture"])
@pytest.mark.parametrize(
    ("component", "says", "remedy"),
    [
        ("nose", "Component 'nose' does not exist.", "Known components: resid_pre, resid_mid, resid_post, attn_out"),
        ("head:4", "Head 4 does not exist: random has heads 0 to 3.", "Choose another head."),
        ("thought", "Component 'thought' with layer 2 is no site.", "all others take a layer number."),
    ],
)
def test_components_that_do_not_exist_teach(
    run: Callable, shelf, tmp_path: Path, command: str, component: str, says: str, remedy: str
) -> None:
    more = ("--out", str(tmp_path / "out")) if command == "capture" else ("--underpowered",) * ("patch" in command)
    ran = run(*command.split(), *of(shelf)[:4], *of(shelf)[6:], "--component", component, *more)
    assert ran.code == 2
    first, second = ran.err.strip().splitlines()[-2:]
    assert says in first
    assert remedy in second


def test_a_thought_is_a_component_of_its_own(run: Callable, shelf) -> None:
    words = ("patch", "--what", "thought", "--auto", "same", "--step", "1", "--position", "1")
    ran = run(*words, "--component", "attn_out", "--model", shelf.model, "--data", shelf.data)
    assert ran.code == 2
    assert "--what thought is a component of its own, and --component attn_out is another." in ran.err
