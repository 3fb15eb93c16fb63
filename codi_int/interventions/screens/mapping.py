"""Running the map of a chain of thought: every cell replaced by the mean over the problems, or by zero.

One clean pass gives the residuals of all cells and their means. A cell then costs one suffix pass over all problems: a
replaced residual touches every problem, so nothing can be skipped; the layers of one position share their batches.
"""

import math
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.data.problems import ProblemsLike, as_problems, name_of_problems
from codi_int.errors import ConfigError
from codi_int.interventions.edits.combined import AtSites, reach_order
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.engine import FeatureInterventionEngine, count_work
from codi_int.interventions.engine.environment import describe_environment
from codi_int.interventions.screens.changes import NO_WORK, ArmChange, add_counts, arm_change, n_correct
from codi_int.interventions.screens.confirmed import Confirmation, Selection
from codi_int.interventions.screens.contexts import ContextChange, ContextRun, line_of
from codi_int.interventions.screens.groups import run_groups
from codi_int.interventions.screens.judging import Again, judge, measure_arms
from codi_int.interventions.screens.sides import SelectionPlan, Sides, take_sides
from codi_int.interventions.screens.split_paths import departure_by_path, split_paths
from codi_int.interventions.screens.thought_map import NO_PATH, PATHS, SPLIT, MapCell, MapPlan, ThoughtMap
from codi_int.model.hooked import CodiModel
from codi_int.model.resume import SiteChange, make_resume_point
from codi_int.model.vocabulary import vocabulary_notes
from codi_int.notes import give
from codi_int.progress import Progress, count_up
from codi_int.records import ArmEffect
from codi_int.types import Problem, RunCounts, Site

POOL_BYTES = 2**28
"""of the changes of cells that run together"""


@dataclass(frozen=True, eq=False)
class ReplaceWithConstant:
    """Replace every problem's activation with one vector."""

    vector: Float[Tensor, " d_model"]
    """what every problem gets"""
    label: str
    """the edit in words"""

    def edit_residual(self, activations: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_model"]:
        """The vector in every row."""
        return self.vector.to(activations).expand_as(activations)


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
    runs = _plan_runs(model, problems, plan, progress, method)
    notes = vocabulary_notes(model, problems)
    give(notes)
    each = len(plan.sites) * len(plan.laters)
    for i, run in enumerate(runs):
        run.go(before=i * each, total=len(runs) * each)
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
        notes=(*notes, *sides.notes),
        selection=selected,
        split_selection=split_selected,
    )


def _plan_runs(
    model: CodiModel, problems: Sequence[Problem], plan: MapPlan, progress: Progress | None, method: str
) -> "list[_Run]":
    """A run for each path; ConfigError where no cell has any path to the answer."""
    runs = [
        _Run(
            model,
            problems,
            plan=plan,
            path=path,
            progress=progress,
            method=method,
        )
        for path in plan.paths
    ]
    if not any(site for run in runs for site in run.replaced.values()):
        raise ConfigError(
            f"Nothing later reads any of the {len(plan.sites)} cells with propagate={plan.propagate!r}.",
            f"Name an earlier position or layer (the last position is {model.n_thoughts}), or propagate='both'.",
        )
    return runs


