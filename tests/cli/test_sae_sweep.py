"""sae sweep: what it trains, prints and keeps, that it goes on after a stop, and what stops it before it starts."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from codi_int.data.problems import load_problems
from codi_int.model.loading import load_model
from codi_int.report import figures
from codi_int.sae import load_sae, measure
from codi_int.types import Site


@pytest.fixture(autouse=True)
def drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take seconds; one test draws them."""
    if "drawn_and" not in request.node.name:
        monkeypatch.setattr(figures, "sweep_figures", lambda folder, out: [])


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"batch_size": 4, "learning_rate": 0.01}))
    return str(path)


@pytest.fixture
def words(shelf, recipe: str, tmp_path: Path) -> tuple[str, ...]:
    data = ("--model", shelf.model, "--data", shelf.data, "--held-out", shelf.data, "--layer", "2", "--position", "3")
    shape = ("--k", "2,4", "--features", "16,32", "--epochs", "2", "--recipe", recipe)
    return ("sae", "sweep", *data, *shape, "--out", str(tmp_path / "sweep"))


def test_every_combination_is_trained_measured_drawn_and_printed(
    run: Callable, words: tuple[str, ...], shelf, tmp_path: Path
) -> None:
    ran = run(*words)
    assert ran.code == 0, ran.err
    assert "4 TopK SAEs at L2.P3 of" in ran.page
    for name in ("d16 K2", "d16 K4", "d32 K2", "d32 K4"):
        assert name in ran.page
    assert "SAE epochs: 8 of 8 · L2.P3, epoch 2, mse" in ran.err
    table = json.loads((tmp_path / "sweep" / "grid.json").read_text())
    assert f"{sum(row['strict_front'] for row in table)} on the strict one (S)" in ran.page
    model, problems = load_model(shelf.model), load_problems(shelf.data)
    rows = model.think(problems, capture=[Site(2, 3)]).at(Site(2, 3)).values
    for row in table:
        sae = load_sae(tmp_path / "sweep" / row["folder"])
        assert (sae.d_sae, sae.config.k, sae.site) == (row["d_sae"], row["k"], Site(2, 3))
        assert sae.config.provenance.model_sha256 == model.sha256
        assert sae.config.provenance.recipe["learning_rate"] == 0.01
        assert row["explained_variance"] == pytest.approx(measure(sae, rows).explained_variance, abs=1e-4)
        assert row["folder"] in load_file(tmp_path / "sweep" / "frequencies.safetensors")
    with (tmp_path / "sweep" / "grid.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4
    assert (tmp_path / "sweep" / "pareto.png").read_bytes().startswith(b"\x89PNG")


def test_json_splice_and_several_sites(run: Callable, words: tuple[str, ...]) -> None:
    ran = run(*words, "--layer", "1-2", "--seed", "0,1", "--splice", "--json")
    document = json.loads(ran.out)
    assert document["schema"] == "codi-int/sweep@1"
    assert len(document["rows"]) == 16
    assert {row["site"] for row in document["rows"]} == {"L1.P3", "L2.P3"}
    assert all(row["n_problems_spliced"] == 12 for row in document["rows"])
    page = run(*words, "--layer", "1-2", "--seed", "0,1", "--splice").page
    assert "L1.P3 d16 K2 s1" in page
    assert "right, nats" in page


def test_a_stopped_sweep_says_how_to_go_on_and_does(
    run: Callable, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codi_int.cli import sae_sweep

    def stop(self: sae_sweep._SweepProgress, row: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sae_sweep._SweepProgress, "saved", stop)
        ran = run(*words)
    assert ran.code == 130
    (last,) = [line for line in ran.err.splitlines() if "Stopped" in line or "kept" in line]
    assert last == f"codi-int: Stopped. 1 of 4 SAEs are kept in {tmp_path / 'sweep'}; the command goes on there."
    again = run(*words)
    assert again.code == 0
    assert "SAE epochs: 6 of 6" in again.err, "the finished one is not trained again"


def test_captures_are_shared_and_read_again(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    assert run(*words, "--captures", str(tmp_path / "acts")).code == 0
    assert not (tmp_path / "sweep" / "activations").exists()
    again = run(*words[:-1], str(tmp_path / "other"), "--captures", str(tmp_path / "acts"))
    assert again.code == 0
    assert "thoughts" not in again.err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--k", "17"), "k must lie in 1..16 (d_sae), not 17"),
        (("--k", "0"), "k must lie in 1..32 (d_sae), not 0"),
        (("--k", "-3"), "k must lie in 1..32 (d_sae), not -3"),
        (("--k", "two"), "--k takes whole numbers, got 'two'"),
        (("--features", "0"), "d_sae must be an integer of at least 1, not 0"),
        (("--layer", "4"), "Layer 4 does not exist"),
        (("--memory-gib", "0.00001"), "the budget is 0.0 GiB"),
        (("--limit", "3"), "3 rows are fewer than one batch of 4"),
        (("--recipe", "nowhere.json"), "nowhere.json cannot be read"),
    ],
)
def test_sweeps_that_cannot_work_stop_before_they_start(
    run: Callable, words: tuple[str, ...], tmp_path: Path, more: tuple[str, ...], says: str
) -> None:
    ran = run(*words, *more)
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) == 2
    assert not (tmp_path / "sweep" / "activations").exists()


