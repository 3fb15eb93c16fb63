"""From problems to a grid: the activations are the model's own, and what cannot work stops before it starts."""

from dataclasses import replace

import pytest
import torch

from codi_int.errors import ConfigError, DataError, SiteError
from codi_int.sae import SAETrainingConfig, load_sae, measure, train_sae
from codi_int.sae.grid import SweepGrid
from codi_int.sae.site_sweep import SweepCallbacks, SweepPlan, sweep_sites
from codi_int.types import Site

RECIPE = SAETrainingConfig(d_sae=1, k=1, epochs=3, batch_size=4)


@pytest.fixture
def plan(problems, tmp_path):
    return SweepPlan(
        sites=(Site(1, 3), Site(2, 4)),
        grid=SweepGrid((2, 3), (16,), recipe=RECIPE),
        training=problems[:8],
        training_name="train",
        held_out=problems[8:],
        held_out_name="held-out",
        out=tmp_path / "sweep",
        captures=tmp_path / "acts",
    )


def test_the_grid_is_trained_on_what_the_model_thinks(model, plan):
    stages, epochs, saved = set(), [], []
    callbacks = SweepCallbacks(
        lambda stage, done, total: stages.add(stage), lambda *n: epochs.append(n), lambda row: saved.append(row)
    )
    rows = sweep_sites(model, replace(plan, splice=True), callbacks)
    assert [(row.site, row.k) for row in rows] == [(site, k) for site in plan.sites for k in (2, 3)]
    assert stages == {"train thoughts", "held-out thoughts", "spliced at L1.P3", "spliced at L2.P4"}
    assert (len(epochs), len(saved)) == (12, 4)
    seen = model.think(plan.training, capture=[plan.sites[1]]).at(plan.sites[1])
    alone = train_sae(seen, replace(RECIPE, d_sae=16, k=3)).sae
    ours = load_sae(rows[3].folder)
    torch.testing.assert_close(ours.W_dec, alone.W_dec, atol=1e-4, rtol=1e-3)
    assert ours.config.provenance.model_sha256 == model.sha256
    held_out = model.think(plan.held_out, capture=[plan.sites[1]]).at(plan.sites[1]).values
    assert rows[3].held_out.mse == pytest.approx(measure(ours, held_out).mse, rel=1e-4)
    assert rows[3].spliced is not None


def test_plans_that_cannot_run(model, plan, monkeypatch):
    impossible = [
        (replace(plan, sites=(Site(9, 3),)), SiteError, "Layer 9"),
        (replace(plan, training=plan.training[:3]), ConfigError, "3 rows are fewer than one batch of 4"),
        (replace(plan, memory_gib=1e-7), ConfigError, "the budget is"),
        (replace(plan, sites=(Site(None, 3, "thought"),)), DataError, "cannot be captured"),
    ]
    for bad, kind, says in impossible:
        with pytest.raises(kind, match=says) as caught:
            sweep_sites(model, bad)
        assert caught.value.remedy
    monkeypatch.setattr("codi_int.sae.memory.available_memory", lambda device: 10)
    with pytest.raises(ConfigError, match="11 rows of one site and one SAE in training take"):
        sweep_sites(model, plan)
    assert not plan.out.exists()
    assert not plan.captures.exists()
