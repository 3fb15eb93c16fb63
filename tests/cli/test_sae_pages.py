"""Tables of SAEs: short names stay unique, long grids are cut to the best of each site, numbers line up."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from codi_int.cli._sae_pages import amount, recovered, short_names, sweep_page
from codi_int.data.stories import load_stories
from codi_int.sae import SAEMetrics
from codi_int.sae.grid import SweepGrid, SweepRow
from codi_int.sae.site_sweep import SweepPlan
from codi_int.types import Site

METRICS = SAEMetrics(
    n_rows=9,
    explained_variance=0.5,
    explained_variance_per_dimension=0.4,
    mse=2.0,
    l0=3.0,
    dead_share=0.1,
    mean_activation=1.0,
    max_activation=7.5,
    activation_frequency=torch.full((16,), 0.5),
)


def row(site: Site, k: int, explained: float) -> SweepRow:
    metrics = replace(METRICS, explained_variance=explained)
    return SweepRow(
        site=site,
        k=k,
        d_sae=16,
        seed=0,
        dead_share_train=0.25,
        held_out=metrics,
        structure=None,
        folder=Path("out") / str(site) / f"d16_k{k}_s0",
    )


def page(rows: list[SweepRow]) -> str:
    problems = load_stories("validation", limit=3)
    grid = SweepGrid(tuple(range(1, 15)), (16,))
    plan = SweepPlan(
        sites=(Site(1, 3),),
        grid=grid,
        training=problems,
        training_name="a",
        held_out=problems,
        held_out_name="b",
        out=Path("out"),
        captures=Path("acts"),
    )
    console = Console(width=100, file=io.StringIO())
    console.print(sweep_page(plan, rows, "codi-mini"))
    return console.file.getvalue()


def test_fronts_are_marked_and_counted() -> None:
    text = page([row(Site(1, 3), 1, 0.5), row(Site(1, 3), 2, 0.4), row(Site(1, 3), 4, 0.9)])
    marks = {line.split()[1]: line.rstrip().endswith("P S") for line in text.splitlines() if line.startswith("d16 K")}
    assert marks == {"K1": True, "K2": False, "K4": True}
    assert "2 of 3 lie on the published front (P), 2 on the strict one (S)." in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_long_grid_shows_the_best_of_each_site() -> None:
    rows = [row(Site(layer, 3), k, layer / 10 + k / 100) for layer in range(1, 7) for k in range(1, 13)]
    text = page(rows)
    assert "The SAE of largest EV at each site; all 72 are in out." in text
    shown = [line.split()[:3] for line in text.splitlines() if "d16 K" in line]
    assert shown == [[f"L{layer}.P3", "d16", "K12"] for layer in range(1, 7)]


def test_short_names() -> None:
    assert short_names(["a/b/c/d", "x/c/e"]) == {"a/b/c/d": "c/d", "x/c/e": "c/e"}
    assert short_names(["a/c/d", "b/c/d"]) == {"a/c/d": "a/c/d", "b/c/d": "b/c/d"}
    assert short_names(["runs/a-folder-of-a-long-name/matryoshka"]).popitem()[1] == "matryoshka"


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.012"), (1.5, "1.50"), (84.0, "84.0"), (104.4, "104"), (12345.6, "12,346")]
)
def test_amounts(value: float, text: str) -> None:
    assert amount(value) == text


def test_what_is_undefined_is_a_dash() -> None:
    assert (recovered(None), recovered(0.5)) == ("-", "50.0")
