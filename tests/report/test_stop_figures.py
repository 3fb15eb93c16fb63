"""Figures of early stopping: a line for each number of steps, numbers where the eye looks for them."""

from pathlib import Path
from typing import Any

import pytest

from codi_int.report.figures import save_figures
from codi_int.report.stop_figures import stop_figure, stop_logprob_figure


def row(thoughts: int, steps: int | None, accuracy: float, low: float | None = -2.0) -> dict[str, Any]:
    return {
        "thoughts": thoughts,
        "steps": steps,
        "operation": None,
        "n": 40 if steps is None else 20,
        "accuracy": accuracy,
        "low": accuracy - 0.1,
        "high": accuracy + 0.1,
        "logprob": -1.0 - thoughts,
        "logprob_low": low,
        "logprob_high": None if low is None else 0.0,
    }


def document(**changed: Any) -> dict[str, Any]:
    known = {
        "schema": "codi-int/stop@1",
        "model": "tiny",
        "data": "stories",
        "n_problems": 40,
        "n_thoughts": 1,
        "most": 2,
        "overall": [row(k, None, 0.5) for k in range(3)],
        "rows": [
            *(row(k, 1, 0.25 * (k + 1)) for k in range(3)),
            *(row(k, 2, 0.125 * (k + 1), None if k == 1 else -2.0) for k in range(3)),
        ],
    }
    return {**known, **changed}


def test_each_number_of_steps_has_its_line() -> None:
    (axis,) = stop_figure(document()).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in axis.lines if len(line.get_xdata()) == 3}
    assert lines == {"1 step (n = 20)": [25.0, 50.0, 75.0], "2 steps (n = 20)": [12.5, 25.0, 37.5]}
    # the model's own number is marked where more were tried, and nowhere else
    assert [list(line.get_xdata()) for line in axis.lines if len(line.get_xdata()) == 2] == [[1, 1]]
    (plain,) = stop_figure(document(most=1)).axes
    assert all(len(line.get_xdata()) != 2 for line in plain.lines)


def test_problems_of_one_length_are_one_line() -> None:
    (axis,) = stop_figure(document(rows=[row(k, 1, 0.5) for k in range(3)])).axes
    assert [line.get_label() for line in axis.lines if len(line.get_xdata()) == 3] == ["all (n = 40)"]


def test_a_band_does_not_bridge_what_has_no_interval() -> None:
    (axis,) = stop_logprob_figure(document()).axes
    # one band for the first line, two single places for the second
    assert len(axis.collections) == 3
    assert next(list(line.get_ydata()) for line in axis.lines if len(line.get_xdata()) == 3) == [-1.0, -2.0, -3.0]


@pytest.mark.parametrize("name", ["stop", "stop-logprob"])
def test_both_are_written(name: str, tmp_path: Path) -> None:
    written = {path.name for path in save_figures(document(), tmp_path)}
    assert {f"{name}.png", f"{name}.svg"} <= written
