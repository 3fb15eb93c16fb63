"""A sweep: what it trains, that it resumes, and what stops it before it starts."""

import csv
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from codi_int.errors import ConfigError, OutputError, SAEError
from codi_int.sae import Provenance, SAETrainingConfig, load_sae, measure, train_sae
from codi_int.sae.compare import decoder_structure, published_front, strict_front
from codi_int.sae.sweep import SweepGrid, SweepSite, run_sweep, sae_folder
from codi_int.types import Site, SiteActivations

RECIPE = SAETrainingConfig(d_sae=1, k=1, epochs=3, batch_size=64)
GRID = SweepGrid(ks=(2, 4), d_saes=(20, 30), recipe=RECIPE)


def site_rows(site: Site, seed: int) -> SweepSite:
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(25, 12, generator=generator)

    def rows(n: int) -> SiteActivations:
        weights = torch.rand(n, 25, generator=generator) * (torch.rand(n, 25, generator=generator) < 0.15)
        return SiteActivations(site, tuple(map(str, range(n))), weights @ directions)

    return SweepSite(rows(300), rows(80))


@pytest.fixture
def sites() -> list[SweepSite]:
    return [site_rows(Site(14, 3), 0), site_rows(Site(2, 1), 1)]


def test_every_combination_is_trained_measured_and_saved(sites, tmp_path):
    saved = []
    rows = run_sweep(iter(sites), GRID, tmp_path, Provenance(model="codi-mini"), on_saved=saved.append)
    assert [(str(row.site), row.d_sae, row.k) for row in rows] == [
        (site, d, k) for site in ("L14.P3", "L2.P1") for d in (20, 30) for k in (2, 4)
    ]
    assert len(saved) == 8
    for row, site in zip(rows, [sites[0]] * 4 + [sites[1]] * 4, strict=True):
        sae = load_sae(row.folder)
        assert (sae.site, sae.d_sae, sae.config.k) == (row.site, row.d_sae, row.k)
        assert sae.config.provenance.model == "codi-mini"
        assert measure(sae, site.held_out.values).explained_variance == row.held_out.explained_variance
        assert sae.config.provenance.measures["dead_share_train"] == row.dead_share_train


def test_an_sae_of_a_sweep_is_the_one_that_is_trained_alone(sites, tmp_path):
    rows = run_sweep(sites[:1], GRID, tmp_path)
    config = SAETrainingConfig(d_sae=30, k=4, epochs=3, batch_size=64)
    alone = train_sae(sites[0].train, config).sae
    torch.testing.assert_close(load_sae(rows[3].folder).W_dec, alone.W_dec, atol=1e-5, rtol=1e-4)


