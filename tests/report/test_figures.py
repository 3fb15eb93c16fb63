"""The entry point: documents and folders find their figures, and what has none is refused in two lines."""

import json
from pathlib import Path

import pytest

from codi_int.errors import DataError
from codi_int.report.figures import draw_kept, save_figures

POINT = {
    "n": 1,
    "accuracy": 0.5,
    "estimate": -0.1,
    "low": -0.2,
    "high": 0.1,
    "logprob": -1.0,
    "logprob_low": -2.0,
    "logprob_high": 0.0,
}
CURVE = {
    "schema": "codi-int/curve@1",
    "site": {"layer": 2, "position": 3},
    "order": "frequency",
    "model": "tiny",
    "sae": "sae",
    "data": "stories",
    "n_problems": 10,
    "n_correct": 6,
    "top": [POINT],
    "random": [[POINT]],
}
SAE = {
    "site": "L2.P3",
    "layer": 2,
    "position": 3,
    "d_sae": 8,
    "k": 2,
    "seed": 0,
    "folder": "L2.P3/x",
    "n_rows": 5,
    "explained_variance": 0.5,
    "mse": 1.0,
    "dead_share_train": 0.0,
    "published_front": True,
    "strict_front": True,
}


def names(paths: list[Path]) -> set[str]:
    return {path.name for path in paths if path.exists()}


def test_the_schema_picks_the_figures(tmp_path: Path) -> None:
    assert names(save_figures(CURVE, tmp_path / "new" / "folder")) == {"curve.png", "curve.svg"}


def test_kept_documents_are_drawn_beside_themselves_or_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "curve.json").write_text(json.dumps(CURVE))
    assert draw_kept(tmp_path) == [tmp_path / "curve.png", tmp_path / "curve.svg"]
    elsewhere = draw_kept(tmp_path / "curve.json", tmp_path / "out")
    assert names(elsewhere) == {"curve.png", "curve.svg"}
    assert {path.parent for path in elsewhere} == {tmp_path / "out"}


def test_a_sweep_is_known_by_its_table(tmp_path: Path) -> None:
    (tmp_path / "grid.json").write_text(json.dumps([SAE]))
    assert names(draw_kept(tmp_path)) == {
        f"{name}.{end}" for name in ("heatmaps", "pareto", "k-curve") for end in ("png", "svg")
    }


def test_pngs_are_pngs_of_a_sane_size(tmp_path: Path) -> None:
    from matplotlib.image import imread

    png, svg = save_figures(CURVE, tmp_path)
    height, width, _ = imread(png).shape
    assert 1200 < width < 2000
    assert 400 < height < 1200
    assert svg.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"schema": "codi-int/manifest@1"}, "have no figures"),
        ({}, "schema None have no figures"),
        ({"schema": "codi-int/curve@1"}, "not whole: KeyError"),
        ({"schema": {"a": 1}}, "have no figures"),
        ({"schema": "codi-int/curve@1", "curves": 3}, "not whole"),
    ],
)
def test_documents_without_figures_are_errors(document: dict, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        save_figures(document, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("", None, "holds no run that has figures"),
        ("none.json", None, "does not exist"),
        ("broken.json", "{", "cannot be read as JSON"),
        ("list.json", "[]", "no document with a schema"),
    ],
)
def test_places_without_a_run_are_errors(tmp_path: Path, name: str, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=says):
        draw_kept(tmp_path / name)
