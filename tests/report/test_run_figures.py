"""Figures of a lens, of a model by itself and of paths: numbers of the document where the eye looks for them."""

from pathlib import Path
from typing import Any

import pytest

from codi_int.report.figures import save_figures
from codi_int.report.left_out import left_out
from codi_int.report.lens_figures import lens_figure, lens_grid_figure
from codi_int.report.model_figures import accuracy_figure, parity_figure, thoughts_figure
from codi_int.report.path_figures import path_figure

ROW = {"group": "2 steps", "n": 4, "n_correct": 3, "accuracy": 0.75, "low": 0.3, "high": 0.95}
EVALUATION = {
    "schema": "codi-int/evaluation@1",
    "model": "tiny",
    "data": "stories",
    "rule": "last",
    "padding": "masked",
    "overall": {**ROW, "accuracy": 0.5},
    "by_steps": [ROW],
    "by_operation": [],
    "thoughts_replaced": [{**ROW, "group": "all", "accuracy": 0.25}],
    "thoughts_replaced_by_steps": [],
    "written_chain": [],
}
DOCTOR = {
    "schema": "codi-int/doctor@1",
    "model": {"name": "tiny", "dtype": "float32"},
    "parity": {
        "n_problems": 2,
        "n_answers_equal": 2,
        "worst_by_layer": [0.0, 2e-6],
        "worst_by_position": [1e-6, 2e-6, 3e-6],
    },
}


def cell(layer: int, position: int, rate: float, low: float) -> dict[str, Any]:
    return {"layer": layer, "position": position, "hits": 1, "rate": rate, "low": low, "high": 1.0, "by_chance": 0.2}


LENS = {
    "schema": "codi-int/lens@1",
    "confidence": 0.95,
    "model": "tiny",
    "data": "stories",
    "n_problems": 9,
    "top": 5,
    "n_layers": 2,
    "n_positions": 2,
    "groups": [
        {
            "name": name,
            "n": 9,
            "cells": [cell(0, 0, 0.1, 0.0), cell(0, 1, 0.2, 0.1), cell(1, 0, 0.3, 0.1), cell(1, 1, 0.9, 0.7)],
        }
        for name in ("step 1", "answer")
    ],
}


def token(text: str, probability: float, is_result: bool = False) -> dict[str, Any]:
    return {"text": text, "id": 1, "probability": probability, "is_result": is_result}


GRID = {
    "schema": "codi-int/lens-grid@1",
    "problem_id": "p1",
    "question": "How many?",
    "answer": 7,
    "tokens": [[[token(" 7", 0.9, True), token("8", 0.1)], [token(" ", 0.2), token("x", 0.1)]]],
}


def effect(estimate: float) -> dict[str, Any]:
    found = {"estimate": estimate, "low": estimate - 0.1, "high": estimate + 0.1}
    return {**found, "logprob": {"estimate": 10 * estimate, "low": 10 * estimate - 1, "high": 10 * estimate + 1}}


ROADS = {
    "schema": "codi-int/roads@1",
    "label": "ablate 3",
    "site": {"layer": 2, "position": 3},
    "model": "tiny",
    "data": "stories",
    "n_problems": 9,
    "both": effect(-0.3),
    "cache": effect(-0.2),
    "recurrence": effect(0.0),
    "rest": effect(-0.1),
    "rest_logprob": {"estimate": -1.5, "low": -2.0, "high": -1.0},
}


def dots(axis: Any) -> list[tuple[float, float]]:
    """(x, y) of every single marker."""
    found = [tuple(zip(*line.get_data(), strict=True)) for line in axis.lines if line.get_marker() == "o"]
    return [(round(float(x), 9), round(float(y), 9)) for points in found for x, y in points]


def names(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_yticklabels()]


def test_accuracy_of_every_group_stands_below_all_problems() -> None:
    (axis,) = accuracy_figure(EVALUATION).axes
    assert dots(axis) == [(50.0, 0.0), (75.0, 1.0), (25.0, 2.0)]
    assert names(axis) == ["all problems (n = 4)", "2 steps (n = 4)", "thoughts replaced: all (n = 4)"]


def test_thoughts_show_lengths_and_likeness_of_the_first_problems() -> None:
    problems = [
        {"problem_id": f"p{i}", "thought_norms": [1.0 + i, 2.0, 3.0], "thought_steps": [0.5, 0.25]} for i in range(9)
    ]
    document = {"schema": "codi-int/thoughts@1", "model": "tiny", "problems": problems}
    lengths, likeness = thoughts_figure(document).axes
    assert len(lengths.lines) == len(likeness.lines) == 7
    assert list(lengths.lines[2].get_ydata()) == [3.0, 2.0, 3.0]
    assert [list(data) for data in likeness.lines[0].get_data()] == [[2, 3], [0.5, 0.25]]
    assert left_out(document) == ("the last 2 problems",)


def test_parity_leaves_out_what_is_equal() -> None:
    layers, positions = parity_figure(DOCTOR).axes
    assert dots(layers) == [(1.0, 2e-6)]
    assert dots(positions) == [(0.0, 1e-6), (1.0, 2e-6), (2.0, 3e-6)]
    assert left_out(DOCTOR) == ()
    (words,) = left_out({**DOCTOR, "parity": None})
    assert words.startswith("nothing to draw")


def test_a_lens_has_a_panel_for_each_result_and_dots_above_chance() -> None:
    step, answer, _bar = lens_figure(LENS).axes
    assert step.images[0].get_array().tolist() == [[0.1, 0.2], [0.3, 0.9]]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in answer.lines] == [(1, 1)]
    assert [axis.get_title(loc="left") for axis in (step, answer)] == [
        "the result of step 1 (n = 9)",
        "the answer (n = 9)",
    ]


def test_a_grid_writes_the_likeliest_token() -> None:
    axis = lens_grid_figure(GRID).axes[0]
    assert [(text.get_text(), text.get_weight()) for text in axis.texts] == [("7", "bold"), ("␣", "normal")]
    assert left_out(GRID) == ("all but the likeliest of 2 tokens of each cell",)


def test_paths_and_what_they_do_not_add_up_to() -> None:
    accuracy, logprob = path_figure(ROADS).axes
    assert dots(accuracy) == [(-30.0, 0.0), (-20.0, 1.0), (0.0, 2.0), (-10.0, 3.0)]
    assert dots(logprob) == [(-3.0, 0.0), (-2.0, 1.0), (0.0, 2.0), (-1.5, 3.0)]


@pytest.mark.parametrize(
    ("document", "name"),
    [(EVALUATION, "accuracy"), (DOCTOR, "parity"), (LENS, "lens"), (GRID, "lens"), (ROADS, "paths")],
)
def test_each_document_finds_its_figure_and_the_same_bytes_twice(
    document: dict[str, Any], name: str, tmp_path: Path
) -> None:
    first, again = save_figures(document, tmp_path / "a"), save_figures(document, tmp_path / "b")
    assert [path.name for path in first] == [f"{name}.png", f"{name}.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
