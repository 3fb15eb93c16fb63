"""Names from outside stand in figures as they are: dollars are no formulas, brackets no markup, controls are shown."""

import json
from pathlib import Path

from codi_int.report.figures import draw_kept, save_figures
from codi_int.report.growth import growth_figure
from codi_int.types import Site
from tests.report.test_eval_figures import PUBLISHED, document
from tests.report.test_sweep_figures import make_sweep

HOSTILE = "$x^{$_[/b]\x1b[31m\u202e"
SHOWN = "$x^{$_[/b]\\x1b[31m\\u202e"


def texts(paths: list[Path]) -> str:
    """What stands in the SVGs; letters are outlines there, and a comment beside them says what they spell."""
    found = "".join(path.read_text() for path in paths if path.suffix == ".svg")
    assert not {"\x1b", "\u202e"} & set(found)
    return found


def test_sae_eval(tmp_path: Path) -> None:
    saes = [{**sae, "trained_as": f"{sae['trained_as']}{HOSTILE}", "name": HOSTILE} for sae in PUBLISHED]
    made = {**document(saes), "model": f"model {HOSTILE}", "held_out": f"rows {HOSTILE}"}
    said = texts(save_figures(made, tmp_path))
    for name in ("topk", "matryoshka", "model ", "rows "):
        assert f"{name}{SHOWN}" in said


def test_sae_sweep(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / HOSTILE.replace("/", ""), Site(2, 3))
    note = {"model": f"model {HOSTILE}", "training_data": f"data {HOSTILE}"}
    (folder / "sweep.json").write_text(json.dumps(note))
    said = texts(draw_kept(folder, tmp_path))
    assert f"model {SHOWN}" in said
    assert f"data {SHOWN}" in said


def test_growth(tmp_path: Path) -> None:
    peers = (f"peer {HOSTILE}", "other")
    rows = [{"peer": peer, HOSTILE: n, "seconds": 1.0 + n} for n in (1, 2, 4) for peer in peers]
    said = texts(
        growth_figure(
            rows,
            x=HOSTILE,
            ys="seconds",
            out=tmp_path,
            name="g",
            title=f"title {HOSTILE}",
            caption=f"caption {HOSTILE}",
        )
    )
    assert f"peer {SHOWN}" in said
    assert f"caption {SHOWN}" in said
    assert "title $x^{$_[/b]\\x1b" in said, "the rest is on the next line"
    assert f"<!-- {SHOWN.replace('_', ' ')} -->" in said, "the axis, which reads a key's underscores as blanks"
