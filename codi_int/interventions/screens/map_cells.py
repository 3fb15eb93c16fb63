"""Cells of a map by one path on one set of problems: the pieces that a worker does, and what comes of them.

One clean pass gives the residuals of all cells and their means. A cell then costs one suffix pass over all problems: a
replaced residual touches every problem, so nothing can be skipped; the layers of one position share their batches.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.interventions.edits.combined import AtSites, reach_order
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.engine import FeatureInterventionEngine, count_work
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.screens.changes import arm_change, n_correct
from codi_int.interventions.screens.contexts import ContextChange, ContextRun, line_of
from codi_int.interventions.screens.sides import SelectionPlan, take_sides
from codi_int.interventions.screens.thought_map import MapPlan
from codi_int.model.hooked import CodiModel
from codi_int.model.resume import SiteChange, make_resume_point
from codi_int.progress import Progress
from codi_int.types import Problem, RunCounts, Site

POOL_BYTES = 2**28
"""of the changes of cells that run together"""
FREE = "free"
Vectors = dict[Site, Float[Tensor, " d_model"]]


@dataclass(frozen=True)
class MapTask:
    """Cells that run together."""

    path: str
    """by which changes go on"""
    cells: tuple[Site, ...]
    """of one position where others are left free, for they share batches; else of one layer, for they share arms"""
    laters: tuple[str, ...] = (FREE,)
    """what the other positions do"""
    again: bool = False
    """whether on the problems that confirm"""

    @property
    def name(self) -> str:
        """For the log."""
        cells = f"{self.cells[0]}" if len(self.cells) == 1 else f"{self.cells[0]} to {self.cells[-1]}"
        return f"{'confirm ' if self.again else ''}{cells} {self.path} {'+'.join(self.laters)}"


@dataclass(frozen=True)
class MapDone:
    """What came of them."""

    changes: Mapping[tuple[str, Site], ContextChange]
    """of each cell in each condition, with the right answers of the arm that it is measured against"""
    counts: RunCounts
    """the work"""
    n_correct: int
    """right answers of the undisturbed model"""


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


@dataclass
class MapCells:
    """Runs cells of one path."""

    model: CodiModel
    """of which model"""
    problems: Sequence[Problem]
    """on which problems"""
    plan: MapPlan
    """all cells, and how"""
    path: str
    """by which changes go on"""
    method: str = "suffix"
    """of the engine"""
    vectors: Vectors = field(default_factory=dict)
    """what replaces each site: known already where cells are run again on other problems, for the edit is the same"""
    progress: Progress | None = None
    """of the clean pass"""
    _engine: FeatureInterventionEngine | None = None

    def __post_init__(self) -> None:
        thoughts = self.model.n_thoughts
        self.replaced = {site: self._with_path(self.plan.replaced_with(site, thoughts)) for site in self.plan.sites}

    def tasks(self, again: bool = False) -> list[MapTask]:
        """All cells with a path, in the groups that share something."""
        tasks = []
        if FREE in self.plan.laters:
            tasks += [MapTask(self.path, tuple(cells), again=again) for cells in self._pools()]
        laters = tuple(later for later in self.plan.laters if later != FREE)
        if laters:
            lines: dict[tuple[int | None, str], list[Site]] = {}
            for cell in self._cells:
                lines.setdefault((cell.layer, cell.component), []).append(cell)
            tasks += [MapTask(self.path, tuple(cells), laters, again) for cells in lines.values()]
        return tasks

    def do(self, task: MapTask) -> MapDone:
        """Run the cells of a task."""
        engine = self.prepare()
        if task.laters == (FREE,):
            return self._run_pool(engine, task.cells)
        sites = list(dict.fromkeys(site for cell in task.cells for site in line_of(self.model, cell)))
        run = ContextRun(engine, self.problems, {site: self.vectors[site] for site in sites})
        found = {later: run.run(task.cells, later, lambda count: None) for later in task.laters}
        changes = {(later, cell): one for later, of in found.items() for cell, one in of.items()}
        return MapDone(changes, run.counts, run.n_correct)

    def sites(self) -> tuple[Site, ...]:
        """All that any arm changes."""
        conditions = any(later != FREE for later in self.plan.laters)
        lines = [site for cell in self._cells for site in line_of(self.model, cell)] if conditions else []
        return tuple(dict.fromkeys([*(site for group in self.replaced.values() for site in group), *lines]))

    def release(self) -> None:
        """Give the clean pass back: with one for each path memory would be needed three times."""
        self._engine = None

    @property
    def _cells(self) -> list[Site]:
        return [cell for cell, group in self.replaced.items() if group]

    def prepare(self) -> FeatureInterventionEngine:
        """The engine with its clean pass, and every vector."""
        if self._engine is None:
            sites = self.sites()
            self._engine = FeatureInterventionEngine(
                self.model,
                dict.fromkeys(sites),
                propagate=self.path,
                memory_budget=self.plan.memory_budget,
                method=self.method,
            )
            clean = self._engine.site_context(self.problems, sites[0], self.progress).clean
            for site in sites:
                # float32 whatever the model's dtype: a mean over a thousand rows loses digits in bfloat16
                mean = clean.activations[site].float().mean(0)  # [d_model]
                self.vectors.setdefault(site, mean if self.plan.kind == "mean" else torch.zeros_like(mean))
        return self._engine

    def _with_path(self, sites: Iterable[Site]) -> tuple[Site, ...]:
        """Those of the sites from which a change can reach the answer."""
        return tuple(site for site in sites if _has_path(self.model, site, self.path))

    def _pools(self) -> list[list[Site]]:
        """The cells with a path, in groups that share batches: layers of one position, as many as memory is for."""
        by_place: dict[tuple[int, str], list[Site]] = {}
        for site in self._cells:
            # arms that start at one position share the prefix, and so a batch
            by_place.setdefault((self.replaced[site][0].position, site.component), []).append(site)
        pools = []
        for cells in by_place.values():
            # k cells hold k changes at up to k places each, so memory grows with the square of a pool's size
            size = max(1, math.isqrt(POOL_BYTES // self._bytes_of(cells)))
            pools += [cells[i : i + size] for i in range(0, len(cells), size)]
        return pools

    def _bytes_of(self, cells: Sequence[Site]) -> int:
        """Of a change at each place that a cell replaces: every cell of a pool holds one, mostly of 0, for each."""
        return 8 * self.model.d_model * max(len(self.replaced[site]) for site in cells) * len(self.problems)

    def pool_bytes(self) -> int:
        """Bytes that the changes of the largest pool take."""
        return max((len(cells) ** 2 * self._bytes_of(cells) for cells in self._pools()), default=0)

    @torch.no_grad()
    def _run_pool(self, engine: FeatureInterventionEngine, cells: Sequence[Site]) -> MapDone:
        """Run cells together from the lowest of their layers on."""
        context, plans = self.arms_of_pool(engine, cells)
        scores, right = engine.score(context, plans), n_correct(context.clean)
        changes = {
            (FREE, cell): ContextChange(arm_change(context.clean, plan, score), right)
            for cell, plan, score in zip(cells, plans, scores, strict=True)
        }
        return MapDone(changes, count_work(context, plans, scores), right)

    @torch.no_grad()
    def arms_of_pool(
        self, engine: FeatureInterventionEngine, cells: Sequence[Site]
    ) -> tuple[SiteContext, list[ArmPlan]]:
        """The arms of cells that run together, and where they begin."""
        edits = [AtSites({one: self._replacement(one) for one in self.replaced[cell]}) for cell in cells]
        # one batch runs from one resume point: the lowest layer that any of the cells changes
        anchor = min((edit.sites[0] for edit in edits), key=reach_order)
        context, plans = engine.site_context(self.problems, anchor), []
        for edit in edits:
            first = edit.sites[0]
            plans.append(_begin_at(engine.plan(engine.site_context(self.problems, first), edit), anchor))
        return context, plans

    def _replacement(self, site: Site) -> ReplaceWithConstant:
        return ReplaceWithConstant(self.vectors[site], f"{self.plan.kind} in place of {site}")


def map_runner(
    model: CodiModel, problems: Sequence[Problem], plan: MapPlan, selection: SelectionPlan | None = None
) -> Callable[[MapTask], MapDone]:
    """What does a `MapTask`, in a worker that has loaded what the map was given; one clean pass is held at a time."""
    held: dict[tuple[str, bool], MapCells] = {}
    vectors: Vectors = {}

    def cells(path: str, again: bool) -> MapCells:
        if (path, again) not in held:
            if again and not vectors:
                # the means are those of the problems that select
                cells(path, False).prepare()
            held.clear()
            confirming = take_sides(problems, selection).confirming if again else None
            wanted = problems if confirming is None else confirming
            held[path, again] = MapCells(model, wanted, plan, path, vectors=vectors)
        return held[path, again]

    return lambda task: cells(task.path, task.again).do(task)


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
