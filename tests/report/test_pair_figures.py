"""Pairs: joint effects over the sums of single ones, with the diagonal on which they add up."""

from pathlib import Path

import numpy as np
import pytest

from codi_int.interventions.screens.additivity import Interaction, PairRow
from codi_int.records import ArmEffect, Estimate, table_row
from codi_int.report.pair_figures import pair_figure, pair_figures
from codi_int.report.style import RED
from codi_int.types import Site


def pair(a: int, b: int, interaction: float, p: float | None) -> dict:
    """Single effects of -0.1 and -0.05 in accuracy, -1 and -0.5 in nats."""
    found = Interaction(Estimate(interaction, interaction - 0.02, interaction + 0.01, p, p), 3)
    effect = ArmEffect(
        accuracy=Estimate(-0.15 + interaction, -0.3, 0.0, 0.1),
        logprob=Estimate(-1.5 + interaction, -2.0, -1.0),
        n_touched=9,
        n_broken=2,
        n_fixed=0,
        n_answer_changed=3,
    )
    row = PairRow(
        site=Site(2, 3),
        a=a,
        b=b,
        n_both=4,
        effect=effect,
        estimate_a=-0.1,
        estimate_b=-0.05,
        logprob_a=-1.0,
        logprob_b=-0.5,
        interaction=found,
        interaction_logprob=found,
        selected=p is not None and p < 0.05,
        selected_logprob=p is not None and p < 0.05,
    )
    return table_row(row)


def document(*pairs: dict) -> dict:
    return {"data": "stories", "n_problems": 50, "n_correct": 40, "pairs": list(pairs)}


def test_dots_stand_over_the_sum_of_the_parts() -> None:
    accuracy, logprob = pair_figure(document(pair(1, 2, 0.0, None), pair(3, 4, -0.1, 0.01))).axes
    points = [line for line in accuracy.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == pytest.approx([-15, -15])
    assert [line.get_ydata()[0] for line in points] == pytest.approx([-15, -25])
    assert [line.get_markerfacecolor() for line in points] == ["white", RED]
    assert [text.get_text() for text in accuracy.texts] == ["3, 4"]
    bars = [line for line in logprob.lines if line.get_marker() == "None" and len(line.get_ydata()) == 2]
    ends = [tuple(line.get_ydata()) for line in bars if np.isclose(line.get_xdata()[0], -1.5)]
    assert np.allclose(ends, [(-1.52, -1.49), (-1.62, -1.59)])


def test_the_diagonal_is_where_effects_add_up() -> None:
    axis = pair_figure(document(pair(1, 2, 0.0, None))).axes[0]
    assert axis.lines[0].get_slope() == 1
    assert axis.lines[0].get_xy1() == (0, 0)


def test_one_pair_is_written(tmp_path: Path) -> None:
    assert [path.name for path in pair_figures(document(pair(1, 2, 0.0, None)), tmp_path)] == ["pairs.png", "pairs.svg"]
