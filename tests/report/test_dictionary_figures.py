"""The figures of several dictionaries: what they show, held against the records that they are drawn from."""

from dataclasses import replace

import pytest

from codi_int.report.dictionary_figures import MOST_DICTIONARIES, against_figure, seeds_figure
from codi_int.report.left_out import left_out
from tests.cli.golden_dictionaries import AGAINST, SEEDS


def test_every_feature_is_a_dot_at_its_own_effect_and_its_partners() -> None:
    figure = seeds_figure(SEEDS.to_dict())
    names = list(dict.fromkeys(row.dictionary for row in SEEDS.rows))
    assert [axis.get_title("left").split(" (")[0] for axis in figure.axes] == names
    for axis, name in zip(figure.axes, names, strict=True):
        dots = [line for line in axis.lines if line.get_marker() == "o"]
        for matched, line in zip((False, True), dots, strict=True):
            wanted = {
                (round(100 * row.accuracy, 9), round(100 * row.accuracy_partner, 9))
                for row in SEEDS.rows
                if row.dictionary == name and row.matched == matched
            }
            assert {(round(x, 9), round(y, 9)) for x, y in zip(*line.get_data(), strict=True)} == wanted


def test_dictionaries_that_have_no_panel_are_named() -> None:
    rows = [replace(SEEDS.rows[0], dictionary=f"seed {i}") for i in range(MOST_DICTIONARIES + 2)]
    document = replace(SEEDS, rows=tuple(rows)).to_dict()
    assert len([axis for axis in seeds_figure(document).axes if axis.get_title("left")]) == MOST_DICTIONARIES
    assert left_out(document) == ("the last 2 of 11 dictionaries",)


def test_sizes_of_effects_stand_with_their_intervals() -> None:
    (axis,) = against_figure(AGAINST.to_dict()).axes
    dots = [line for line in axis.lines if line.get_marker() == "o"]
    wanted = [row.median.value for row in AGAINST.rows] + [row.upper.value for row in AGAINST.rows]
    assert [line.get_xdata()[0] for line in dots] == pytest.approx([100 * value for value in wanted])
    bars = [tuple(line.get_xdata()) for line in axis.lines if line.get_marker() != "o"]
    ends = [(one.low, one.high) for key in ("median", "upper") for one in (getattr(row, key) for row in AGAINST.rows)]
    assert bars == [pytest.approx((100 * a, 100 * b)) for a, b in ends if a is not None and b is not None]
    assert len(axis.get_yticklabels()) == len(AGAINST.rows)
