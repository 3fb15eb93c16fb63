"""A curve whose ranking was selected on other problems than those on which it is measured."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from codi_int.data.problems import Problems, name_of_problems
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.screens.curves import AblationCurve, run_curve
from codi_int.interventions.screens.judging import Measured
from codi_int.interventions.screens.rankings import rank_features, strongest
from codi_int.interventions.screens.screen import as_measured, run_screen
from codi_int.interventions.screens.sides import NONE, SelectionPlan, Sides, take_sides
from codi_int.progress import Progress
from codi_int.types import Problem


def run_ranked_curve(
    engine: FeatureInterventionEngine,
    problems: Sequence[Problem],
    order: str,
    selection: SelectionPlan | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **settings: Any,
) -> AblationCurve:
    """Rank the features of the engine's site on some problems and measure the curve on those that confirm.

    A ranking is fitted to its problems: on them the first features look stronger than they are. Where two folds confirm
    each other, the curve is the one of the second fold, ranked by the first, and `exchanged` is the other way round.

    Args:
        engine: model and SAE of one site.
        problems: that rank.
        order: `attribution`, `screen` or `frequency`; see `rank_features`.
        selection: on what the curve is measured, how its points are corrected, and the bound.
        seed: of the random sets and the bootstrap.
        progress: called with (stage, done, total).
        settings: others of `run_curve`.

    Raises:
        CodiError: as `rank_features` and `run_curve`; for problems that would rank and measure at once.
    """
    sides = take_sides(problems, selection)

    def curve(ranking: Sequence[Problem], measuring: Sequence[Problem]) -> AblationCurve:
        started = time.perf_counter()
        ranked, looked_at = _ranked(engine, ranking, order, seed, progress)
        # where others measure, the ranking's own tests have no part in the family; on the same problems they have
        besides = looked_at if sides.confirmed_on is None else ()
        found = run_curve(
            engine,
            measuring,
            ranked,
            order=order,
            seed=seed,
            progress=progress,
            selection=sides.plan,
            ranked_on=ranking,
            besides=besides,
            **{**settings, "data": name_of_problems(measuring)},
        )
        # the ranking is part of what the curve takes
        return replace(found, environment=replace(found.environment, seconds=time.perf_counter() - started))

    if sides.folds is not None:
        first, second = _folds(sides)
        found = curve(first, second)
        found = replace(found, exchanged=curve(second, first))
    else:
        found = curve(problems, problems if sides.confirming is None else sides.confirming)
    return replace(found, notes=(*found.notes, *sides.notes))


def rank_for_curve(
    engine: FeatureInterventionEngine, problems: Sequence[Problem], order: str, seed: int = 0
) -> Sequence[int]:
    """The features in the order in which a curve takes them out; ConfigError for an unknown order."""
    return _ranked(engine, problems, order, seed, None)[0]


def _ranked(
    engine: FeatureInterventionEngine, problems: Sequence[Problem], order: str, seed: int, progress: Progress | None
) -> tuple[Sequence[int], Sequence[Measured]]:
    """The features, and what was tested to rank them."""
    if order != "screen":
        return rank_features(engine, problems, order, seed, progress=progress), ()
    plan = SelectionPlan(confirm=NONE)
    rows = run_screen(engine, problems, seed=seed, progress=progress, selection=plan).rows
    return strongest(rows), as_measured(rows)


def _folds(sides: Sides) -> tuple[Problems, Problems]:
    assert sides.folds is not None
    name = name_of_problems(sides.problems)
    parts = ([sides.problems[i] for i in np.flatnonzero(sides.folds == fold).tolist()] for fold in (0, 1))
    first, second = (Problems(part, f"{name}, fold {fold} of 2") for fold, part in enumerate(parts, 1))
    return first, second
