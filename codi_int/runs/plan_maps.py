"""What a map or a curve will take, before it runs; see `plan`."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch

from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.screens.changes import ArmChange
from codi_int.interventions.screens.contexts import arms_of_all
from codi_int.interventions.screens.curves import default_sizes, run_curve
from codi_int.interventions.screens.judging import measure_arms
from codi_int.interventions.screens.map_cells import FREE, MapCells, MapDone, MapTask
from codi_int.interventions.screens.mapping import check_paths
from codi_int.interventions.screens.ranked_curves import rank_for_curve
from codi_int.interventions.screens.sides import FOLDS, NONE, SelectionPlan, take_sides
from codi_int.interventions.screens.thought_map import MapPlan
from codi_int.model.hooked import CodiModel
from codi_int.progress import Progress, count_up
from codi_int.runs.plan import Probe, RunPlan, clean_at, seconds_of, silently
from codi_int.types import Problem

T = TypeVar("T")
TIMED_CELLS = 4
"""cells of one position that are run for the clock"""
TIMED_LAYERS = 2
"""layers whose cells are run in their contexts for the clock"""


@torch.no_grad()
def plan_map(
    model: CodiModel,
    problems: Sequence[Problem],
    plan: MapPlan,
    selection: SelectionPlan | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> RunPlan:
    """What `run_map` will take, without the confirmation of what it finds.

    Args:
        model: the model.
        problems: all problems of the run.
        plan: which cells, and how.
        selection: how the family is corrected and confirmed.
        seed: of the statistics.
        progress: called with (stage, done, total).

    Raises:
        CodiError: as `run_map`.
    """
    for site in plan.sites:
        model.check_site(site)
    whole = [MapCells(model, problems, plan, path) for path in plan.paths]
    check_paths(whole)
    folds = take_sides(problems, selection).folds is not None
    few = SelectionPlan(confirm=FOLDS if folds else NONE)
    advance = count_up(progress, "plan", sum(len(cells.tasks()) for cells in whole))
    with silently():
        found = [_plan_path(cells, few, seed, advance) for cells in whole if cells.tasks()]
    added = {
        name: sum(getattr(one, name) for one in found)
        for name in ("arms", "rows", "most_rows", "clean_seconds", "row_seconds", "other_seconds", "probe_seconds")
    }
    seconds = added["clean_seconds"] + added["row_seconds"] + added["other_seconds"]
    # one path at a time is held
    return replace(found[0], **added, seconds=round(seconds, 3), memory=max(one.memory for one in found))


def _plan_path(whole: MapCells, selection: SelectionPlan, seed: int, advance: Any) -> RunPlan:
    """The cells by one path; `whole` is of all problems and runs nothing."""
    opened: list[MapCells] = []

    def open_engine(problems: Sequence[Problem]) -> FeatureInterventionEngine:
        opened.append(replace(whole, problems=problems, vectors={}))
        return opened[-1].prepare()

    probe = Probe(whole.problems, whole.sites(), open_engine)
    cells = opened[-1]
    tasks = cells.tasks()
    lines = [task for task in tasks if task.laters != (FREE,)]
    seen: dict[Hashable, ArmChange] = {}

    def run(task: MapTask) -> MapDone:
        done = cells.do(task)
        seen.update((key, one.change) for key, one in done.changes.items())
        return done

    for task in tasks:
        if task in lines:
            rows = len(probe.chosen) * (arms := len(arms_of_all(cells.model, task.cells, task.laters)))
            timed = task if task in lines[:: max(1, len(lines) // TIMED_LAYERS)][:TIMED_LAYERS] else None
        else:
            _, plans = cells.arms_of_pool(probe.engine, task.cells)
            arms, rows = len(plans), sum(len(plan.rows) for plan in plans)
            step = max(1, len(task.cells) // TIMED_CELLS)
            timed = replace(task, cells=task.cells[::step][:TIMED_CELLS])
        probe.arms += arms
        probe.rows += rows
        if timed is not None:
            seconds, done = _timed(partial(run, timed))
            probe.timed_seconds += seconds
            probe.timed_rows += done.counts.suffix_rows
        advance(1)
    sides = take_sides(probe.chosen, selection)
    measured = sum(len(task.cells) * len(task.laters) for task in tasks)
    probe.other += seconds_of(lambda: measure_arms(seen, sides, seed)) * measured / len(seen)
    return probe.plan(more_memory=max(0, whole.pool_bytes() - cells.pool_bytes()))


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds, and what came of it."""
    found: list[T] = []
    return seconds_of(lambda: found.append(work())), found[0]


class _TimedEngine(FeatureInterventionEngine):
    """Knows how long it has scored, and how many rows."""

    scored_seconds = 0.0
    scored_rows = 0

    def score(
        self, context: SiteContext, plans: Sequence[ArmPlan], progress: Progress | None = None
    ) -> list[ArmScores]:
        """As the engine's."""
        seconds, found = _timed(partial(super().score, context, plans))
        self.scored_seconds += seconds
        self.scored_rows += sum(len(plan.rows) for plan in plans)
        return found


def plan_curve(
    engine: FeatureInterventionEngine,
    problems: Sequence[Problem],
    order: str,
    selection: SelectionPlan | None = None,
    sizes: Sequence[int] | None = None,
    draws: int = 10,
    seed: int = 0,
) -> RunPlan:
    """What `run_ranked_curve` will take; rows are those of the curve, seconds those of its ranking, too.

    Args:
        engine: of one site, with its SAE.
        problems: that rank.
        order: `attribution`, `screen` or `frequency`.
        selection: on what the curve is measured.
        sizes: values of n.
        draws: random sets for each n.
        seed: of the random sets.

    Raises:
        CodiError: as `run_ranked_curve`.
    """
    sides = take_sides(problems, selection)
    (site,) = engine.sites
    timed = _TimedEngine(engine.model, {site: engine.saes[site]}, memory_budget=engine.memory_budget)
    with silently():
        # where others measure, the rows are theirs
        probe = Probe(problems if sides.confirming is None else sides.confirming, (site,), clean_at(timed, site))
        ranked, ranking = _timed(lambda: rank_for_curve(timed, probe.chosen, order, seed))
        scored, timed.scored_seconds, timed.scored_rows = timed.scored_seconds, 0.0, 0
        names: dict[str, Any] = {"selection": SelectionPlan(confirm=NONE, bound=sides.plan.bound)}
        whole, _ = _timed(
            lambda: run_curve(timed, probe.chosen, ranking, order=order, sizes=sizes, draws=draws, seed=seed, **names)
        )
    probe.rows, probe.timed_rows, probe.timed_seconds = timed.scored_rows, timed.scored_rows, timed.scored_seconds
    # more problems have more features that fire, and with them more sizes
    n_sizes = len(sizes or default_sizes(engine.saes[site].d_sae))
    probe.arms = n_sizes * (1 + draws)
    # gradients and latents are of each problem; of a screen the rows are
    growing = ranked if order != "screen" else scored
    rankers = len(problems) / len(probe.chosen)
    probe.other = growing * rankers + (ranked - growing) + max(0.0, whole - timed.scored_seconds)
    if sides.confirming is not None:
        probe.clean *= 1 + len(problems) / len(probe.problems)
    return probe.plan()
