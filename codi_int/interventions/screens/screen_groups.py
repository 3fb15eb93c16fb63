"""Features of a screen in groups: one after the other here, or spread over workers; kept as they finish."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from codi_int.interventions.edits.basic import Ablate, MovableEdit
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.engine import FeatureInterventionEngine, count_work
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.screens.additivity import PairRow
from codi_int.interventions.screens.changes import NO_WORK, ArmChange, add_counts, arm_change
from codi_int.interventions.screens.groups import group_by_rows, rows_per_group, run_groups
from codi_int.interventions.screens.judging import Measured, measure_arms
from codi_int.interventions.screens.screen_records import ScreenRow
from codi_int.interventions.screens.sides import SelectionPlan, Sides, take_sides
from codi_int.progress import Progress, count_up
from codi_int.types import Problem, RunCounts, Site
from codi_int.units import Unit, UnitRunner

Key = tuple[Site, int]


@dataclass(frozen=True)
class Checkpoint:
    """What an earlier, interrupted run of the same settings has finished, and where this one keeps what it finishes."""

    rows: Sequence[ScreenRow] = ()
    """finished features; they are taken as they are"""
    pairs: Sequence[PairRow] = ()
    """finished pairs of features"""
    keep: Callable[[Sequence[ScreenRow], Sequence[PairRow]], None] | None = None
    """called with everything that is finished, whenever more of it is"""
    watch: Callable[[Mapping[Key, ArmChange]], None] | None = None
    """called with what each feature of a group changed, problem by problem, before the group is kept"""
    counts: Mapping[Site, RunCounts] = field(default_factory=dict)
    """the work that the finished rows of each site took"""
    count: Callable[[Mapping[Site, RunCounts]], None] | None = None
    """called with the work of each site, this run's and that of earlier ones, before its rows are kept"""
    runner: UnitRunner | None = None
    """has groups of features done elsewhere, by workers whose tasks `group_runner` does; None for here"""


@dataclass(frozen=True)
class GroupTask:
    """Features of one site that run together: what shares a batch, and so its rounding, is the same everywhere."""

    site: Site
    """where"""
    features: tuple[int, ...]
    """which, in their order"""


@dataclass(frozen=True)
class GroupDone:
    """What came of a group."""

    rows: tuple[ScreenRow, ...]
    """one for each feature; what follows from the family is not known yet"""
    counts: RunCounts
    """the work"""
    changes: Mapping[Key, ArmChange]
    """what each feature changed, problem by problem"""


