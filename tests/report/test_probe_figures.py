"""The picture of probes: scores and selectivities where their sites are."""

from typing import Any

import numpy as np

from codi_int.report.probe_figures import probe_figure


def row(layer: int | None, position: int, score: float, selectivity: float, k: int | None = None) -> dict[str, Any]:
    site = {"layer": layer, "position": position, "component": "thought" if layer is None else "resid_post"}
    return {"site": site, "k": k, "score": score, "selectivity": selectivity}


DOCUMENT = {
    "schema": "codi-int/probe@1",
    "model": "tiny",
    "data": "stories",
    "target": "operation:1",
    "measure": "balanced accuracy",
    "method": "ridge",
    "source": "residuals",
    "n": 40,
    "folds": 5,
    "control_types": "left operand of step 1",
    "baselines": [{"name": "majority", "score": 0.25}, {"name": "words of the question", "score": 0.9}],
    "rows": [row(3, 0, 0.5, 0.1), row(3, 2, 0.6, 0.4), row(7, 0, 0.7, 0.3), row(7, 2, 0.99, 0.99, k=4)],
}


def test_each_site_has_its_place_and_the_best_one_a_dot() -> None:
    scores, selectivity, *_ = probe_figure(DOCUMENT).axes
    (image,) = scores.images
    assert np.array_equal(image.get_array().filled(-1), [[0.5, 0.6], [0.7, -1]])
    assert [tick.get_text() for tick in scores.get_xticklabels()] == ["bot", "2"]
    assert [tick.get_text() for tick in scores.get_yticklabels()] == ["3", "7"]
    # a sparse probe's row is no cell, nor is it the most selective one
    dots = [(line.get_xdata()[0], line.get_ydata()[0]) for line in selectivity.lines]
    assert dots == [(1, 0)]


def test_thoughts_are_one_row() -> None:
    figure = probe_figure({**DOCUMENT, "rows": [row(None, p, 0.5, 0.1 * p) for p in range(3)]})
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["fed"]
