"""Predictions: rates with their interval beside controls, and what the answers became."""

from pathlib import Path

import numpy as np
import pytest

from codi_int.report.prediction_figures import prediction_figure, prediction_figures

PREDICTION = {
    "claim": "the result of step 1 is the source's",
    "n_tested": 40,
    "hit_rate": 0.25,
    "low": 0.14,
    "high": 0.4,
    "confidence": 0.95,
    "n_hits_clean": 2,
    "became": {"predicted": 10, "as before": 20, "another": 10},
    "controls": {"kind": "random sources", "hit_rates": [0.05, 0.0, 0.1]},
}
DOCUMENT = {"experiment": {"model": "tiny", "data": "stories"}, "prediction": PREDICTION}


def test_rates_and_answers_are_shares_of_the_tested_problems() -> None:
    rates, answers = prediction_figure(DOCUMENT).axes
    bar, this, before, controls = rates.lines
    assert np.allclose(bar.get_xdata(), [14, 40])
    assert (this.get_xdata()[0], before.get_xdata()[0]) == pytest.approx((25, 5))
    assert np.allclose(controls.get_xdata(), [0, 5, 10])
    assert [patch.get_width() for patch in answers.patches] == pytest.approx([25, 50, 25])
    assert [t.get_text() for t in answers.get_yticklabels()] == ["predicted", "as before", "another"]
    assert "40 problems" in prediction_figure(DOCUMENT).get_supxlabel().replace("\n", " ")


def test_only_what_was_tested_is_drawn(tmp_path: Path) -> None:
    assert prediction_figures({**DOCUMENT, "prediction": None}, tmp_path) == []
    assert prediction_figures({**DOCUMENT, "prediction": {**PREDICTION, "n_tested": 0}}, tmp_path) == []
    lone = {**PREDICTION, "controls": {"kind": "none", "hit_rates": []}}
    assert [path.suffix for path in prediction_figures({**DOCUMENT, "prediction": lone}, tmp_path)] == [".png", ".svg"]


def test_a_prediction_without_controls_is_drawn_without_them() -> None:
    figure = prediction_figure({**DOCUMENT, "prediction": {**PREDICTION, "controls": None}})
    rates = figure.axes[0]
    assert [t.get_text() for t in rates.get_yticklabels()] == ["this edit", "before the edit"]
    assert len(rates.lines) == 3
    assert "Rings" not in figure.get_supxlabel()
