"""sae train: architectures, recipes, what is kept, what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from codi_int.sae import adaptive_d_sae, load_sae
from codi_int.types import Site


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"batch_size": 4, "epochs": 2, "d_sae": 24, "k": 3}))
    return path


@pytest.fixture
def words(shelf, recipe: Path, tmp_path: Path) -> tuple[str, ...]:
    data = ("--model", shelf.model, "--data", shelf.data, "--held-out", shelf.data, "--layer", "2")
    return ("sae", "train", *data, "--recipe", str(recipe), "--out", str(tmp_path / "sae"))


def test_options_win_over_the_recipe_and_that_over_the_defaults(
    run: Callable, words: tuple[str, ...], tmp_path: Path
) -> None:
    ran = run(*words, "--k", "5", "--seed", "7")
    assert ran.code == 0, ran.err
    assert "topk SAE, d_sae 24, k 5, seed 7 at L2.P3" in ran.page
    sae = load_sae(tmp_path / "sae")
    known = sae.config.provenance
    assert (sae.d_sae, sae.config.k, sae.site) == (24, 5, Site(2, 3))
    assert (known.recipe["epochs"], known.recipe["learning_rate"], known.seed) == (2, 1e-3, 7)
    assert f"{known.measures['explained_variance']:.4f}" in ran.page


def test_without_k_it_is_the_shipped_shape(run: Callable, words: tuple[str, ...], recipe: Path, tmp_path: Path) -> None:
    recipe.write_text('{"batch_size": 4, "epochs": 1}')
    ran = run(*words)
    assert ran.code == 0, ran.err
    assert "topk SAE, d_sae 512, k 16, seed 0 at L2.P3" in ran.page
    assert (load_sae(tmp_path / "sae").config.k, load_sae("codi-mini/L14.P3").config.k) == (16, 16)


def test_products_in_bfloat16_are_noted(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    ran = run(*words, "--matmul-dtype", "bfloat16")
    assert ran.code == 0, ran.err
    assert load_sae(tmp_path / "sae").config.provenance.recipe["products"] == "bfloat16"
    assert "It is one of float32, bfloat16." in run(*words, "--products", "float16").err


@pytest.mark.parametrize(
    ("architecture", "more", "saved_as"),
    [
        ("batchtopk", {"k": 3}, "jumprelu"),
        ("matryoshka", {"k": 3, "widths": [6, 12]}, "topk"),
        ("jumprelu", {"sparsity": {"coefficient": 0.1, "target_l0": 4}}, "jumprelu"),
        ("gated", {"sparsity": {"coefficient": 0.1}}, "gated"),
        ("standard", {"sparsity": {"coefficient": 0.1}, "decoder_norm": "unit"}, "standard"),
        ("topk", {"k": 3, "aux": {"dead_after": 1}, "anneal": {"k_start": 6, "epochs": 1}, "tied_init": True}, "topk"),
    ],
)
def test_every_architecture_and_training_option(
    run: Callable, words: tuple[str, ...], recipe: Path, tmp_path: Path, architecture: str, more: dict, saved_as: str
) -> None:
    recipe.write_text(json.dumps({"batch_size": 4, "epochs": 2, "d_sae": 24, **more}))
    ran = run(*words, "--architecture", architecture, "--json")
    assert ran.code == 0, ran.err
    sae = load_sae(tmp_path / "sae")
    assert sae.config.architecture == saved_as
    assert sae.config.provenance.recipe["architecture"] == architecture
    assert json.loads(ran.out)["n_rows"] == 12


def test_a_dictionary_that_grows_with_k(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    assert run(*words, "--k", "5", "--features", "auto").code == 0
    assert load_sae(tmp_path / "sae").d_sae == adaptive_d_sae(5) == 32
    assert run(*words, "--features", "auto", "--force").code == 0  # the recipe's k is 3
    assert load_sae(tmp_path / "sae").d_sae == adaptive_d_sae(3) == 16


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--k", "25"), "k must lie in 1..24 (d_sae), not 25"),
        (("--k", "0"), "--k is 0; it takes whole numbers from 1"),
        (("--architecture", "gated"), "Architecture 'gated' takes no k"),
        (("--architecture", "crosscoder"), "topk, batchtopk, matryoshka"),
        (("--architecture", "transcoder"), "A transcoder that reads L2.P3 needs another site to rebuild"),
        (("--architecture", "transcoder", "--to-position", "3"), "A transcoder that reads L2.P3 needs another site"),
        (("--to-layer", "1"), "Architecture 'topk' rebuilds what it reads, not L1.P3"),
        (("--architecture", "transcoder", "--to-layer", "9"), "Layer 9 does not exist"),
        (("--component", "thought"), "Component 'thought' with layer 2 is no site"),
        (("--rule", "sum"), "It is one of abs, relu."),
        (("--features", "many"), "--features takes whole numbers"),
        (("--limit", "3"), "3 rows are fewer than one batch of 4"),
        (("--position", "9"), "Position 9 does not exist"),
        (("--data", "nowhere.jsonl"), "nowhere.jsonl cannot be read"),
    ],
)
def test_values_that_cannot_work_teach(run: Callable, words: tuple[str, ...], more: tuple[str, ...], says: str) -> None:
    ran = run(*words, *more)
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) == 2


def test_the_architectures_without_k_say_where_the_penalty_goes(
    run: Callable, words: tuple[str, ...], recipe: Path
) -> None:
    recipe.write_text('{"batch_size": 4}')
    ran = run(*words, "--architecture", "gated")
    assert ran.code == 2
    assert '{"sparsity": {"coefficient": 1.0}}' in ran.err
    recipe.write_text('{"batch_size": 4, "sparsity": {"coefficient": 1.0}}')
    ran = run(*words, "--architecture", "gated", "--features", "auto")
    assert ran.code == 2
    assert "--features auto grows with k, and --architecture gated has none." in ran.err


def test_an_sae_that_explains_too_little_is_warned_of_once(run: Callable, words: tuple[str, ...]) -> None:
    """12 rows and two epochs teach nothing."""
    ran = run(*words, "--json")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["explained_variance"] < 0.5
    (note,) = document["notes"]
    assert note.startswith(f"The SAE at L2.P3 explains {100 * document['explained_variance']:.1f} % of the variance")
    assert ran.err.count("warning: ") == 1
    assert f"warning: {note}" in ran.err


def test_force_keeps_the_old_sae_until_the_new_one_is_written(
    run: Callable, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sae"
    assert run(*words).code == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"cfg.json", "sae_weights.safetensors", "manifest.json", "log.txt"}

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr("codi_int.sae.at_site.save_sae", stop)
        assert run(*words, "--seed", "1", "--force").code == 130
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert run(*words, "--seed", "1", "--force").code == 0
    assert load_sae(folder).config.provenance.seed == 1


def test_force_leaves_nothing_of_another_command(run: Callable, shelf, words: tuple[str, ...], tmp_path: Path) -> None:
    assert run("eval", "--model", shelf.model, "--data", shelf.data, "--out", str(tmp_path / "sae")).code == 0
    assert run(*words).code == 2
    assert run(*words, "--force").code == 0
    left = {path.name for path in (tmp_path / "sae").iterdir()}
    assert left == {"cfg.json", "sae_weights.safetensors", "manifest.json", "log.txt"}


def test_controls_are_trained_in_part_or_not_at_all(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    ran = run(*words, "--freeze", "decoder")
    assert ran.code == 0, ran.err
    assert "topk SAE, d_sae 24, k 3, seed 0, decoder as it was drawn at L2.P3" in ran.page
    assert load_sae(tmp_path / "sae").config.provenance.recipe["freeze"] == "decoder"
    ran = run(*words, "--random", "--force")
    assert ran.code == 0, ran.err
    assert "d_sae 24, k 3, seed 0, random directions, not trained at L2.P3" in ran.page
    assert load_sae(tmp_path / "sae").config.provenance.recipe["freeze"] == "all"
    ran = run(*words, "--random", "--freeze", "encoder", "--force")
    assert (ran.code, len(ran.err.strip().splitlines())) == (2, 2)
    assert "--random trains nothing at all, and --freeze encoder a part." in ran.err


def test_a_model_drawn_anew_gets_an_sae_of_its_own(
    run: Callable, words: tuple[str, ...], shelf, tmp_path: Path
) -> None:
    ran = run(*words, "--reinitialize", "3")
    assert ran.code == 0, ran.err
    known = load_sae(tmp_path / "sae").config.provenance
    assert known.model is not None
    assert known.model.endswith("(reinitialized, seed 3)")
    rank = ("features", "rank", "--model", shelf.model, "--data", shelf.data, "--sae", str(tmp_path / "sae"))
    assert run(*rank, "--layer", "2", "--reinitialize", "3").code == 0
    # the trained model is another one
    refused = run(*rank, "--layer", "2")
    assert (refused.code, len(refused.err.strip().splitlines())) == (2, 2)
    assert "The SAE belongs to model" in refused.err


def test_a_transcoder_is_trained_and_measured_beside_ridge_regression(
    run: Callable, words: tuple[str, ...], shelf, tmp_path: Path
) -> None:
    ran = run(*words, "--architecture", "transcoder", "--to-layer", "1", "--to-component", "mlp_out")
    assert ran.code == 0, ran.err
    assert "transcoder, d_sae 24, k 3, seed 0 from L2.P3 to L1.P3.mlp_out of" in ran.page
    sae = load_sae(tmp_path / "sae")
    assert (sae.site, sae.target) == (Site(2, 3), Site(1, 3, "mlp_out"))
    assert f"{sae.config.provenance.measures['ridge_of_rank_k_explained_variance_per_dimension']:.4f}" in ran.page
    data = ("--model", shelf.model, "--data", shelf.data, "--train-data", shelf.data)
    kept = ("--out", str(tmp_path / "eval"), "--json")
    ran = run("sae", "eval", str(tmp_path / "sae"), *data, *kept)
    assert ran.code == 0, ran.err
    (row,) = json.loads(ran.out)["saes"]
    assert row["target"] == "L1.P3.mlp_out"
    assert row["ridge_of_rank_k"] == pytest.approx(
        sae.config.provenance.measures["ridge_of_rank_k_explained_variance_per_dimension"], abs=1e-6
    )
    assert "ridge_over_ridge_low" in (tmp_path / "eval" / "eval.csv").read_text()
    # edits, screens and profiles take SAEs alone
    ran = run("ablate", "--feature", "1", "--sae", str(tmp_path / "sae"), *data[:4], "--layer", "2")
    assert (ran.code, len(ran.err.strip().splitlines())) == (2, 2)
    assert "is a transcoder: it reads L2.P3 and rebuilds L1.P3.mlp_out." in ran.err


def test_thought_to_thought_needs_no_layer(run: Callable, words: tuple[str, ...], tmp_path: Path) -> None:
    at = words.index("--layer")
    words = words[:at] + words[at + 2 :]
    ran = run(*words, "--architecture", "transcoder", "--component", "thought", "--to-position", "4")
    assert ran.code == 0, ran.err
    assert "from P3.thought to P4.thought" in ran.page
    assert load_sae(tmp_path / "sae").target == Site(None, 4, "thought")
