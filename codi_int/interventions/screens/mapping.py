"""Running the map of a chain of thought: every cell replaced by the mean over the problems, or by zero.

The cells are units of work (`map_cells`), which workers may do; here they are judged as one family and confirmed.
"""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from codi_int.data.problems import ProblemsLike, as_problems, name_of_problems
from codi_int.errors import ConfigError
from codi_int.interventions.engine.environment import describe_environment
from codi_int.interventions.screens.changes import NO_WORK, ArmChange, add_counts
from codi_int.interventions.screens.confirmed import Confirmation, Selection
from codi_int.interventions.screens.contexts import last_position_note
from codi_int.interventions.screens.judging import Again, judge, measure_arms
from codi_int.interventions.screens.map_cells import FREE, MapCells, MapDone
from codi_int.interventions.screens.sides import SelectionPlan, Sides, take_sides
from codi_int.interventions.screens.split_paths import departure_by_path, split_paths
from codi_int.interventions.screens.thought_map import NO_PATH, PATHS, SPLIT, MapCell, MapPlan, ThoughtMap
from codi_int.model.hooked import CodiModel
from codi_int.model.vocabulary import vocabulary_notes
from codi_int.notes import give
from codi_int.progress import Progress, count_up
from codi_int.records import ArmEffect
from codi_int.types import Problem, Site
from codi_int.units import Unit, UnitRunner, run_here


@dataclass(frozen=True)
class MapCheckpoint:
    """What an earlier, interrupted run of the same map has finished, and by whom this one is done."""

    finished: Mapping[str, MapDone] = field(default_factory=dict)
    """by the name of the unit; taken as it is"""
    keep: Callable[[str, MapDone], None] | None = None
    """called with every unit that is finished"""
    runner: UnitRunner | None = None
    """has units done elsewhere, by workers whose tasks `map_runner` does; None for here"""


def whole_grid(model: CodiModel, thoughts: bool = True, component: str = "resid_post") -> tuple[Site, ...]:
    """Every layer's component at every position, and the projected thought that each position makes."""
    positions = range(model.n_thoughts + 1)
    grid = tuple(Site(layer, p, component) for layer in range(model.n_layers) for p in positions)
    return grid + (tuple(Site(None, p, "thought") for p in positions) if thoughts else ())


def run_map(
    model: CodiModel,
    problems: ProblemsLike,
    plan: MapPlan | None = None,
    seed: int = 0,
    data: str | None = None,
    progress: Progress | None = None,
    method: str = "suffix",
    selection: SelectionPlan | None = None,
    checkpoint: MapCheckpoint | None = None,
) -> ThoughtMap:
    """Replace the residual at every cell, one cell at a time, and measure what becomes of the answers.

    Cells that are found are run again, with the same vectors in place, on problems that selected nothing.

    Args:
        model: the model.
        problems: on which problems; the means are taken over them.
        plan: which cells and how; default every cell of the model, by the mean, one position at a time.
        seed: of the bootstrap.
        data: what to call the problems.
        progress: called with (stage, done, total); stage `map` counts cells.
        method: of the engine: `suffix`, or `naive` for the whole model again for every cell.
        selection: how the family of all cells is corrected, and on what it is confirmed.
        checkpoint: of an earlier, interrupted map with the same settings; and by whom this one is done.

    Raises:
        SiteError: for a cell that the model does not have.
        ConfigError: where no cell has a path to the answer, or problems would select and confirm at once.
        DataError: without problems.
    """
    started = time.perf_counter()
    problems = as_problems(problems)
    plan = plan or MapPlan(whole_grid(model))
    for site in plan.sites:
        model.check_site(site)
    sides = take_sides(problems, selection)
    every = [MapCells(model, problems, plan, path, method, progress=progress) for path in plan.paths]
    runs = _plan_runs(every, checkpoint or MapCheckpoint())
    notes = vocabulary_notes(model, problems)
    give(notes)
    advance = count_up(progress, "map", len(runs) * len(plan.sites) * len(plan.laters))
    for run in runs:
        run.go(advance)
    # memory holds the clean pass of one engine at a time, so cells are confirmed when all of them are measured
    again = _Again(runs, sides, progress)
    cells, selected = _judged(runs, sides, again.cells, seed)
    splits, split_selected = (
        split_paths(plan.sites, {run.path: run.changes for run in runs}, sides, again.departures, seed)
        if plan.propagate == SPLIT
        else ((), None)
    )
    return ThoughtMap(
        kind=plan.kind,
        cumulative=plan.cumulative,
        direction=plan.direction if plan.cumulative else None,
        propagate=plan.propagate,
        model=model.name,
        data=name_of_problems(problems, data),
        n_problems=len(problems),
        # the same for every path that ran; a path that reaches no cell ran nothing and says 0
        n_correct=max(run.n_correct for run in runs),
        seed=seed,
        cells=tuple(cell for cell in cells if cell.later == plan.laters[0]),
        contexts=tuple(cell for cell in cells if cell.later != plan.laters[0]),
        later=plan.later,
        splits=splits,
        counts=add_counts(*(run.counts for run in runs)),
        environment=describe_environment(model, (), problems, time.perf_counter() - started),
        notes=(*notes, *sides.notes, *last_position_note(model, plan.sites, plan.laters)),
        selection=selected,
        split_selection=split_selected,
    )


def _plan_runs(every: Sequence[MapCells], checkpoint: MapCheckpoint) -> "list[_Run]":
    """A run for each path; ConfigError where no cell has any path to the answer."""
    check_paths(every)
    return [_Run(cells, checkpoint) for cells in every]


