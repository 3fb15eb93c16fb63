"""What each alive feature explains: dots and bars of the architectures that were measured."""

from pathlib import Path

import pytest
from matplotlib.colors import to_rgba

from codi_int.report.eval_figures import efficiency_figure
from codi_int.report.figures import save_figures
from codi_int.report.style import BLUE, ORANGE


def sae(trained_as: str, k: int | None, n_active: int, explained: float, seed: int = 0, site: str = "L2.P3") -> dict:
    return {
        "name": "x",
        "site": site,
        "trained_as": trained_as,
        "k": k,
        "d_sae": 1024,
        "seed": seed,
        "n_active": n_active,
        "explained_variance": explained,
        "explained_variance_per_active_feature": explained / n_active,
        "dead_share_train": 0.5,
        "n_rows": 60.0,
    }


# the published comparison: 72.1 % with 769 alive features against 81.1 % with 382
PUBLISHED = [sae("matryoshka", None, 769, 0.721), sae("topk", 20, 382, 0.811)]


def document(saes: list[dict]) -> dict:
    return {"schema": "codi-int/sae-eval@1", "model": "tiny", "held_out": "stories", "saes": saes}


def test_architectures_differ_in_colour_and_the_best_is_first() -> None:
    across, ranking = efficiency_figure(document(PUBLISHED)).axes
    assert [c.get_offsets().tolist() for c in across.collections] == [[[769, 0.721]], [[382, 0.811]]]
    assert [t.get_text() for t in ranking.get_yticklabels()] == ["topk K=20 d=1,024", "matryoshka d=1,024"]
    bars = {round(bar.get_y() + bar.get_height() / 2): bar for bar in ranking.patches}
    assert [bars[i].get_width() for i in (0, 1)] == pytest.approx([0.2123, 0.0938], abs=1e-4)
    assert [bars[i].get_facecolor() for i in (0, 1)] == [to_rgba(ORANGE), to_rgba(BLUE)]


def test_names_say_what_tells_two_apart() -> None:
    seeds = [sae("topk", 8, 10, 0.5, seed) for seed in (0, 1)]
    names = [t.get_text() for t in efficiency_figure(document(seeds)).axes[1].get_yticklabels()]
    assert names == ["topk K=8 d=1,024 seed 0", "topk K=8 d=1,024 seed 1"]
    sites = [sae("topk", 8, 10, 0.5, site=site) for site in ("L2.P3", "L4.P1")]
    names = [t.get_text() for t in efficiency_figure(document(sites)).axes[1].get_yticklabels()]
    assert names == ["L2.P3 topk K=8 d=1,024", "L4.P1 topk K=8 d=1,024"]


def test_one_sae_and_many_can_be_drawn(tmp_path: Path) -> None:
    assert [path.name for path in save_figures(document(PUBLISHED[:1]), tmp_path)] == [
        "efficiency.png",
        "efficiency.svg",
    ]
    many = efficiency_figure(document([sae("topk", k, 100, 0.01 * k) for k in range(1, 36)]))
    assert len(many.axes[1].patches) == 30
    assert "The 5 that carry least" in many.get_supxlabel().replace("\n", " ")