class ScreenWorker:
    """Runs the features of one site after the other and collects their rows."""

    def __init__(
        self,
        engine: FeatureInterventionEngine,
        make_edit: Callable[[int], MovableEdit],
        sides: Sides,
        seed: int,
        checkpoint: Checkpoint,
        progress: Progress | None,
    ) -> None:
        self._engine, self._make_edit, self._sides, self._seed = engine, make_edit, sides, seed
        self._checkpoint, self._progress = checkpoint, progress
        self._rows: dict[Key, ScreenRow] = {}
        self._keys: list[Key] = []
        self._counts: dict[Site, RunCounts] = {}

    def run_all(self, contexts: Sequence[SiteContext], wanted: Mapping[Site, Sequence[int]]) -> list[RunCounts]:
        """Screen every site; what the checkpoint has finished is taken as it is."""
        # rows of features that nobody asked for now are dropped: they would join the family that is corrected
        done = (row for row in self._checkpoint.rows if row.feature in wanted.get(row.site, ()))
        self._rows = {(row.site, row.feature): row for row in done}
        self._counts = {site: self._checkpoint.counts.get(site, NO_WORK) for site in wanted}
        self._keys = [(site, feature) for site, listed in wanted.items() for feature in listed]
        if self._checkpoint.runner is not None:
            self._spread(self._checkpoint.runner, contexts, wanted)
        else:
            for context in contexts:
                self._run(context, wanted[context.site], self._stage(context, contexts))
        return list(self._counts.values())

    def rows_of(self, wanted: Mapping[Site, Sequence[int]]) -> list[ScreenRow]:
        """The rows by site and feature, whatever the order of running."""
        return [self._rows[site, feature] for site, listed in wanted.items() for feature in sorted(listed)]

    def score(self, context: SiteContext, plans: Mapping[int, ArmPlan]) -> GroupDone:
        """Run a group of features."""
        scores, baseline = self._engine.score(context, list(plans.values())), self._engine.baseline(context)
        changes = {
            feature: arm_change(context.clean, plan, found, baseline)
            for (feature, plan), found in zip(plans.items(), scores, strict=True)
        }
        measured = measure_arms(changes, self._sides, self._seed)
        return GroupDone(
            rows=tuple(make_row(context, feature, plans[feature], one) for feature, one in measured.items()),
            counts=count_work(context, list(plans.values()), scores),
            changes={(context.site, feature): change for feature, change in changes.items()},
        )

    def _stage(self, context: SiteContext, contexts: Sequence[SiteContext]) -> str:
        return f"screen {context.site}" if len(contexts) > 1 else "screen"

    def _groups(self, context: SiteContext, wanted: Sequence[int]) -> Iterator[list[tuple[int, ArmPlan]]]:
        planned = ((feature, self._engine.plan(context, self._make_edit(feature))) for feature in wanted)
        return group_by_rows(planned, lambda item: len(item[1].rows), rows_per_group(self._engine.model.device))

    def _is_finished(self, site: Site, features: Sequence[int]) -> bool:
        # A group counts as finished only as a whole, for its rows shared batches.
        return {(site, feature) for feature in features} <= self._rows.keys()

    def _run(self, context: SiteContext, wanted: Sequence[int], stage: str) -> None:
        run_groups(
            self._groups(context, wanted),
            score=lambda group: self._take(context.site, self.score(context, dict(group))),
            is_finished=lambda group: self._is_finished(context.site, [feature for feature, _ in group]),
            keep=self._keep_rows,
            advance=count_up(self._progress, stage, len(wanted)),
        )

    def _spread(
        self, runner: UnitRunner, contexts: Sequence[SiteContext], wanted: Mapping[Site, Sequence[int]]
    ) -> None:
        """The groups of all sites on workers, in whatever order they end."""
        units: list[Unit] = []
        advance: dict[Site, Callable[[int], None]] = {}
        for context in contexts:
            site, listed = context.site, wanted[context.site]
            advance[site] = count_up(self._progress, self._stage(context, contexts), len(listed))
            for group in self._groups(context, listed):
                features = tuple(feature for feature, _ in group)
                if self._is_finished(site, features):
                    advance[site](len(features))
                    continue
                units.append(Unit(f"{site} features {features[0]} to {features[-1]}", GroupTask(site, features)))

        def keep(unit: Unit, done: GroupDone) -> None:
            self._take(unit.task.site, done)
            self._keep_rows()
            advance[unit.task.site](len(unit.task.features))

        runner(units, keep)

    def _take(self, site: Site, done: GroupDone) -> RunCounts:
        self._counts[site] = add_counts(self._counts[site], done.counts)
        if self._checkpoint.watch is not None:
            self._checkpoint.watch(done.changes)
        self._rows |= {(row.site, row.feature): row for row in done.rows}
        return done.counts

    def _keep_rows(self) -> None:
        if self._checkpoint.count is not None:
            self._checkpoint.count(self._counts)
        if self._checkpoint.keep is not None:
            # in their order, in whatever order groups end: the same bytes by whomever they are done
            self._checkpoint.keep([self._rows[key] for key in self._keys if key in self._rows], ())


def group_runner(
    engine: FeatureInterventionEngine,
    problems: Sequence[Problem],
    seed: int = 0,
    selection: SelectionPlan | None = None,
    make_edit: Callable[[int], MovableEdit] = Ablate,
) -> Callable[[GroupTask], GroupDone]:
    """What does a `GroupTask`, in a worker that has loaded what the screen was given; see `run_screen`."""
    worker = ScreenWorker(
        engine,
        make_edit=make_edit,
        sides=take_sides(problems, selection),
        seed=seed,
        checkpoint=Checkpoint(),
        progress=None,
    )

    def do(task: GroupTask) -> GroupDone:
        context = engine.site_context(problems, task.site)
        plans = {feature: engine.plan(context, make_edit(feature)) for feature in task.features}
        return worker.score(context, plans)

    return do


def make_row(context: SiteContext, feature: int, plan: ArmPlan, measured: Measured) -> ScreenRow:
    """One feature's effect; what follows from the family is known once all are."""
    return ScreenRow(
        site=context.site,
        feature=feature,
        firing_rate=plan.firing_rate,
        edit_size=plan.edit_size,
        effect=measured.effect,
        flips=measured.flips,
        folds=measured.folds,
    )