def check_paths(every: Sequence[MapCells]) -> None:
    """ConfigError where no cell has any path to the answer."""
    plan = every[0].plan
    if not any(group for cells in every for group in cells.replaced.values()):
        raise ConfigError(
            f"Nothing later reads any of the {len(plan.sites)} cells with propagate={plan.propagate!r}.",
            f"Name an earlier position or layer (the last is {every[0].model.n_thoughts}), or propagate='both'.",
        )


class _Run:
    """All cells by one path."""

    def __init__(self, cells: MapCells, checkpoint: MapCheckpoint) -> None:
        self._cells, self._checkpoint = cells, checkpoint
        self.laters, self.path, self.replaced = cells.plan.laters, cells.path, cells.replaced
        self.counts, self.n_correct = NO_WORK, 0
        # every cell in every condition, as the family knows it
        self.measured: dict[Hashable, ArmChange] = {}
        # right answers of the arm that a cell is measured against
        self.before: dict[tuple[str, Site], int] = {}

    @property
    def changes(self) -> dict[Site, ArmChange]:
        """Of the cells where others are left free."""
        return {site: self.measured[self.path, FREE, site] for later, site in self.before if later == FREE}

    def go(self, advance: Callable[[int], None], again: bool = False) -> None:
        """Run the cells, here or on workers; what the checkpoint has finished is taken as it is."""
        advance(sum(not group for group in self.replaced.values()) * len(self.laters))
        waiting = []
        for task in self._cells.tasks(again):
            if (done := self._checkpoint.finished.get(task.name)) is None:
                waiting.append(Unit(task.name, task))
            else:
                self._take(done, advance)

        def keep(unit: Unit, done: MapDone) -> None:
            if self._checkpoint.keep is not None:
                self._checkpoint.keep(unit.name, done)
            self._take(done, advance)

        (self._checkpoint.runner or run_here(self._cells.do))(waiting, keep)
        self._cells.release()

    def again(
        self, problems: Sequence[Problem], sites: Sequence[Site], later: str, advance: Callable[[int], None]
    ) -> "_Run":
        """Some cells in one condition on other problems, with the vectors of these."""
        cells = self._cells
        if not cells.vectors and self._checkpoint.runner is None:
            cells.prepare()  # an earlier run has finished all of them
            cells.release()
        plan = replace(cells.plan, sites=tuple(sites), later=later)
        other = _Run(replace(cells, problems=problems, plan=plan), self._checkpoint)
        other.go(advance, again=True)
        return other

    def _take(self, done: MapDone, advance: Callable[[int], None]) -> None:
        self.counts, self.n_correct = add_counts(self.counts, done.counts), done.n_correct
        for (later, site), one in done.changes.items():
            self.measured[self.path, later, site] = one.change
            self.before[later, site] = one.n_correct
        advance(len(done.changes))


class _Again:
    """Cells on the problems that confirm, each run once: findings of a cell and of a departure may share some."""

    def __init__(self, runs: Sequence[_Run], sides: Sides, progress: Progress | None) -> None:
        self._runs, self._sides, self._progress = runs, sides, progress
        self._changes: dict[Hashable, ArmChange] = {}
        self._n_correct = 0

    def cells(self, keys: Sequence[tuple[str, str, Site]]) -> Again:
        """Cells by their paths and conditions."""
        self._run(keys)
        return Again({key: self._changes[key] for key in keys}, self._n_correct)

    def departures(self, keys: Sequence[Site]) -> Again:
        """What the two paths of some sites do not add up to."""
        self._run([(path, "free", site) for site in keys for path in PATHS])
        changes: dict[Hashable, ArmChange] = {
            site: departure_by_path({p: self._changes[p, "free", site] for p in PATHS}) for site in keys
        }
        return Again(changes, self._n_correct)

    def _run(self, keys: Sequence[tuple[str, str, Site]]) -> None:
        assert self._sides.confirming is not None
        for run in self._runs:
            wanted: dict[str, list[Site]] = {}
            for path, later, site in keys:
                if path == run.path and (path, later, site) not in self._changes:
                    wanted.setdefault(later, []).append(site)
            for later, sites in wanted.items():
                advance = count_up(self._progress, "confirm", len(sites))
                other = run.again(self._sides.confirming, sites, later, advance)
                self._changes |= other.measured
                self._n_correct = other.n_correct


def _judged(
    runs: Sequence[_Run], sides: Sides, again: Callable[[Sequence[Any]], Again], seed: int
) -> tuple[tuple[MapCell, ...], Selection]:
    """All cells, corrected over those that have a path, of all paths together, and confirmed."""
    changes: dict[Hashable, ArmChange] = {key: change for run in runs for key, change in run.measured.items()}
    measured = measure_arms(changes, sides, seed)
    judged = judge(list(measured.values()), sides, again, seed)
    columns = (judged.effects, judged.selected, judged.selected_logprob, judged.confirmations)
    found = dict(zip(measured, zip(*columns, strict=True), strict=True))
    cells = [
        _cell(site, run, later, found.get((run.path, later, site)))
        for run in runs
        for later in run.laters
        for site in run.replaced
    ]
    return tuple(cells), judged.selection


def _cell(
    site: Site, run: _Run, later: str, found: tuple[ArmEffect, bool, bool, Confirmation | None] | None
) -> MapCell:
    if found is None:
        return MapCell(site=site, propagate=run.path, n_replaced=0, note=NO_PATH, later=later)
    effect, selected, selected_logprob, confirmation = found
    return MapCell(
        site=site,
        propagate=run.path,
        n_replaced=len(run.replaced[site]),
        effect=effect,
        selected=selected,
        selected_logprob=selected_logprob,
        confirmation=confirmation,
        later=later,
        n_correct_before=run.before[later, site],
    )
