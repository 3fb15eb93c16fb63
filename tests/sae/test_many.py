"""Stacked training against training each SAE alone, in whatever stacks the jobs fall."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codi_int.errors import ConfigError, DataError
from codi_int.sae import Anneal, AuxK, Provenance, SAETrainingConfig, measure, train_sae
from codi_int.sae import many as module
from codi_int.sae.many import SAEJob, bytes_needed, train_many
from codi_int.types import Site

BASE = SAETrainingConfig(d_sae=60, k=6, epochs=8, batch_size=100)


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Two sites: sparse sums of 30 directions, and the same rows turned and shifted."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(30, 16, generator=generator)
    weights = torch.rand(450, 30, generator=generator) * (torch.rand(450, 30, generator=generator) < 0.15)
    x = weights @ directions + 0.3
    return x, x.flip(1).contiguous() * 2 - 1


@pytest.fixture
def stacked(monkeypatch):
    """Stacks of up to three on the CPU too, so that the batched way is exercised without a GPU."""
    original = module._stacks

    def in_threes(jobs, memory_gib):
        alone = original(jobs, memory_gib)
        shapes: dict[object, list[int]] = {}
        for (number,) in alone:
            shapes.setdefault((jobs[number].config.d_sae, jobs[number].config.rule), []).append(number)
        return [tuple(numbers[i : i + 3]) for numbers in shapes.values() for i in range(0, len(numbers), 3)]

    monkeypatch.setattr(module, "_stacks", in_threes)


def grid(data) -> list[SAEJob]:
    first, second = data
    settings = [
        (first, {}),
        (second, {"seed": 3}),
        (first, {"k": 2, "learning_rate": 3e-3}),
        (second, {"k": 12, "seed": 1, "anneal": Anneal(k_start=4, epochs=5)}),
        (first, {"d_sae": 90, "k": 3}),
        (first, {"rule": "relu", "k": 8}),
    ]
    return [SAEJob(x, replace(BASE, **changes)) for x, changes in settings]


def assert_like_alone(jobs, results):
    for job, result in zip(jobs, results, strict=True):
        alone = train_sae(job.activations, job.config)
        assert [record.k for record in result.curve] == [record.k for record in alone.curve]
        losses = [record.mse for record in alone.curve]
        assert [record.mse for record in result.curve] == pytest.approx(losses, rel=1e-4)
        for name, tensor in alone.sae.state_dict().items():
            torch.testing.assert_close(result.sae.state_dict()[name], tensor, atol=1e-4, rtol=1e-3)
        ours, theirs = (measure(sae, job.activations) for sae in (result.sae, alone.sae))
        assert ours.explained_variance == pytest.approx(theirs.explained_variance, abs=1e-4)
        assert ours.dead_share == theirs.dead_share


def test_a_grid_one_by_one(data):
    jobs = grid(data)
    assert_like_alone(jobs, train_many(jobs))


@pytest.mark.usefixtures("stacked")
def test_a_grid_in_stacks(data):
    jobs = grid(data)
    assert_like_alone(jobs, train_many(jobs))


@pytest.mark.parametrize(
    "changes",
    [{"decoder_norm": "unit"}, {"decoder_bias": False}, {"apply_b_dec_to_input": True}, {"prune_dead": True, "k": 1}],
)
@pytest.mark.usefixtures("stacked")
def test_every_setting_that_stacks(data, changes):
    configs = [replace(BASE, epochs=4, seed=seed, **changes) for seed in (0, 1)]
    jobs = [SAEJob(data[0], config) for config in configs]
    assert_like_alone(jobs, train_many(jobs))


def test_bfloat16_products_reach_the_same_quality(data):
    exact, fast = (
        train_many([SAEJob(data[0], replace(BASE, products=kind))])[0].sae for kind in ("float32", "bfloat16")
    )
    both = [measure(sae, data[0]).explained_variance for sae in (exact, fast)]
    assert both[1] == pytest.approx(both[0], abs=0.02)


@pytest.mark.usefixtures("stacked")
def test_news_and_order(data):
    jobs, epochs, done = grid(data), [], []
    results = train_many(jobs, on_epoch=epochs.append, on_trained=lambda number, sae: done.append((number, sae)))
    assert sorted(number for number, _ in done) == list(range(6))
    assert all(results[number] is trained for number, trained in done)
    assert len(epochs) == 8 * 4, "stacks of three, one, one and one"
    assert epochs[0].jobs == (0, 1, 2)
    assert [record.epoch for record in epochs[7].records] == [8, 8, 8]
    assert epochs[7].records[1] == results[1].curve[-1]


def test_provenance(data):
    known = Provenance(site=Site(2, 3), model="codi-mini")
    sae = train_many([SAEJob(data[0], replace(BASE, epochs=1, seed=8), known)])[0].sae
    assert (sae.site, sae.config.provenance.seed, sae.config.provenance.recipe["k"]) == (Site(2, 3), 8, 6)


def test_stacks_keep_to_the_budget(data, monkeypatch):
    jobs = [SAEJob(data[0], replace(BASE, seed=seed)) for seed in range(7)] + [SAEJob(data[0], replace(BASE, d_sae=61))]
    assert module._stacks(jobs, 4.0) == [(i,) for i in range(8)], "a CPU takes them one by one"
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    assert module._stacks(jobs, 3.5 * bytes_needed(jobs[0].config, jobs[0].activations.shape[1]) / 2**30) == [
        (0, 1, 2),
        (3, 4, 5),
        (6,),
        (7,),
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"architecture": "batchtopk"}, "Only 'topk'"),
        ({"aux": AuxK()}, "Only 'topk' without auxiliary loss"),
        ({"batch_size": 451}, "450 rows are fewer than one batch of 451"),
    ],
)
def test_recipes_that_cannot_be_stacked(data, changes, says):
    with pytest.raises(ConfigError, match=says) as caught:
        train_many([SAEJob(data[0], BASE), SAEJob(data[0], replace(BASE, **changes))])
    assert caught.value.remedy


def test_an_sae_that_exceeds_the_budget_says_need_and_limit(data):
    with pytest.raises(ConfigError, match=r"needs 37\.0 GiB; the budget is 2\.0 GiB") as caught:
        train_many([SAEJob(data[0], replace(BASE, d_sae=2**24))], memory_gib=2.0)
    assert "memory_gib" in caught.value.remedy


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_broken_activations_stop_everything_before_it_starts(data, bad):
    broken = data[0].clone()
    broken[3, 2] = bad
    done = []
    with pytest.raises(DataError, match="NaN or inf"):
        train_many([SAEJob(data[0], BASE), SAEJob(broken, BASE)], on_trained=lambda *trained: done.append(trained))
    assert not done


def test_unknown_products(data):
    with pytest.raises(ConfigError, match="Known: float32, bfloat16"):
        replace(BASE, products="float8")
    with pytest.raises(ConfigError, match="'topk' without auxiliary loss"):
        replace(BASE, architecture="batchtopk", products="bfloat16")
    with pytest.raises(ConfigError, match="'topk' without auxiliary loss"):
        replace(BASE, aux=AuxK(), products="bfloat16")


def test_one_sae_with_narrow_products_is_trained_as_in_a_stack(data):
    config, seen = replace(BASE, products="bfloat16", epochs=3), []
    alone = train_sae(data[0], config, on_epoch=seen.append)
    (stacked,) = train_many([SAEJob(data[0], config)])
    assert torch.equal(alone.sae.W_enc, stacked.sae.W_enc)
    assert tuple(seen) == alone.curve == stacked.curve
    assert alone.sae.config.provenance.recipe["products"] == "bfloat16"


@pytest.fixture(scope="module")
def real_rows() -> torch.Tensor:
    """Activations of codi-mini at L14.P3."""
    import codi_int

    if not (Path(codi_int.__file__).parent / "assets" / "codi-mini" / "model.safetensors").is_file():
        pytest.skip("codi-mini is not shipped in this checkout")
    from codi_int.data.stories import load_stories
    from codi_int.model.loading import load_model

    site = Site(14, 3)
    return load_model("codi-mini").think(load_stories("sae", limit=192), capture=[site]).at(site).values


def test_25_epochs_on_real_activations(real_rows, monkeypatch):
    """A stack, each alone, and plain autograd give one result; floating-point sums differ, so to a tolerance."""
    jobs = [SAEJob(real_rows, SAETrainingConfig(d_sae=128, k=k, seed=k, batch_size=64)) for k in (5, 12)]
    alone = train_many(jobs)
    monkeypatch.setattr(module, "_stacks", lambda jobs, memory_gib: [(0, 1)])
    together = train_many(jobs)
    for job, one, two in zip(jobs, alone, together, strict=True):
        plain = train_sae(job.activations, job.config)
        for found in (one, two):
            assert found.curve[-1].mse == pytest.approx(plain.curve[-1].mse, rel=1e-3)
            ours, theirs = measure(found.sae, real_rows), measure(plain.sae, real_rows)
            assert ours.explained_variance == pytest.approx(theirs.explained_variance, abs=1e-3)
            torch.testing.assert_close(found.sae.W_dec, plain.sae.W_dec, atol=2e-3, rtol=0)