@pytest.mark.parametrize(
    ("recipe_text", "says"),
    [
        ('{"architecture": "matryoshka"}', "Only 'topk' without auxiliary loss can be stacked"),
        ('{"aux": {}}', "Only 'topk' without auxiliary loss can be stacked"),
        ('{"speed": 3}', "the recipe has no 'speed'"),
        ('{"anneal": {"epochs": 2}}', "It needs k_start"),
        ('{"anneal": 3}', "anneal is no JSON object"),
        ("[1]", "the recipe is no JSON object"),
        ("{", "no JSON"),
        ('{"batch_size": 0}', "batch_size must be an integer of at least 1, not 0"),
        ('{"batch_size": "many"}', "batch_size must be a whole number, not 'many'"),
        ('{"widths": 64}', "widths must be a list of whole numbers, not 64"),
        ('{"learning_rate": true}', "learning_rate must be a number, not True"),
    ],
)
def test_recipes_that_cannot_work(
    run: Callable, words: tuple[str, ...], recipe: str, recipe_text: str, says: str
) -> None:
    Path(recipe).write_text(recipe_text)
    ran = run(*words)
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) == 2


def test_a_sweep_larger_than_disk_or_memory_says_need_and_limit(
    run: Callable, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2**30, 2**30 - 9000, 9000))
        ran = run(*words, "--layer", "0-3")
    assert ran.code == 2
    assert "The 16 SAEs of 4 sites and their activations take 0.00 GiB; 0.00 GiB are free" in ran.err
    with monkeypatch.context() as patch:
        patch.setattr("codi_int.sae.memory.available_memory", lambda device: 1000)
        ran = run(*words)
    assert ran.code == 2
    assert "24 rows of one site and one SAE in training take 0.00 GiB of memory; 0.00 GiB are available" in ran.err
    assert not list((tmp_path / "sweep").glob("L2.P3"))


def test_another_sweep_in_the_folder(run: Callable, words: tuple[str, ...]) -> None:
    assert run(*words).code == 0
    ran = run(*words, "--epochs", "3")
    assert ran.code == 2
    assert "--epochs is 2 there, 3 here" in ran.err
    assert len(ran.err.strip().splitlines()) == 2


def doctor(folder: Path, change: Callable[[np.ndarray], None]) -> None:
    """Change the activations in a capture file where they lie."""
    path = folder / "train" / "layer02.safetensors"
    offset = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    rows = np.memmap(path, dtype="<f4", mode="r+", offset=offset, shape=(1, 12, 24))
    change(rows)
    rows.flush()


def fill(value: float) -> Callable[[np.ndarray], None]:
    return lambda rows: rows.__setitem__((0, 5, 3), value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (fill(np.nan), "The activations contain NaN or inf"),
        (fill(np.inf), "The activations contain NaN or inf"),
        (lambda rows: rows.fill(2.5), "The activations are constant"),
    ],
)
def test_activations_that_cannot_be_trained_on(
    run: Callable, words: tuple[str, ...], tmp_path: Path, change: Callable, says: str
) -> None:
    captures = ("--captures", str(tmp_path / "acts"))
    assert run(*words, *captures).code == 0
    doctor(tmp_path / "acts", change)
    ran = run(*words[:-1], str(tmp_path / "other"), *captures)
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) == 2


def test_captures_of_something_else(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    captures = ("--captures", str(tmp_path / "acts"))
    assert run(*words, *captures).code == 0
    other = str(tmp_path / "other")
    for more, says in (
        (("--limit", "8"), "was captured from 12 problems of"),
        (("--layer", "1"), "L1.P3 is not in"),
        (("--model", "codi-mini", "--layer", "14"), "was captured from random"),
    ):
        ran = run(*words[:-1], other, *captures, *more)
        assert ran.code == 2
        assert says in ran.err
    file = tmp_path / "acts" / "train" / "layer02.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    ran = run(*words[:-1], other, *captures)
    assert ran.code == 2
    assert "is missing, truncated or no file of this capture" in ran.err


def test_half_written_saes_are_named(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    assert run(*words).code == 0
    sae = tmp_path / "sweep" / "L2.P3" / "d16_k2_s0"
    weights = (sae / "sae_weights.safetensors").read_bytes()
    (sae / "sae_weights.safetensors").write_bytes(weights[:100])
    truncated = run(*words)
    assert truncated.code == 2
    assert "is truncated or no safetensors file" in truncated.err
    (sae / "cfg.json").unlink()
    missing = run(*words)
    assert missing.code == 2
    assert "d16_k2_s0 is half-written: cfg.json is missing" in missing.err


def test_a_folder_holds_one_kind_of_products(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    ran = run(*words, "--products", "bfloat16")
    assert ran.code == 0, ran.err
    (sae, *_) = sorted((tmp_path / "sweep" / "L2.P3").iterdir())
    assert load_sae(sae).config.provenance.recipe["products"] == "bfloat16"
    refused = run(*words)
    assert refused.code == 2
    assert "--matmul-dtype is bfloat16 there, not given here" in refused.err


def test_poor_saes_of_a_grid_are_warned_of_in_one_line(run: Callable, words: tuple[str, ...]) -> None:
    """12 rows and two epochs teach none of the four."""
    ran = run(*words, "--splice", "--json")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    unexplained = document["notes"][0]
    worst = min(document["rows"], key=lambda row: row["explained_variance"])
    assert unexplained.startswith("4 of 4 SAEs explain less than 50 % of the variance (")
    assert f"(L2.P3 d={worst['d_sae']} K={worst['k']}: {100 * worst['explained_variance']:.1f} %, " in unexplained
    assert [line.removeprefix("warning: ") for line in ran.err.splitlines() if line.startswith("warning")] == list(
        document["notes"]
    )
