"""A sweep's figures: cells, dots and curves hold what the sweep's own files say."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

from codi_int.errors import DataError
from codi_int.report.figures import draw_kept
from codi_int.report.firing_rates import frequency_figure, k_curve_figure
from codi_int.report.sweep_figures import heatmaps_figure, pareto_figure, site_map_figure, sweep_figures
from codi_int.report.sweep_rows import EXPLAINED, SweepData, read_sweep
from codi_int.sae.grid import SweepRow
from codi_int.sae.metrics import SAEMetrics
from codi_int.sae.sweep_table import write_table
from codi_int.types import Site

KS, SIZES = (2, 4), (8, 16)


def explained(k: int, d_sae: int, site: Site) -> float:
    """Falls with the size, so that only the smallest are on the strict front."""
    return 0.1 * k - 0.001 * d_sae + 0.01 * (site.layer or 0) + 0.001 * site.position


def sweep_row(out: Path, site: Site, k: int, d_sae: int, seed: int = 0) -> SweepRow:
    rates = torch.linspace(0, 0.5, d_sae)  # the first feature is dead
    ev = explained(k, d_sae, site)
    metrics = SAEMetrics(
        n_rows=100,
        explained_variance=ev,
        explained_variance_per_dimension=ev - 0.05,
        mse=3.0 / k,
        l0=float(k),
        dead_share=1 / d_sae,
        mean_activation=1.5,
        max_activation=9.0,
        activation_frequency=rates,
    )
    return SweepRow(
        site=site,
        k=k,
        d_sae=d_sae,
        seed=seed,
        dead_share_train=0.25,
        held_out=metrics,
        structure=None,
        folder=out / str(site) / f"d{d_sae}_k{k}_s{seed}",
    )


def make_sweep(out: Path, *sites: Site, ks: tuple[int, ...] = KS, sizes: tuple[int, ...] = SIZES) -> Path:
    write_table([sweep_row(out, site, k, d) for site in sites for d in sizes for k in ks], out)
    return out


@pytest.fixture
def sweep(tmp_path: Path) -> SweepData:
    return read_sweep(make_sweep(tmp_path, Site(2, 3)))


def panel(figure, title: str):
    (found,) = [axis for axis in figure.axes if axis.get_title("left") == title]
    return found


def test_each_measure_has_a_heatmap_with_its_numbers(sweep: SweepData) -> None:
    figure = heatmaps_figure(sweep)
    titles = [axis.get_title("left") for axis in figure.axes if axis.images]
    assert "mean squared error" in titles
    assert "accuracy, spliced in (%)" not in titles  # nothing was spliced in
    found = panel(figure, "explained variance")
    expected = [[explained(k, d, Site(2, 3)) for d in SIZES] for k in KS]
    assert np.allclose(found.images[0].get_array(), expected)
    assert [text.get_text() for text in found.texts] == ["0.215", "0.207", "0.415", "0.407"]
    assert np.allclose(panel(figure, "dead features, training rows (%)").images[0].get_array(), 25.0)


def test_the_fronts_are_filled_and_hollow(sweep: SweepData) -> None:
    (axis,) = pareto_figure(sweep).axes
    dots = {}
    for found in axis.collections:
        (x, y), face = found.get_offsets()[0], found.get_facecolors()
        dots[round(float(y), 6)] = (float(x), bool(len(face)) and tuple(face[0]) != to_rgba("white"))
    site = Site(2, 3)
    for k in KS:
        assert dots[round(explained(k, 8, site), 6)] == (pytest.approx(k, rel=0.05), True)
        assert dots[round(explained(k, 16, site), 6)] == (pytest.approx(k, rel=0.05), False)
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["8", "16"]


def test_firing_rates_are_sorted_and_leave_dead_features_out(sweep: SweepData) -> None:
    small, large = frequency_figure(sweep).axes
    for line in small.lines:
        assert line.get_ydata() == pytest.approx(100 * np.linspace(0, 0.5, 8)[:0:-1], rel=1e-5)
        assert list(line.get_xdata()) == list(range(1, 8))
    assert small.get_yscale() == "log"
    assert len(large.lines[0].get_xdata()) == 15


def test_the_k_curve_has_the_six_published_panels(sweep: SweepData) -> None:
    a, b, c, d, e, f = k_curve_figure(sweep).axes
    assert [axis.get_title("left") for axis in (a, b, c, d, e, f)] == list("ABCDEF")
    assert a.lines[0].get_ydata() == pytest.approx([0, 0])  # the rarest of 8 fires on 7 %
    assert b.lines[0].get_ydata() == pytest.approx([50 / 7, 50 / 7], rel=1e-5)
    assert c.lines[1].get_ydata() == pytest.approx([explained(k, 16, Site(2, 3)) for k in KS])
    assert d.lines[0].get_ydata() == pytest.approx([1.5, 0.75])
    assert len(e.patches) == 2
    assert f.lines[0].get_ydata() == pytest.approx([25, 25])
    assert {axis.get_xscale() for axis in (a, b, c, d, e, f)} == {"log"}


def test_layers_and_positions_become_maps_with_holes_where_no_sae_is(tmp_path: Path) -> None:
    sites = (Site(0, 1), Site(0, 3), Site(5, 1))
    data = read_sweep(make_sweep(tmp_path, *sites))
    figure = site_map_figure(data, EXPLAINED)
    found = panel(figure, "K = 2, 16 features").images[0].get_array().filled(np.nan)
    value = {site: explained(2, 16, site) for site in sites}
    assert np.allclose(found, [[value[sites[0]], value[sites[1]]], [value[sites[2]], np.nan]], equal_nan=True)
    limits = {axis.images[0].get_clim() for axis in figure.axes if axis.images}
    assert len(limits) == 1


def test_too_many_shapes_leave_the_best_and_say_so(tmp_path: Path) -> None:
    data = read_sweep(make_sweep(tmp_path, Site(0, 1), Site(1, 1), ks=tuple(range(1, 8))))
    figure = site_map_figure(data, EXPLAINED)
    assert panel(figure, "K = 7, 8 features").images
    assert "Only the shape that explains most" in figure.get_supxlabel()


def test_several_sites_get_all_figures(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "sweep", Site(2, 1), Site(2, 3))
    assert {path.stem for path in sweep_figures(folder, tmp_path / "out")} == {
        "heatmaps",
        "pareto",
        "k-curve",
        "frequencies",
        "map-explained-variance",
        "map-dead-features",
    }


def test_one_sae_without_firing_rates_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, Site(2, 3), ks=(2,), sizes=(8,))
    (folder / "frequencies.safetensors").unlink()
    first, again = sweep_figures(folder, tmp_path / "a"), sweep_figures(folder, tmp_path / "b")
    assert {path.stem for path in first} == {"heatmaps", "pareto", "k-curve"}
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "grid.json is missing"), ("[{}]", "cannot be read"), ("[", "cannot be read"), ("[]", "has no SAEs")],
)
def test_folders_without_a_whole_sweep_are_errors(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "grid.json").write_text(content)
    with pytest.raises(DataError, match=says):
        read_sweep(tmp_path)


def test_the_caption_names_model_and_data(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, Site(2, 3))
    (folder / "sweep.json").write_text(json.dumps({"model": "tiny", "training_data": "stories:sae"}))
    assert read_sweep(folder).caption == "tiny, trained on stories:sae. Measured on 100 held-out rows."


@pytest.mark.parametrize(
    "change",
    [{"k": "x"}, {"k": {}}, {"seed": []}, {EXPLAINED.key: "high"}, {"strict_front": None, "d_sae": None}],
    ids=str,
)
def test_rows_of_other_kinds_than_a_sweep_writes_are_errors(tmp_path: Path, change: dict) -> None:
    folder = make_sweep(tmp_path, Site(2, 3))
    rows = json.loads((folder / "grid.json").read_text())
    rows[1].update(change)
    (folder / "grid.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match="is not whole") as caught:
        draw_kept(folder, tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 2


def test_rows_that_lack_the_front_are_errors(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, Site(2, 3))
    rows = json.loads((folder / "grid.json").read_text())
    del rows[0]["strict_front"]
    (folder / "grid.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match="KeyError\\('strict_front'\\)"):
        draw_kept(folder, tmp_path / "out")