def test_tables(sites, tmp_path):
    rows = run_sweep(sites, GRID, tmp_path)
    table = json.loads((tmp_path / "grid.json").read_text())
    with (tmp_path / "grid.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(table) == len(lines) == len(rows) == 8
    for row, entry, line in zip(rows, table, lines, strict=True):
        assert entry["explained_variance"] == row.held_out.explained_variance == float(line["explained_variance"])
        assert (tmp_path / entry["folder"] / "cfg.json").is_file()
        assert entry["mean_abs_cosine"] == decoder_structure(load_sae(row.folder)).mean_abs_cosine


def test_frequencies_lie_beside_the_table(sites, tmp_path):
    rows = run_sweep(sites, GRID, tmp_path)
    kept = load_file(tmp_path / "frequencies.safetensors")
    table = json.loads((tmp_path / "grid.json").read_text())
    assert set(kept) == {entry["folder"] for entry in table}
    for row, entry, site in zip(rows, table, [sites[0]] * 4 + [sites[1]] * 4, strict=True):
        fires = (load_sae(row.folder).encode(site.held_out.values).dense() != 0).float().mean(0)
        torch.testing.assert_close(kept[entry["folder"]], fires)


def test_fronts_are_those_of_one_site(sites, tmp_path):
    rows = run_sweep(sites, GRID, tmp_path)
    table = json.loads((tmp_path / "grid.json").read_text())
    for start in (0, 4):
        strict = strict_front([row.point() for row in rows[start : start + 4]])
        published = published_front([row.point() for row in rows[start : start + 4]])
        for row, entry in zip(rows[start : start + 4], table[start : start + 4], strict=True):
            assert entry["strict_front"] == (row.point() in strict)
            assert entry["published_front"] == (row.point() in published)


def test_it_resumes_after_a_kill_with_the_same_result(sites, tmp_path):
    whole = run_sweep(sites, GRID, tmp_path / "whole")

    def kill(row) -> None:
        if row.site == Site(2, 1) and row.k == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(sites, GRID, tmp_path / "killed", on_saved=kill)
    trained = []
    rows = run_sweep(sites, GRID, tmp_path / "killed", on_saved=trained.append)
    assert 0 < len(trained) < 8, "what was finished is not trained again"
    assert [row.held_out.summary() for row in rows] == [row.held_out.summary() for row in whole]


def test_a_half_written_sae_is_named(sites, tmp_path):
    rows = run_sweep(sites[:1], GRID, tmp_path)
    (rows[2].folder / "cfg.json").unlink()
    with pytest.raises(SAEError, match="d30_k2_s0 is half-written") as caught:
        run_sweep(sites[:1], GRID, tmp_path)
    assert "Delete it" in caught.value.remedy


def test_another_recipe_under_the_same_name(sites, tmp_path):
    run_sweep(sites[:1], GRID, tmp_path)
    other = SweepGrid(ks=(2, 4), d_saes=(20, 30), recipe=SAETrainingConfig(d_sae=1, k=1, epochs=2, batch_size=64))
    with pytest.raises(ConfigError, match="holds a sweep with epochs 3, not 2") as caught:
        run_sweep(sites[:1], other, tmp_path)
    assert caught.value.remedy
    (tmp_path / "sweep.json").unlink()
    with pytest.raises(ConfigError, match="trained by another recipe"):
        run_sweep(sites[:1], other, tmp_path)


def test_another_model_under_the_same_name(sites, tmp_path):
    run_sweep(sites[:1], GRID, tmp_path, Provenance(model="a", model_sha256="ab" * 32))
    with pytest.raises(ConfigError, match="model_sha256 abababababab, not cdcdcdcdcdcd"):
        run_sweep(sites[:1], GRID, tmp_path, Provenance(model="a", model_sha256="cd" * 32))
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(OutputError, match="cannot be read"):
        run_sweep(sites[:1], GRID, tmp_path)


def test_a_larger_grid_takes_up_a_smaller_one(sites, tmp_path):
    run_sweep(sites[:1], GRID, tmp_path)
    trained = []
    larger = SweepGrid(ks=(2, 4, 6), d_saes=(20, 30), seeds=(0, 1), recipe=RECIPE)
    rows = run_sweep(sites, larger, tmp_path, on_saved=trained.append)
    assert (len(rows), len(trained)) == (24, 20)


def test_a_grid_that_does_not_fit_on_the_disk(sites, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**5, 10**5 - 2000, 2000))
    with pytest.raises(ConfigError, match=r"The 8 SAEs of 2 sites take 0\.00 GiB; 0\.00 GiB are free") as caught:
        run_sweep(sites, GRID, tmp_path / "new")
    assert caught.value.remedy
    assert not (tmp_path / "new").exists()


def test_a_grid_that_does_not_fit_in_the_budget(sites, tmp_path):
    with pytest.raises(ConfigError, match="the budget is"):
        run_sweep(sites, GRID, tmp_path, memory_gib=1e-6)
    assert not sae_folder(tmp_path, Site(14, 3), GRID.configs()[0]).exists()


@pytest.mark.parametrize("bad", [{"ks": ()}, {"d_saes": (20, 20)}, {"seeds": ()}, {"ks": (21,)}, {"ks": (0,)}])
def test_impossible_grids(bad):
    with pytest.raises(ConfigError) as caught:
        SweepGrid(**{"ks": (2,), "d_saes": (20,), "recipe": RECIPE, **bad})
    assert caught.value.remedy


def test_points_for_the_front(sites, tmp_path):
    row = run_sweep(sites[:1], GRID, tmp_path)[0]
    point = row.point()
    assert (point.name, point.k, point.d_sae) == ("L14.P3 d=20 K=2", 2, 20)
    assert point.dead_share == row.dead_share_train


@pytest.mark.parametrize("change", [{"unknown": None}, {"aux": "missing"}])
def test_a_note_with_one_setting_of_none_too_many_or_too_few(sites, tmp_path, change):
    run_sweep(sites[:1], GRID, tmp_path)
    note = json.loads((tmp_path / "sweep.json").read_text()) | change
    note = {key: value for key, value in note.items() if value != "missing"}
    (tmp_path / "sweep.json").write_text(json.dumps(note))
    with pytest.raises(ConfigError, match=f"holds a sweep with {next(iter(change))} None, not None"):
        run_sweep(sites[:1], GRID, tmp_path)
