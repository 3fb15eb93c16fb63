"""Running the map of a chain of thought: every cell replaced by the mean over the problems, or by zero.

One clean pass gives the residuals of all cells and their means. A cell then costs one suffix pass over all problems: a
replaced residual touches every problem, so nothing can be skipped; the layers of one position share their batches.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.data.problems import ProblemsLike, as_problems, name_of_problems
from codi_int.errors import ConfigError
from codi_int.interventions.edits.combined import AtSites, reach_order
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.engine import FeatureInterventionEngine, count_work
from codi_int.interventions.engine.environment import describe_environment
from codi_int.interventions.screens.additivity import adjust_all, measure_interaction
from codi_int.interventions.screens.changes import (
    NO_WORK,
    ArmChange,
    add_counts,
    adjust_effects,
    arm_change,
    measure_change,
    n_correct,
)
from codi_int.interventions.screens.groups import run_groups
from codi_int.interventions.screens.thought_map import NO_PATH, PATHS, SPLIT, MapCell, MapPlan, PathSplit, ThoughtMap
from codi_int.model.hooked import CodiModel
from codi_int.model.resume import SiteChange, make_resume_point
from codi_int.model.vocabulary import vocabulary_notes
from codi_int.notes import give
from codi_int.progress import Progress, count_up
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


def whole_grid(model: CodiModel, thoughts: bool = True) -> tuple[Site, ...]:
    """Every layer at every position, and the projected thought that each position makes."""
    positions = range(model.n_thoughts + 1)
    grid = tuple(Site(layer, p) for layer in range(model.n_layers) for p in positions)
    return grid + (tuple(Site(None, p, "thought") for p in positions) if thoughts else ())


def run_map(
    model: CodiModel,
    problems: ProblemsLike,
    plan: MapPlan | None = None,
    seed: int = 0,
    data: str | None = None,
    progress: Progress | None = None,
    method: str = "suffix",
) -> ThoughtMap:
    """Replace the residual at every cell, one cell at a time, and measure what becomes of the answers.

    Args:
        model: the model.
        problems: on which problems; the means are taken over them.
        plan: which cells and how; default every cell of the model, by the mean, one position at a time.
        seed: of the bootstrap.
        data: what to call the problems.
        progress: called with (stage, done, total); stage `map` counts cells.
        method: of the engine: `suffix`, or `naive` for the whole model again for every cell.

    Raises:
        SiteError: for a cell that the model does not have.
        ConfigError: where no cell has a path to the answer.
        DataError: without problems.
    """
    started = time.perf_counter()
    problems = as_problems(problems)
    plan = plan or MapPlan(whole_grid(model))
    for site in plan.sites:
        model.check_site(site)
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
    notes = vocabulary_notes(model, problems)
    give(notes)
    for i, run in enumerate(runs):
        run.go(before=i * len(plan.sites), total=len(runs) * len(plan.sites))
    cells = _adjusted([_cell(site, run, seed) for run in runs for site in plan.sites])
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
        cells=cells,
        splits=_splits(plan.sites, {run.path: run.changes for run in runs}, seed) if plan.propagate == SPLIT else (),
        counts=add_counts(*(run.counts for run in runs)),
        environment=describe_environment(model, (), problems, time.perf_counter() - started),
        notes=notes,
    )


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
        self._method = method
        self.path, self.n_correct, self.counts = path, 0, NO_WORK
        self.changes: dict[Site, ArmChange] = {}
        self.replaced = {site: self._with_path(plan.replaced_with(site, model.n_thoughts)) for site in plan.sites}

    def go(self, before: int, total: int) -> None:
        """Run the cells; `before` of `total` are done already."""
        sites = list(dict.fromkeys(site for group in self.replaced.values() for site in group))
        if sites:
            # made here and dropped at the end: with a clean pass for each path memory would be needed three times
            engine = FeatureInterventionEngine(
                self._model, dict.fromkeys(sites), propagate=self.path, method=self._method
            )
            replacements = self._replacements(engine, sites)
        without_path = sum(not group for group in self.replaced.values())
        advance = count_up(self._progress, "map", total)
        advance(before + without_path)
        self.counts = run_groups(
            self._pools(),
            score=lambda pool: self._run_pool(engine, pool, replacements),
            advance=advance,
        )

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
        means = {site: clean.activations[site].float().mean(0) for site in sites}  # [d_model] each
        kind = self._plan.kind
        return {
            site: ReplaceWithConstant(mean if kind == "mean" else torch.zeros_like(mean), f"{kind} in place of {site}")
            for site, mean in means.items()
        }

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


def _cell(site: Site, run: _Run, seed: int) -> MapCell:
    """One cell in numbers; p-values are adjusted once all cells are known."""
    if site not in run.changes:
        return MapCell(site=site, propagate=run.path, n_replaced=0, note=NO_PATH)
    return MapCell(
        site=site,
        propagate=run.path,
        n_replaced=len(run.replaced[site]),
        effect=measure_change(run.changes[site], seed),
    )


def _adjusted(cells: Sequence[MapCell]) -> tuple[MapCell, ...]:
    """The cells with p-values adjusted over all that have a path, of all paths together."""
    effects = adjust_effects([cell.effect for cell in cells])
    return tuple(replace(cell, effect=effect) for cell, effect in zip(cells, effects, strict=True))


def _splits(sites: Sequence[Site], changes: Mapping[str, Mapping[Site, ArmChange]], seed: int) -> tuple[PathSplit, ...]:
    """What the two paths do not add up to, for the sites that have both, adjusted over these sites."""
    # a site at the last layer of the last position has one path only: nothing to take apart
    both = [site for site in sites if all(site in changes[path] for path in PATHS)]
    joint = [changes["both"][site] for site in both]
    parts = [[changes[path][site] for path in PATHS[1:]] for site in both]
    # flips take three values, which tie too often for ranks: signs are flipped instead
    accuracy = adjust_all(
        [
            measure_interaction(j.accuracy, [c.accuracy for c in ps], seed, "permutation")
            for j, ps in zip(joint, parts, strict=True)
        ]
    )
    logprob = adjust_all(
        [measure_interaction(j.logprob, [c.logprob for c in ps], seed) for j, ps in zip(joint, parts, strict=True)]
    )
    return tuple(PathSplit(site, a, b) for site, a, b in zip(both, accuracy, logprob, strict=True))
