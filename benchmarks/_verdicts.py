"""The screen's own path from flips to verdicts, on flips whose truth is known: `judge`, with all that it calls."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import codi_int as ci
from codi_int.data.problems import Problems
from codi_int.interventions.evidence.conclusions import clopper_pearson_upper
from codi_int.interventions.evidence.measure import ArmChange
from codi_int.interventions.screens.judging import Again, Judged, judge, measure_arms
from codi_int.interventions.screens.sides import FOLDS, SelectionPlan, Sides, take_sides


@dataclass(frozen=True)
class Flips:
    """What the features of a screen flip, and where each of them acts."""

    accuracy: NDArray[np.float64]
    """-1, 0 or 1. [n, features]"""
    touched: NDArray[np.bool_]
    """whether a feature changes anything. [n, features]"""


def simulate_verdicts(
    flips: Flips, confirm: str, size: float, n_planted: int, draws: int, seed: int
) -> dict[str, object]:
    """Nulls with planted losses, from screen to verdict.

    The sign of every cluster is drawn anew, the same in all features. A planted feature loses `size` of all problems
    besides, among those that it touches.

    Args:
        flips: real ones.
        confirm: `folds`, or `set` for a second sample of as many problems.
        size: loss of the planted features; 0 for none.
        n_planted: how many of these.
        draws: screens.
        seed: of all.
    """
    generator, sides = np.random.default_rng(seed), _sides(confirm)
    # a loss needs room
    room = np.flatnonzero(flips.touched.sum(0) >= 100)
    tally = np.zeros((draws, 6))
    for draw in range(draws):
        planted = np.sort(generator.choice(room, n_planted if size else 0, replace=False))
        first, second = (_sample(flips, sides, planted, size, generator) for _ in range(2))

        def again(keys: Sequence[Any], second: Sequence[ArmChange] = second) -> Again:
            return Again({key: second[key] for key in keys}, 0)

        measured = measure_arms(dict(enumerate(first)), sides)
        found = judge(list(measured.values()), sides, again)
        tally[draw] = _count(found, np.isin(np.arange(len(first)), planted))
    shares, errors = tally.mean(0), tally.std(0, ddof=1) / np.sqrt(draws)
    names = ("false_selected", "any_false_changed", "true_selected", "true_changed", "true_called_equivalent")
    row: dict[str, object] = {"confirmed on": confirm, "planted": size, "draws": draws}
    for name, share, error in zip(names, shares, errors, strict=False):
        # where nothing is planted there is nothing true to be found
        row[name] = "" if not size and name.startswith("true") else _with_error(share, error, draws)
    return {**row, "null_equivalent": float(shares[5])}


def _with_error(share: float, error: float, draws: int) -> str:
    # what no draw has shown may happen all the same
    return f"{share:.3f} ± {error:.3f}" if share else f"0 (below {clopper_pearson_upper(0, draws):.3f})"


def _sides(confirm: str) -> Sides:
    problems = ci.load_problems("stories:validation")
    sides = take_sides(problems, SelectionPlan(confirm=FOLDS))
    if confirm == FOLDS:
        return sides
    # the second sample is of the same clusters, with signs and losses of its own
    return replace(sides, folds=None, confirming=Problems(tuple(problems), "a second sample"))


def _sample(
    flips: Flips, sides: Sides, planted: NDArray[np.int64], size: float, generator: np.random.Generator
) -> list[ArmChange]:
    """Every feature's changes in one sample."""
    codes = sides.groups.codes
    accuracy = flips.accuracy * generator.choice((-1.0, 1.0), sides.groups.sizes.size)[codes][:, None]
    for i in planted:
        reach = flips.touched[:, i]
        lost = reach & (generator.random(reach.size) < size * reach.size / reach.sum())
        accuracy[lost & (accuracy[:, i] == 0), i] = -1.0
    nothing = np.zeros(codes.size)
    return [
        ArmChange(column, nothing, touched=touched, answer=column != 0, clusters=codes)
        for column, touched in zip(accuracy.T, flips.touched.T, strict=True)
    ]


def _count(found: Judged, true: NDArray[np.bool_]) -> tuple[float, ...]:
    words = np.array([effect.conclusion for effect in found.effects])
    selected, changed, equivalent = np.array(found.selected), words == "changed", words == "equivalent"
    return (
        float((selected & ~true).sum() / max(selected.sum(), 1)),
        float((changed & ~true).any()),
        float(selected[true].mean()) if true.any() else 0.0,
        float(changed[true].mean()) if true.any() else 0.0,
        float(equivalent[true].mean()) if true.any() else 0.0,
        float(equivalent[~true].mean()),
    )
