"""A screen's figures: dots stand where the rows say, findings are filled, dead features are counted and not drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import same_color, to_rgba

from codi_int.interventions.screens.screen import Screen, ScreenRow, ScreenSite
from codi_int.records import flatten, unflatten
from codi_int.report.documents import ACCURACY, LOGPROB
from codi_int.report.screen_figures import firing_figure, forest_figure, rank_figure, screen_figures, volcano_figure
from codi_int.report.screen_rows import alive, border
from codi_int.report.style import BLUE, RED, write_figure
from codi_int.types import Environment, RunCounts, Site

SITE = Site(2, 3)
DEAD = unflatten(
    ScreenRow,
    {
        "site": SITE,
        "feature": 9,
        "firing_rate": 0.0,
        "edit_size": 0.0,
        "n_touched": 0,
        "n_broken": 0,
        "n_fixed": 0,
        "n_answer_changed": 0,
        "estimate": 0.0,
        "low": 0.0,
        "high": 0.0,
        "p_value": None,
        "p_adjusted": None,
        "logprob": 0.0,
        "logprob_low": 0.0,
        "logprob_high": 0.0,
        "logprob_p": None,
        "logprob_p_adjusted": None,
    },
)


def row(feature: int, estimate: float, p: float, logprob: float, logprob_p: float, q: float = 0.5) -> ScreenRow:
    return unflatten(
        ScreenRow,
        flatten(DEAD)
        | {
            "site": SITE,
            "feature": feature,
            "firing_rate": 0.01 * feature,
            "n_touched": 5,
            "estimate": estimate,
            "low": estimate - 0.1,
            "high": estimate + 0.2,
            "p_value": p,
            "p_adjusted": q,
            "logprob": logprob,
            "logprob_low": logprob - 1,
            "logprob_high": logprob + 2,
            "logprob_p": logprob_p,
            "logprob_p_adjusted": 0.01 if logprob_p < 0.01 else 0.9,
            "rank": 0.25,
            "rank_logprob": 0.75,
            "selected": q < 0.05,
            "selected_logprob": logprob_p < 0.01,
        },
    )


ROWS = (
    row(1, 0.0, 1.0, -0.5, 0.001),
    row(2, 0.0, 1.0, 0.25, 0.004),
    row(3, -0.125, 0.25, 0.0, 0.7),
    row(4, -0.25, 1e-4, 0.125, 0.5, q=0.03),
    DEAD,
)


def document(*rows: ScreenRow) -> dict:
    sites = tuple(ScreenSite(site, "sae", "s", 5, 4) for site in dict.fromkeys(row.site for row in rows))
    return Screen(
        kind="ablate",
        site=SITE,
        model="tiny",
        sae="sae",
        data="stories",
        n_problems=50,
        n_correct=40,
        seed=0,
        rows=rows,
        counts=RunCounts(1, 0, 1, 0, 0),
        environment=Environment(
            codi_int="0",
            torch="0",
            model_sha256="m",
            sae_sha256="s",
            data_sha256="d",
            threads=1,
            device="cpu",
            dtype="float32",
            seconds=1.0,
        ),
        sites=sites,
    ).to_dict()


def dots_of(axis) -> dict[tuple[float, float], object]:
    """Place of each dot to its filling; None for a ring."""
    out = {}
    for collection in axis.collections:
        faces = collection.get_facecolors()
        for number, (x, y) in enumerate(collection.get_offsets()):
            out[round(float(x), 6), round(float(y), 6)] = to_rgba(faces[number % len(faces)]) if len(faces) else None
    return out


def test_the_volcano_has_effects_across_and_p_upwards() -> None:
    accuracy, logprob = volcano_figure(document(*ROWS)).axes
    found = dots_of(accuracy)
    assert set(found) == {(0.0, 0.0), (-12.5, round(-np.log10(0.25), 6)), (-25.0, 4.0)}
    assert same_color(found[-25.0, 4.0][:3], RED)
    assert found[0.0, 0.0] is None
    found = dots_of(logprob)
    assert len(found) == 4
    assert same_color(found[-0.5, 3.0][:3], RED)
    assert same_color(found[0.25, round(-np.log10(0.004), 6)][:3], BLUE)


def test_what_was_not_confirmed_is_no_finding() -> None:
    found = document(*ROWS)
    found["rows"][3]["confirmed"] = False
    assert not any(dot.significant for dot in alive(found, ACCURACY))
    found["rows"][3]["confirmed"] = True
    assert [dot.feature for dot in alive(found, ACCURACY) if dot.significant] == [4]


def test_documents_of_earlier_releases_are_read_by_their_adjusted_p_values() -> None:
    found = document(*ROWS)
    for one in found["rows"]:
        for name in ("selected", "selected_logprob", "confirmed", "confirmed_logprob"):
            del one[name]
    assert [dot.feature for dot in alive(found, ACCURACY) if dot.significant] == [4]
    assert [dot.feature for dot in alive(found, LOGPROB) if dot.significant] == [1, 2]


def test_a_mean_without_an_interval_is_a_dot_without_a_bar() -> None:
    found = document(*ROWS)
    found["rows"][0] |= {"logprob_low": None, "logprob_high": None}
    (dot,) = [dot for dot in alive(found, LOGPROB) if dot.feature == 1]
    assert dot.low == dot.high == dot.effect


def test_the_dashed_line_is_the_border_of_what_was_found() -> None:
    accuracy, logprob = volcano_figure(document(*ROWS)).axes
    lines = [next(line for line in axis.lines if line.get_linestyle() == "--") for axis in (accuracy, logprob)]
    assert lines[0].get_ydata()[0] == pytest.approx(4)  # the largest p that was found
    assert lines[1].get_ydata()[0] == pytest.approx(-np.log10(0.004))
    nothing = [replace(dot, significant=False) for dot in alive(document(*ROWS), ACCURACY)]
    assert border(nothing) == pytest.approx(-np.log10(0.05 / 4))


def test_findings_carry_their_number_and_spots_their_count() -> None:
    many = [row(10 + i, 0.0, 1.0, 0.001 * i, 0.5) for i in range(6)]
    accuracy, logprob = volcano_figure(document(*ROWS, *many)).axes
    assert {text.get_text() for text in accuracy.texts} == {"4", "8"}
    assert {text.get_text() for text in logprob.texts} == {"1", "2"}


def test_the_caption_counts_dead_features() -> None:
    caption = volcano_figure(document(*ROWS)).get_supxlabel().replace("\n", " ")
    assert "4 of 5 features fire; the 1 others are not shown" in caption
    assert "1 for accuracy and 2 for log-probability" in caption
    assert "n = 50, 80.0 % right" in caption


def test_the_forest_ranks_by_accuracy_then_log_probability_with_intervals() -> None:
    accuracy, logprob = forest_figure(document(*ROWS)).axes
    assert [t.get_text() for t in accuracy.get_yticklabels()] == ["4 (4.0 %)", "3 (3.0 %)", "1 (1.0 %)", "2 (2.0 %)"]
    bars = [line.get_xdata() for line in logprob.lines if len(line.get_xdata()) == 2 and line.get_ydata()[0] != 0]
    assert np.allclose(bars[0], [-1.0, 2.0])
    points = [line for line in accuracy.lines if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in points] == [-25, -12.5, 0, 0]
    assert [line.get_markerfacecolor() for line in points] == [RED, "white", "white", "white"]
    assert forest_figure(document(*ROWS), top=2).axes[0].get_yticks().tolist() == [0, 1]


def test_firing_rates_stand_on_a_log_axis_in_percent() -> None:
    figure = firing_figure(document(*ROWS))
    accuracy, logprob = figure.axes
    assert set(dots_of(logprob)) == {(1.0, -0.5), (2.0, 0.25), (3.0, 0.0), (4.0, 0.125)}
    assert accuracy.get_xscale() == "log"
    figure.canvas.draw()
    ticks = [*logprob.get_xticklabels(), *logprob.get_xticklabels(minor=True)]
    shown = {t.get_text() for t in ticks if 1 <= t.get_position()[0] <= 4}
    assert shown - {""} == {"1", "2"}  # less than a power of ten, and yet not every number


def test_ranks_are_counted_in_tenths() -> None:
    accuracy, logprob = rank_figure(document(*ROWS)).axes
    assert [bar.get_height() for bar in accuracy.patches] == [0, 0, 4, 0, 0, 0, 0, 0, 0, 0]
    assert [bar.get_height() for bar in logprob.patches] == [0, 0, 0, 0, 0, 0, 0, 4, 0, 0]


def several_sites() -> dict:
    return document(*ROWS, *(replace(row, site=Site(4, 1)) for row in ROWS))


def test_several_sites_get_a_panel_each(tmp_path: Path) -> None:
    figure = volcano_figure(several_sites(), (LOGPROB,))
    assert [axis.get_title("left") for axis in figure.axes] == ["L2.P3", "L4.P1"]
    assert forest_figure(several_sites()).axes[0].get_yticklabels()[0].get_text() == "L2.P3 4 (4.0 %)"
    names = {path.stem for path in screen_figures(several_sites(), tmp_path)}
    assert names == {"volcano-accuracy", "volcano-logprob", "firing-accuracy", "firing-logprob", "effects", "ranks"}


@pytest.mark.parametrize("rows", [(DEAD,), (ROWS[0],), ()], ids=["dead", "one", "none"])
def test_the_smallest_screens_can_be_drawn(rows: tuple[ScreenRow, ...], tmp_path: Path) -> None:
    first = screen_figures(document(*rows), tmp_path)
    assert {path.stem for path in first} == {"volcano", "firing", "effects", "ranks"}


def test_the_same_screen_gives_the_same_bytes(tmp_path: Path) -> None:
    first, again = (write_figure(volcano_figure(document(*ROWS)), tmp_path / name, "volcano") for name in "ab")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]
