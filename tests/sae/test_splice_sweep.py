"""The costs of a sweep's SAEs: those of measuring each alone, noted once."""

import json

import pytest

from codi_int.sae import SAETrainingConfig, load_sae
from codi_int.sae import splice_sweep as module
from codi_int.sae.splice_sweep import splice_rows
from codi_int.sae.spliced import measure_spliced
from codi_int.sae.sweep import SweepGrid, SweepSite, run_sweep
from codi_int.sae.sweep_table import write_table
from codi_int.types import Site


def test_every_sae_is_measured_once_and_as_if_alone(model, problems, tmp_path, monkeypatch):
    batch = model.think(problems, capture=[Site(1, 3), Site(2, 4)])
    sites = [SweepSite(batch.at(site), batch.at(site)) for site in (Site(1, 3), Site(2, 4))]
    grid = SweepGrid(ks=(2, 4), d_saes=(16,), recipe=SAETrainingConfig(d_sae=1, k=1, epochs=2, batch_size=8))
    rows = run_sweep(sites, grid, tmp_path)
    heard = []
    spliced = splice_rows(model, rows, problems, lambda *said: heard.append(said))
    assert ("spliced at L2.P4", 11, 11) in heard
    for row in (spliced[1], spliced[2]):
        alone = measure_spliced(model, load_sae(row.folder), row.site, problems)
        assert row.spliced is not None
        assert row.spliced.logprob_spliced == pytest.approx(alone.logprob_spliced, abs=1e-6)
    write_table(spliced, tmp_path)
    table = json.loads((tmp_path / "grid.json").read_text())
    assert table[3]["loss_recovered"] == spliced[3].spliced.loss_recovered
    assert table[3]["n_problems_spliced"] == 11
    monkeypatch.setattr(module, "measure_spliced_all", lambda *args: pytest.fail("measured again"))
    again = splice_rows(model, run_sweep(sites, grid, tmp_path), problems)
    assert [row.spliced for row in again] == [row.spliced for row in spliced]
