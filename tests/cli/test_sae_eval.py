"""sae eval: all measures of SAEs from everywhere, matched pairs, and what is refused."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from codi_int.data.problems import load_problems
from codi_int.model.loading import load_model
from codi_int.sae import Provenance, SAETrainingConfig, load_sae
from codi_int.sae.sweep import SweepGrid, SweepSite, run_sweep
from codi_int.types import Site


@pytest.fixture(scope="module")
def sweep(shelf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of a TopK SAE in the folder of a sweep."""
    model = load_model(shelf.model)
    rows = model.think(load_problems(shelf.data), capture=[Site(2, 3)]).at(Site(2, 3))
    out = tmp_path_factory.mktemp("sweep")
    grid = SweepGrid((3,), (16,), (0, 1), SAETrainingConfig(d_sae=1, k=1, batch_size=4, epochs=30))
    run_sweep([SweepSite(rows, rows)], grid, out, Provenance(model=model.name, model_sha256=model.sha256))
    return out


@pytest.fixture
def words(shelf) -> tuple[str, ...]:
    return ("--model", shelf.model, "--data", shelf.data, "--train-data", shelf.data)


def test_a_sweep_and_a_single_sae(run: Callable, words: tuple[str, ...], shelf, sweep: Path, tmp_path: Path) -> None:
    ran = run("sae", "eval", shelf.sae, str(sweep), *words, "--json", "--out", str(tmp_path))
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["schema"] == "codi-int/sae-eval@1"
    assert [row["d_sae"] for row in document["saes"]] == [32, 16, 16]
    model, problems = load_model(shelf.model), load_problems(shelf.data)
    x = model.think(problems, capture=[Site(2, 3)]).at(Site(2, 3)).values
    for row in document["saes"]:
        sae = load_sae(row["name"])
        residual, fires = x - sae(x), sae.encode(x).dense() != 0
        assert row["explained_variance"] == pytest.approx(1 - (residual.var() / x.var()).item(), abs=1e-4)
        assert row["dead_share_train"] == pytest.approx(1 - fires.any(0).float().mean().item())
        assert row["n_active"] == int(fires.any(0).sum())
        assert row["explained_variance_per_active_feature"] == row["explained_variance"] / row["n_active"]
        assert row["accuracy_clean"] == sum(
            completion.answer == problem.answer
            for completion, problem in zip(model.answer(problems), problems, strict=True)
        ) / len(problems)
    (pair,) = document["stability"]
    first, second = (torch.nn.functional.normalize(load_sae(pair[name]).W_dec, dim=1) for name in ("first", "second"))
    assert 0 < pair["mean"] <= (first @ second.T).abs().max(dim=1).values.mean().item() + 1e-6
    assert json.loads((tmp_path / "eval.json").read_text()) == document
    with (tmp_path / "eval.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["mse"]) for line in lines] == [row["mse"] for row in document["saes"]]
    assert (tmp_path / "efficiency.png").read_bytes().startswith(b"\x89PNG")
    frequencies = load_file(tmp_path / "frequencies.safetensors")
    assert sorted(frequencies) == sorted(row["name"] for row in document["saes"])
    torch.testing.assert_close(frequencies[shelf.sae], (load_sae(shelf.sae).encode(x).dense() != 0).float().mean(0))


def test_the_page(run: Callable, words: tuple[str, ...], shelf, sweep: Path) -> None:
    ran = run("sae", "eval", str(sweep), *words)
    assert ran.code == 0, ran.err
    for heading in ("reconstruction", "trained as", "spliced in", "the same but for the seed", "by chance"):
        assert heading in ran.page
    quick = run("sae", "eval", shelf.sae, *words[:-1], "none", "--no-splice")
    assert quick.code == 0, quick.err
    assert "spliced in" not in quick.page
    assert "Nothing was measured on training rows" in quick.page


def test_matryoshka_is_compared(run: Callable, words: tuple[str, ...], shelf, sweep: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps({"batch_size": 4, "epochs": 30, "d_sae": 16, "k": 3}))
    trained = run(
        "sae",
        "train",
        "--model",
        shelf.model,
        "--data",
        shelf.data,
        "--held-out",
        shelf.data,
        "--layer",
        "2",
        "--architecture",
        "matryoshka",
        "--recipe",
        str(tmp_path / "recipe.json"),
        "--out",
        str(tmp_path / "nested"),
    )
    assert trained.code == 0, trained.err
    ran = run("sae", "eval", str(tmp_path / "nested"), str(sweep), *words, "--no-splice", "--json")
    rows = json.loads(ran.out)["saes"]
    assert rows[0]["trained_as"] == "matryoshka"
    assert rows[0]["times_matryoshka"] == 1.0
    base = rows[0]["explained_variance_per_active_feature"]
    assert rows[1]["times_matryoshka"] == pytest.approx(rows[1]["explained_variance_per_active_feature"] / base)
    assert "/ Matr." in run("sae", "eval", str(tmp_path / "nested"), str(sweep), *words, "--no-splice").page


def test_an_sae_that_does_not_know_its_site(run: Callable, words: tuple[str, ...], shelf, tmp_path: Path) -> None:
    from sae_lens.registry import get_sae_class

    module, config = get_sae_class("topk")
    module(config(d_in=24, d_sae=40, k=5)).save_model(tmp_path / "theirs")
    ran = run("sae", "eval", str(tmp_path / "theirs"), *words, "--no-splice")
    assert ran.code == 2
    assert "Give --layer and --position" in ran.err
    ran = run("sae", "eval", str(tmp_path / "theirs"), *words, "--no-splice", "--layer", "1", "--position", "4")
    assert ran.code == 0, ran.err


def test_what_does_not_fit(run: Callable, words: tuple[str, ...], shelf, sweep: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    half.mkdir()
    (half / "sae_weights.safetensors").write_bytes(b"")
    for given, more, says in (
        ("codi-mini/L14.P3", (), "Layer 14 does not exist"),
        ("codi-mini/L14.P3", ("--layer", "2"), "activations of width 96; the model's d_model is 24"),
        (shelf.sae, ("--layer", "1"), "The SAE was trained at L2.P3, not at L1.P3"),
        (str(half), (), "holds no SAE: no cfg.json in it or below"),
        ("nowhere", (), "neither a folder nor shipped"),
    ):
        ran = run("sae", "eval", given, *words, *more)
        assert ran.code == 2
        assert says in ran.err
        assert len(ran.err.strip().splitlines()) == 2
    other = run("sae", "eval", shelf.sae, "--model", "codi-mini", "--limit", "4")
    assert other.code == 2
    assert "width 24" in other.err
