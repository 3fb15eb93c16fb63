"""The map and the curves: pictures hold the numbers of the documents, and say where there are none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from codi_int.interventions.screens.curves import AblationCurve, CurvePoint
from codi_int.interventions.screens.thought_map import NO_PATH, MapCell, ThoughtMap
from codi_int.records import ArmEffect, Estimate
from codi_int.report.causal_figures import curve_figure, curve_figures, map_figure, map_figures
from codi_int.report.documents import MEASURES
from codi_int.types import Environment, RunCounts, Site

COUNTS = RunCounts(1, 0, 1, 0, 0)
ENVIRONMENT = Environment(
    codi_int="0",
    torch="0",
    model_sha256="m",
    sae_sha256="s",
    data_sha256="d",
    threads=1,
    device="cpu",
    dtype="float32",
    seconds=1.0,
)


def cell(site: Site, effect: float | None, path: str = "both", p: float = 0.5) -> MapCell:
    if effect is None:
        return MapCell(site, path, 0, note=NO_PATH)
    found = ArmEffect(
        accuracy=Estimate(effect, effect - 0.1, effect + 0.1, p, p),
        logprob=Estimate(2 * effect, effect - 1, effect + 1, p, p),
        n_touched=50,
        n_broken=5,
        n_fixed=1,
        n_answer_changed=7,
    )
    return MapCell(site, path, 1, found, selected=p < 0.05, selected_logprob=p < 0.05)


def document(*cells: MapCell, propagate: str = "both", cumulative: bool = False, **more: Any) -> dict:
    direction = "onwards" if cumulative else None
    return ThoughtMap(
        kind="mean",
        cumulative=cumulative,
        direction=direction,
        propagate=propagate,
        model="tiny",
        data="stories",
        n_problems=50,
        n_correct=40,
        seed=0,
        cells=cells,
        splits=(),
        counts=COUNTS,
        environment=ENVIRONMENT,
        **more,
    ).to_dict()


SMALL = document(
    cell(Site(0, 1), -0.25, p=0.001),
    cell(Site(0, 2), 0.125),
    cell(Site(1, 1), 0.0),
    cell(Site(1, 2), None),
    cell(Site(None, 1, "thought"), -0.5, p=0.04),
)


def maps(figure) -> list:
    return [axis for axis in figure.axes if axis.images]


def values(axis) -> list:
    return np.ma.filled(axis.images[0].get_array(), np.nan).tolist()


def hatched(axis) -> set[tuple[float, float]]:
    """(row, column) of the hatched cells."""
    boxes = [p for p in axis.patches if isinstance(p, Rectangle) and p.get_hatch()]
    return {(box.get_y() + 0.5, box.get_x() + 0.5) for box in boxes}


def dots(axis) -> set[tuple[float, float]]:
    return {(line.get_ydata()[0], line.get_xdata()[0]) for line in axis.lines}


def test_cells_stand_by_layer_and_position_in_points_and_nats() -> None:
    accuracy, logprob = maps(map_figure(SMALL, MEASURES))
    # the fed thoughts lowest, then layers 0 and 1; positions 1 and 2
    np.testing.assert_array_equal(values(accuracy), [[-50, np.nan], [-25, 12.5], [0, np.nan]])
    np.testing.assert_array_equal(values(logprob), [[-1, np.nan], [-0.5, 0.25], [0, np.nan]])
    assert [t.get_text() for t in accuracy.get_yticklabels()] == ["fed", "0", "1"]
    assert [t.get_text() for t in accuracy.get_xticklabels()] == ["1", "2"]


def test_zero_is_the_middle_of_the_colours() -> None:
    for axis in maps(map_figure(SMALL, MEASURES)):
        low, high = axis.images[0].get_clim()
        assert low == -high == np.nanmin(values(axis))


def test_what_has_no_number_is_hatched_and_what_is_significant_dotted() -> None:
    (axis,) = maps(map_figure(SMALL))
    assert hatched(axis) == {(0, 1), (2, 1)}
    assert dots(axis) == {(1, 0), (0, 0)}


def test_the_caption_says_how_many_problems_and_tests() -> None:
    caption = map_figure(SMALL).get_supxlabel().replace("\n", " ")
    assert "n = 50, 80.0 % right" in caption
    assert "over 4 cells" in caption
    assert "Hatched" in caption


def test_paths_stand_side_by_side_on_one_scale(tmp_path: Path) -> None:
    paths = document(
        cell(Site(0, 1), -0.5),
        cell(Site(0, 1), -0.25, "cache"),
        cell(Site(0, 1), None, "recurrence"),
        propagate="split",
    )
    panels = maps(map_figure(paths))
    assert [axis.get_title("left") for axis in panels] == ["both paths", "cache only", "recurrence only"]
    assert {axis.images[0].get_clim() for axis in panels} == {(-50.0, 50.0)}
    assert hatched(panels[2]) == {(0, 0)}
    names = [path.name for path in map_figures(paths, tmp_path)]
    assert names == ["map-accuracy.png", "map-accuracy.svg", "map-logprob.png", "map-logprob.svg"]


def test_contexts_are_panels_on_one_scale(tmp_path: Path) -> None:
    contexts = (replace(cell(Site(0, 1), -0.75, p=0.001), later="mean"), replace(cell(Site(0, 1), 0.25), later="only"))
    found = document(cell(Site(0, 1), -0.5), contexts=contexts, later="each")
    panels = maps(map_figure(found))
    assert [axis.get_title("left") for axis in panels] == ["alone", "later silent", "only this one"]
    assert [values(axis) for axis in panels] == [[[-50.0]], [[-75.0]], [[25.0]]]
    assert {axis.images[0].get_clim() for axis in panels} == {(-75.0, 75.0)}
    assert [dots(axis) for axis in panels] == [set(), {(0, 0)}, set()]
    # the family has the cells of every context
    assert "3 cells" in map_figure(found).get_supxlabel().replace("\n", " ")
    assert [path.name for path in map_figures(found, tmp_path)][::2] == ["map-accuracy.png", "map-logprob.png"]


def test_the_cumulative_map_says_so() -> None:
    title = map_figure(document(cell(Site(0, 1), -0.5), cumulative=True)).get_suptitle()
    assert "from a position onwards" in title.replace("\n", " ")


@pytest.mark.parametrize("cells", [(cell(Site(0, 1), 0.0),), (cell(Site(0, 1), None),)])
def test_a_map_of_one_cell_can_be_drawn(cells: tuple[MapCell, ...], tmp_path: Path) -> None:
    assert all(path.stat().st_size > 5000 for path in map_figures(document(*cells), tmp_path))


def point(n: int, effect: float) -> CurvePoint:
    found = ArmEffect(
        accuracy=Estimate(effect, effect - 0.05, effect + 0.02, 0.1),
        logprob=Estimate(3 * effect, 3 * effect - 1, 3 * effect + 1),
        n_touched=5,
        n_broken=2,
        n_fixed=1,
        n_answer_changed=3,
    )
    return CurvePoint(n, 0.8 + effect, found)


def curve(ns: tuple[int, ...], draws: int) -> dict:
    top = tuple(point(n, -0.01 * n) for n in ns)
    random = tuple(tuple(point(n, -0.001 * n * (i + 1)) for n in ns) for i in range(draws))
    return AblationCurve(
        site=Site(2, 3),
        order="attribution",
        model="tiny",
        sae="sae",
        data="stories",
        n_problems=50,
        n_correct=40,
        n_living=9,
        seed=0,
        features=tuple(range(9)),
        top=top,
        random=random,
        counts=COUNTS,
        environment=ENVIRONMENT,
    ).to_dict()


def test_the_curve_stands_over_the_band_of_random_sets() -> None:
    accuracy, logprob = curve_figure(curve((1, 2, 4), 3)).axes
    by_label = {line.get_label(): line for line in accuracy.lines}
    assert by_label["random, median"].get_ydata() == pytest.approx([-0.2, -0.4, -0.8])
    band = accuracy.collections[0].get_paths()[0].get_extents()
    assert (band.x0, band.x1, band.y0, band.y1) == pytest.approx((1, 4, -1.2, -0.1))
    strongest = accuracy.containers[0]
    assert strongest[0].get_xdata().tolist() == [1, 2, 4]
    assert strongest[0].get_ydata() == pytest.approx([-1, -2, -4])
    bars = np.array(strongest[2][0].get_segments())
    assert bars[:, :, 1] == pytest.approx(np.array([[-6, 1], [-7, 0], [-9, -2]]))
    assert logprob.containers[0][0].get_ydata() == pytest.approx([-0.03, -0.06, -0.12])
    assert accuracy.get_xscale() == "log"


@pytest.mark.parametrize(("ns", "draws"), [((1,), 1), ((1, 2), 0)])
def test_short_curves_can_be_drawn_and_are_the_same_bytes(ns: tuple[int, ...], draws: int, tmp_path: Path) -> None:
    first = curve_figures(curve(ns, draws), tmp_path / "a")
    again = curve_figures(curve(ns, draws), tmp_path / "b")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]
