"""Cumulative ablation: the top n features taken out together, against random sets that take out as much."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from codi_int.data.problems import ProblemsLike, as_problems, name_of_problems, problems_sha256
from codi_int.errors import ConfigError
from codi_int.interventions.edits.basic import Ablate, check_features
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.controls import check_draws
from codi_int.interventions.engine.engine import FeatureInterventionEngine, count_work
from codi_int.interventions.engine.environment import describe_environment
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.evidence.controlled import compare_with_controls
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.family import Flips
from codi_int.interventions.screens.changes import NO_WORK, ArmChange, arm_change, measure_changes, n_correct
from codi_int.interventions.screens.confirmed import Selection
from codi_int.interventions.screens.groups import group_by_rows, rows_per_group, run_groups
from codi_int.interventions.screens.judging import Measured, judge
from codi_int.interventions.screens.matched_sets import FeatureSet, is_near, match_sets, median_removed, removed_by
from codi_int.interventions.screens.names import take_names
from codi_int.interventions.screens.sides import NONE, SelectionPlan, Sides, take_sides
from codi_int.numeric import IntsLike
from codi_int.progress import Progress, count_up
from codi_int.records import EFFECT_COLUMNS, EVIDENCE_COLUMNS, ArmEffect, Estimate, FlatEffect, flatten
from codi_int.shown import Finding
from codi_int.types import Environment, Problem, RunCounts, Site, SiteLike


@dataclass(frozen=True)
class CurvePoint(FlatEffect):
    """What taking out so many features together did."""

    n: int
    """how many features"""
    accuracy: float
    """share of right answers with them out"""
    effect: ArmEffect
    """on the answers; p-values of the top sets are corrected over all of them"""
    latents: float | None = None
    """latents that are taken out, mean over the problems"""
    norm: float | None = None
    """norm of their part of the residual, mean over the problems"""

    columns = (
        "n",
        "accuracy",
        *EFFECT_COLUMNS,
        "latents",
        "norm",
        *EVIDENCE_COLUMNS,
    )


@dataclass(frozen=True)
class SetComparison:
    """The top n features beside random sets that take out as much."""

    n: int
    """how many top features"""
    n_near: int
    """random sets that take out as many latents and as much norm, within a factor of one and a half"""
    latents_median: float
    """latents that the random sets take out, median"""
    norm_median: float
    """norm that they take out, median"""
    difference: Estimate
    """change of accuracy of the top set minus that of the random ones' mean, paired by problem; betting interval,
    p-values corrected over the sizes (Holm)"""
    rank_p: float
    """(1 + random sets whose mean change is as large) / (1 + sets): a rank, not a test"""


@dataclass(frozen=True, repr=False)
class AblationCurve(Finding):
    """A finished curve."""

    site: Site
    """where"""
    order: str
    """what ranks the features: attribution, screen or frequency"""
    model: str
    """name of the model"""
    sae: str
    """name of the SAE"""
    data: str
    """name of the problems"""
    n_problems: int
    """how many"""
    n_correct: int
    """right answers of the undisturbed model"""
    n_living: int
    """features that fire on any of the problems; only these are ranked and drawn"""
    seed: int
    """of the random sets and the bootstrap"""
    features: tuple[int, ...]
    """the living features in the order in which they are taken out, first the strongest"""
    top: tuple[CurvePoint, ...]
    """the first n of them, for growing n"""
    random: tuple[tuple[CurvePoint, ...], ...]
    """random living features that take out as many latents and as much norm as the top n do, one tuple per draw with a
    set for each n; where nothing matches, the nearest that there is"""
    counts: RunCounts
    """work done and saved"""
    environment: Environment
    """versions, hashes, time"""
    notes: tuple[str, ...] = ()
    """what a reader should know besides: warnings, in words"""
    comparisons: tuple[SetComparison, ...] = ()
    """the top sets beside the random ones, for each n; empty without random sets"""
    ranked_on: str | None = None
    """name of the problems that ranked the features, `the other fold` for that; None where the ranking came from
    elsewhere"""
    ranked_sha256: str | None = None
    """their hash"""
    selection: Selection | None = None
    """of the family of top sets"""
    exchanged: "AblationCurve | None" = None
    """the same with the folds exchanged, where one fold ranks and the other measures"""

    schema = "codi-int/curve@1"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": self.schema, **flatten(self)}


def run_curve(
    engine: FeatureInterventionEngine,
    problems: ProblemsLike,
    ranking: IntsLike,
    order: str = "given",
    sizes: Sequence[int] | None = None,
    draws: int = 10,
    seed: int = 0,
    site: SiteLike | None = None,
    progress: Progress | None = None,
    **names: Any,
) -> AblationCurve:
    """Ablate the first n features of a ranking together, and random sets that take out as much beside them.

    Args:
        engine: model, SAE and the way edits are made.
        problems: on which problems.
        ranking: features, the strongest first; those that fire on no problem are passed over.
        order: what to call the ranking.
        sizes: the values of n; default 1, 2, 4, ... and all. Larger ones than there are features become all.
        draws: how many random sets for each n.
        seed: of the random sets and the bootstrap.
        site: which of the engine's sites; may be left out where it has one.
        progress: called with (stage, done, total); stage `curve` counts sets.
        names: `data` and `sae_name`, where problems and SAE go by other names than their own; `ranked_on`, the problems
            that gave the ranking, if they are other ones; `selection`, a `SelectionPlan`, whose bound and correction
            are taken; `besides`, what was tested on these problems to rank: it counts in the family.

    Raises:
        ConfigError: for a size below 1, a negative number of draws, a feature ranked twice, or no living feature.
        FeatureError: for a feature that the SAE does not have.
    """
    started = time.perf_counter()
    check_draws(draws)
    problems = as_problems(problems)
    context = engine.site_context(problems, site, progress)
    living = _living(context)
    notes = engine.warn_at(context, [context.site])
    ranked = [feature for feature in _checked(ranking, context) if feature in living]
    sizes = _sizes(sizes, len(ranked))
    # Random sets are drawn from the same alive features as the ranked ones.
    matched = [match_sets(context, one, sorted(living), draws, seed) for one in first_of(ranked, sizes)]
    # a draw has a set of every size; near all of the features there are few sets, and then they stand in several draws
    lines = [tuple(sets[draw % len(sets)].features for sets in matched) for draw in range(draws)]
    # of these problems the sets are measured only; who ranked, if not they, is said beside
    plan = replace(names.pop("selection", None) or SelectionPlan(), confirm=NONE)
    ranked_on: Sequence[Problem] | None = names.pop("ranked_on", None)
    besides: Sequence[Measured] = names.pop("besides", ())
    sides = take_sides(problems, plan)
    worker = _CurveWorker(engine, context, sides, seed, progress)
    worker.run([*first_of(ranked, sizes), *(one for line in lines for one in line)])
    top, selection = worker.judged(first_of(ranked, sizes), besides)
    named = take_names(names, problems, engine.saes)
    return AblationCurve(
        site=context.site,
        order=order,
        model=engine.model.name,
        sae=named.saes[context.site],
        data=named.data,
        n_problems=len(context.clean.problems),
        n_correct=n_correct(context.clean),
        n_living=len(living),
        seed=seed,
        features=tuple(ranked),
        top=top,
        random=tuple(worker.line(line) for line in lines),
        counts=worker.counts,
        environment=describe_environment(
            engine.model, context.sae, context.clean.problems, time.perf_counter() - started
        ),
        notes=notes,
        comparisons=worker.compared(first_of(ranked, sizes), matched if draws else []),
        ranked_on=None if ranked_on is None else name_of_problems(ranked_on),
        ranked_sha256=None if ranked_on is None else problems_sha256(ranked_on),
        selection=selection,
    )


def default_sizes(n: int) -> tuple[int, ...]:
    """1, 2, 4, ... below n, and n."""
    # doubling shows where an effect begins at equal cost for each octave
    return (*(2**i for i in range(n.bit_length()) if 2**i < n), n)


class _CurveWorker:
    """Scores sets of features, each set once, many of them in shared batches."""

    def __init__(
        self,
        engine: FeatureInterventionEngine,
        context: SiteContext,
        sides: Sides,
        seed: int,
        progress: Progress | None,
    ) -> None:
        self._engine, self._context, self._sides = engine, context, sides
        self._seed, self._progress = seed, progress
        self._changes: dict[tuple[int, ...], ArmChange] = {}
        self._effects: dict[tuple[int, ...], ArmEffect] = {}
        self.counts = NO_WORK

    def run(self, sets: Sequence[tuple[int, ...]]) -> None:
        """Measure sets in groups, each set once."""
        # The set of all features is the last point of every line, and small sets may coincide: run once, shown often.
        wanted = list(dict.fromkeys(sets))
        planned = ((features, self._engine.plan(self._context, Ablate(features))) for features in wanted)
        self.counts = run_groups(
            group_by_rows(planned, lambda item: len(item[1].rows), rows_per_group(self._engine.model.device)),
            score=lambda group: self._score(dict(group)),
            advance=count_up(self._progress, "curve", len(wanted)),
        )

    def line(self, sets: Sequence[tuple[int, ...]]) -> tuple[CurvePoint, ...]:
        """The points of some sets, once they have run."""
        return tuple(self._point(one, self._effects[one]) for one in sets)

    def judged(
        self, sets: Sequence[tuple[int, ...]], besides: Sequence[Measured]
    ) -> tuple[tuple[CurvePoint, ...], Selection]:
        """The points of the top sets, corrected over all of them."""
        distinct = list(dict.fromkeys(sets))
        measured = [Measured(one, self._effects[one], Flips.of(self._changes[one].accuracy)) for one in distinct]
        found = judge(measured, self._sides, seed=self._seed, besides=besides)
        effects = dict(zip(distinct, found.effects, strict=True))
        return tuple(self._point(one, effects[one]) for one in sets), found.selection

    def compared(
        self, sets: Sequence[tuple[int, ...]], matched: Sequence[Sequence[FeatureSet]]
    ) -> tuple[SetComparison, ...]:
        """Each of the top sets beside its random ones, problem by problem."""
        # all of the features are matched by themselves alone, and a comparison would be of a thing with itself
        pairs = [(own, others) for own, others in zip(sets, matched, strict=False) if others[0].features != own]
        found = [self._compare(own, others) for own, others in pairs]
        adjusted = adjust([one.difference.p_value for one in found], "holm")
        return tuple(
            replace(one, difference=replace(one.difference, p_adjusted=p))
            for one, p in zip(found, adjusted, strict=True)
        )

    def _compare(self, own: tuple[int, ...], others: Sequence[FeatureSet]) -> SetComparison:
        controls = np.stack([self._changes[one.features].accuracy for one in others])
        found = compare_with_controls(self._changes[own].accuracy, controls, clusters=self._sides.clusters)
        median, removed = median_removed(others), removed_by(self._context, own)
        assert median is not None
        return SetComparison(
            n=len(own),
            n_near=sum(is_near(one.removed, removed) for one in others),
            latents_median=median.latents,
            norm_median=median.norm,
            difference=found.difference,
            rank_p=found.rank_p,
        )

    def _score(self, group: Mapping[tuple[int, ...], ArmPlan]) -> RunCounts:
        plans, context = list(group.values()), self._context
        scores = self._engine.score(context, plans)
        before = self._engine.baseline(context)
        changes = [arm_change(context.clean, plan, score, before) for plan, score in zip(plans, scores, strict=True)]
        effects = measure_changes(changes, self._seed, bound=self._sides.plan.bound)
        self._changes |= zip(group, changes, strict=True)
        self._effects |= zip(group, effects, strict=True)
        return count_work(context, plans, scores)

    def _point(self, features: tuple[int, ...], found: ArmEffect) -> CurvePoint:
        # counted in whole problems; accuracy + estimate may miss the last digit
        right = n_correct(self._context.clean) + found.n_fixed - found.n_broken
        removed = removed_by(self._context, features)
        return CurvePoint(
            n=len(features),
            accuracy=right / len(self._context.clean.problems),
            effect=found,
            latents=removed.latents,
            norm=removed.norm,
        )


def first_of(features: Sequence[int], sizes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The first n features, for each n, as sets in one order."""
    # sorted, so that one set has one key whatever order it was drawn in
    return tuple(tuple(sorted(features[:n])) for n in sizes)


def _living(context: SiteContext) -> set[int]:
    fires = (context.latents != 0).any(0).nonzero()[:, 0]
    if not len(fires):
        raise ConfigError(
            f"No feature fires at {context.site} on these problems: there is nothing to take out.",
            "Give other problems, or another site.",
        )
    return set(fires.tolist())


def _checked(ranking: IntsLike, context: SiteContext) -> list[int]:
    ranked = check_features(ranking, context.sae.d_sae)
    if len(set(ranked)) < len(ranked):
        raise ConfigError("The ranking names a feature twice.", "Give each feature once.")
    return ranked


def _sizes(sizes: Sequence[int] | None, n: int) -> tuple[int, ...]:
    """The values of n to run, in ascending order, none above the number of ranked features."""
    if n == 0:
        raise ConfigError("No feature of the ranking fires on these problems.", "Rank features that fire.")
    if sizes is None:
        return default_sizes(n)
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"Numbers of features start at 1, got {min(sizes, default=None)}.", "Use such as 1, 2, 4.")
    return tuple(sorted({min(size, n) for size in sizes}))