class _Run:
    """All cells by one path."""

    def __init__(
        self,
        model: CodiModel,
        problems: Sequence[Problem],
        plan: MapPlan,
        path: str,
        progress: Progress | None,
        method: str,
    ) -> None:
        self._model, self._problems, self._plan, self._progress = model, problems, plan, progress
        self.laters = plan.laters
        self._method = method
        self.path, self.n_correct, self.counts = path, 0, NO_WORK
        self.changes: dict[Site, ArmChange] = {}
        self.vectors: dict[Site, Float[Tensor, " d_model"]] = {}
        self.replaced = {site: self._with_path(plan.replaced_with(site, model.n_thoughts)) for site in plan.sites}
        self.contexts: dict[tuple[str, Site], ContextChange] = {}

    @property
    def measured(self) -> dict[Hashable, ArmChange]:
        """Every cell in every condition, as the family knows it."""
        found: dict[Hashable, ArmChange] = {(self.path, "free", site): one for site, one in self.changes.items()}
        return found | {(self.path, *key): one.change for key, one in self.contexts.items()}

    def go(self, before: int, total: int) -> None:
        """Run the cells; `before` of `total` are done already."""
        cells = [cell for cell, group in self.replaced.items() if group]
        elsewhere = [later for later in self._plan.laters if later != "free"]
        lines = [site for cell in cells for site in line_of(self._model, cell)] if elsewhere else []
        sites = list(dict.fromkeys([*(site for group in self.replaced.values() for site in group), *lines]))
        if sites:
            # made here and dropped at the end: with a clean pass for each path memory would be needed three times
            engine = FeatureInterventionEngine(
                self._model,
                dict.fromkeys(sites),
                propagate=self.path,
                memory_budget=self._plan.memory_budget,
                method=self._method,
            )
            replacements = self._replacements(engine, sites)
        without_path = sum(not group for group in self.replaced.values())
        advance = count_up(self._progress, "map", total)
        advance(before + without_path * len(self._plan.laters))
        if "free" in self._plan.laters:
            self.counts = run_groups(
                self._pools(),
                score=lambda pool: self._run_pool(engine, pool, replacements),
                advance=advance,
            )
        if cells and elsewhere:
            vectors = {site: self.vectors[site] for site in lines}
            run = ContextRun(engine, self._problems, vectors)
            for later in elsewhere:
                found = run.run(cells, later, advance)
                self.contexts |= {(later, cell): one for cell, one in found.items()}
            self.counts = add_counts(self.counts, run.counts)

    def _with_path(self, sites: Iterable[Site]) -> tuple[Site, ...]:
        """Those of the sites from which a change can reach the answer."""
        return tuple(site for site in sites if _has_path(self._model, site, self.path))

    def _replacements(
        self, engine: FeatureInterventionEngine, sites: Sequence[Site]
    ) -> dict[Site, ReplaceWithConstant]:
        """The edit of each site; they differ in the vector."""
        clean = engine.site_context(self._problems, sites[0], self._progress).clean
        self.n_correct = n_correct(clean)
        # float32 whatever the model's dtype: a mean over a thousand rows loses digits in bfloat16
        kind = self._plan.kind
        for site in sites:
            mean = clean.activations[site].float().mean(0)  # [d_model]
            # known already where the cells of other problems are run again: the edit is to be the same
            self.vectors.setdefault(site, mean if kind == "mean" else torch.zeros_like(mean))
        return {site: ReplaceWithConstant(self.vectors[site], f"{kind} in place of {site}") for site in sites}

    def again(
        self, problems: Sequence[Problem], sites: Sequence[Site], later: str, progress: Progress | None
    ) -> "_Run":
        """Some cells in one condition on other problems, with the vectors of these."""
        other = _Run(
            self._model,
            problems,
            plan=replace(self._plan, sites=tuple(sites), later=later),
            path=self.path,
            progress=None if progress is None else lambda _, done, total: progress("confirm", done, total),
            method=self._method,
        )
        other.vectors = self.vectors
        other.go(before=0, total=len(sites))
        return other

    def _pools(self) -> list[list[Site]]:
        """The cells with a path, in groups that share batches: layers of one position, as many as memory is for."""
        by_place: dict[tuple[int, str], list[Site]] = {}
        for site, group in self.replaced.items():
            if group:
                # arms that start at one position share the prefix, and so a batch
                by_place.setdefault((group[0].position, site.component), []).append(site)
        pools = []
        for cells in by_place.values():
            # every cell of a pool holds a change, mostly of 0, for each place that any of them replaces
            row = 8 * self._model.d_model * max(len(self.replaced[site]) for site in cells) * len(self._problems)
            # k cells hold k changes at up to k places each, so memory grows with the square of a pool's size
            size = max(1, math.isqrt(POOL_BYTES // row))
            pools += [cells[i : i + size] for i in range(0, len(cells), size)]
        return pools

    @torch.no_grad()
    def _run_pool(
        self, engine: FeatureInterventionEngine, cells: Sequence[Site], replacements: Mapping[Site, ReplaceWithConstant]
    ) -> RunCounts:
        """Run cells together from the lowest of their layers on."""
        edits = [AtSites({one: replacements[one] for one in self.replaced[cell]}) for cell in cells]
        # one batch runs from one resume point: the lowest layer that any of the cells changes
        anchor = min((edit.sites[0] for edit in edits), key=reach_order)
        context, plans = engine.site_context(self._problems, anchor), []
        for edit in edits:
            first = edit.sites[0]
            plans.append(_begin_at(engine.plan(engine.site_context(self._problems, first), edit), anchor))
        scores = engine.score(context, plans)
        for cell, plan, score in zip(cells, plans, scores, strict=True):
            self.changes[cell] = arm_change(context.clean, plan, score)
        return count_work(context, plans, scores)


def _begin_at(arm: ArmPlan, anchor: Site) -> ArmPlan:
    """The same arm begun at a lower layer, where it adds nothing: arms of one beginning share batches."""
    if arm.site == anchor:
        return arm
    # adding zeros at the anchor is exact: x + 0 is x, bit for bit, but for the sign of a zero
    nothing = SiteChange(anchor, torch.zeros_like(arm.delta))
    return ArmPlan(arm.label, arm.rows, (nothing, *arm.changes), arm.edited)


def _has_path(model: CodiModel, site: Site, path: str) -> bool:
    try:
        make_resume_point(model, site, path)
    except ConfigError:
        return False
    return True


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
                other = run.again(self._sides.confirming, sites, later, self._progress)
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
        n_correct_before=run.n_correct if later == "free" else run.contexts[later, site].n_correct,
    )
