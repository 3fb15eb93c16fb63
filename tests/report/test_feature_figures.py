"""Figures of features at several sites and of swap pairs: numbers of the document where the eye looks for them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codi_int.errors import DataError
from codi_int.report.feature_figures import firing_sites_figure
from codi_int.report.figures import figure_of, save_figures
from codi_int.report.specialization_figures import landscape_figure
from codi_int.report.swap_pair_figures import swap_power_figure

RULES = ["published", "published-ties-counted", "tested"]


def site(layer: int, position: int, n: int, specialized: tuple[int, ...]) -> dict[str, Any]:
    """A site with `n` alive features, none of which is in the common band."""
    cells = [{"rule": r, "n": n, "share": s / n if n else None} for r, s in zip(RULES, specialized, strict=True)]
    band = [{"rule": rule, "n": 0, "share": None} for rule in RULES]
    return {"site": {"layer": layer, "position": position}, "cells": [*cells, *band]}


LANDSCAPE: dict[str, Any] = {
    "schema": "codi-int/features-specialize-sites@1",
    "model": "tiny",
    "data": "stories",
    "n_problems": 40,
    "confirmed_on": "folds",
    "band": [0.01, 0.1],
    "rules": RULES,
    "sites": [site(2, 1, 10, (5, 4, 1)), site(2, 3, 20, (2, 0, 20)), site(3, 1, 8, (0, 0, 4))],
    "rows": [{}] * 38,
}


def image(axis: Any) -> list[list[float | None]]:
    """What a heatmap shows, hatched cells as None."""
    values = np.ma.asarray(axis.images[0].get_array())
    return [[None if np.ma.is_masked(v) else float(v) for v in row] for row in values]


def test_the_landscape_has_layers_upwards_and_a_rule_beside_the_other() -> None:
    figure = landscape_figure(LANDSCAPE)
    n, published, ties, tested, *common = [axis for axis in figure.axes if axis.images and axis.get_title(loc="left")]
    assert image(n) == [[10, 20], [8, None]]
    assert image(published) == [[50, 10], [0, None]]
    assert image(ties) == [[40, 0], [0, None]]
    assert image(tested) == [[10, 100], [50, None]]
    assert [image(axis) for axis in common] == [[[None, None], [None, None]]] * 4
    assert {axis.images[0].get_clim() for axis in (published, ties, tested)} == {(0.0, 100.0)}
    assert [text.get_text() for text in published.texts] == ["50", "10", "0"]
    assert not n.yaxis_inverted()


RANKS: dict[str, Any] = {
    "schema": "codi-int/features-rank-sites@1",
    "sites": [
        {
            "site": {"layer": 2, "position": place},
            "model": "tiny",
            "data": "stories",
            "n_problems": 100,
            "n_alive": len(rates),
            "rows": [{"firing_rate": rate} for rate in rates],
        }
        for place, rates in ((1, [0.5, 0.2, 0.1, 0.04, 0.01]), (3, []))
    ],
}


def test_firing_rates_of_sites_are_quantiles() -> None:
    rates, alive = firing_sites_figure(RANKS).axes
    bar, middle, most = rates.lines
    assert list(bar.get_ydata()) == [1.0, 50.0]
    assert (list(middle.get_ydata()), list(most.get_ydata())) == ([10.0], [50.0])
    assert [patch.get_height() for patch in alive.patches] == [5, 0]


def pair(n: int, power: float, first: float | None, second: float | None) -> dict[str, Any]:
    return {
        "n_informative": n,
        "n_needed": 106,
        "power": power,
        "difference": first,
        "difference_other": second,
    }


def test_pairs_show_what_they_tell_and_their_power() -> None:
    about = {"n_problems": 40, "data": "stories", "sae": "s", "model": "tiny", "site": "L2.P3"}
    document = {
        "schema": "codi-int/features-pairs@1",
        "tested": {**about, "n_pairs": 2, "rows": [pair(5, 0.1, 0.4, 0.3), pair(200, 0.9, 0.2, 0.5)]},
        "published": {**about, "n_pairs": 1, "rows": [pair(3, 0.0, None, None)]},
    }
    tells, power = swap_power_figure(document).axes
    points = {line.get_label(): list(line.get_ydata()) for line in tells.lines}
    assert (points["tested"], points["published"]) == ([200, 5], [3])
    assert {tuple(line.get_ydata()) for line in tells.lines if len(line.get_ydata()) == 2} >= {(106, 106)}
    (known,) = power.lines  # of the published rule nothing is known of how far its specialists stand out
    assert list(known.get_xdata()) == pytest.approx([20, 30])  # in the order of what they tell: 200, then 5
    assert list(known.get_ydata()) == pytest.approx([90, 10])


def test_they_are_found_by_their_schema(tmp_path: Path) -> None:
    assert [path.name for path in save_figures(LANDSCAPE, tmp_path)] == ["landscape.png", "landscape.svg"]
    assert [path.name for path in save_figures(RANKS, tmp_path)] == ["firing-rates.png", "firing-rates.svg"]
    assert save_figures({**LANDSCAPE, "rows": []}, tmp_path) == []
    assert figure_of(RANKS, "firing-rates").axes
    with pytest.raises(DataError, match="is not whole"):
        save_figures({"schema": "codi-int/features-pairs@1", "tested": {}}, tmp_path)
