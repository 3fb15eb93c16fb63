"""Cumulative ablation: the top n features taken out together, against as many random ones, for growing n."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from codi_int.data.problems import ProblemsLike, as_problems
from codi_int.errors import ConfigError
from codi_int.interventions.edits.basic import Ablate, check_features
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.controls import check_draws
from codi_int.interventions.engine.engine import FeatureInterventionEngine, count_work
from codi_int.interventions.engine.environment import describe_environment
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.screens.changes import NO_WORK, ArmChange, arm_change, measure_change, n_correct
from codi_int.interventions.screens.groups import group_by_rows, run_groups
from codi_int.interventions.screens.names import take_names
from codi_int.numeric import IntsLike
from codi_int.progress import Progress, count_up
from codi_int.records import ArmEffect, FlatEffect, flatten
from codi_int.shown import Finding
from codi_int.types import Environment, RunCounts, Site, SiteLike


@dataclass(frozen=True)
class CurvePoint(FlatEffect):
    """What taking out so many features together did."""

    n: int
    """how many features"""
    accuracy: float
    """share of right answers with them out"""
    effect: ArmEffect
    """on the answers"""

    columns = (
        "n",
        "accuracy",
        "estimate",
        "low",
        "high",
        "logprob",
        "logprob_low",
        "logprob_high",
        "p_value",
        "n_touched",
        "n_broken",
        "n_fixed",
        "n_answer_changed",
        "logprob_p",
    )


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
    """as many random living features, one tuple per draw; a draw's sets grow by adding features"""
    counts: RunCounts
    """work done and saved"""
    environment: Environment
    """versions, hashes, time"""
    notes: tuple[str, ...] = ()
    """what a reader should know besides: warnings, in words"""

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
    """Ablate the first n features of a ranking together, and random sets of n living features beside them.

    Args:
        engine: model, SAE and the way edits are made.
        problems: on which problems.
        ranking: features, the strongest first; those that fire on no problem are passed over.
        order: what to call the ranking.
        sizes: the values of n; default 1, 2, 4, ... and all. Larger ones than there are features become all.
        draws: how many random sets for each n; the sets of a draw grow by adding features.
        seed: of the random sets and the bootstrap.
        site: which of the engine's sites; may be left out where it has one.
        progress: called with (stage, done, total); stage `curve` counts sets.
        names: `data` and `sae_name`, where problems and SAE go by other names than their own.

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
    # The random sets are drawn from the same alive features as the ranked ones: a draw that took dead features would
    # ablate fewer than n.
    shuffled = _shuffled(sorted(living), draws, seed)
    worker = _CurveWorker(engine, context, seed, progress)
    worker.run([one for features in (ranked, *shuffled) for one in first_of(features, sizes)])
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
        top=worker.line(ranked, sizes),
        random=tuple(worker.line(features, sizes) for features in shuffled),
        counts=worker.counts,
        environment=describe_environment(
            engine.model, context.sae, context.clean.problems, time.perf_counter() - started
        ),
        notes=notes,
    )


def default_sizes(n: int) -> tuple[int, ...]:
    """1, 2, 4, ... below n, and n."""
    # doubling shows where an effect begins at equal cost for each octave
    return (*(2**i for i in range(n.bit_length()) if 2**i < n), n)


class _CurveWorker:
    """Scores sets of features, each set once, many of them in shared batches."""

    def __init__(
        self, engine: FeatureInterventionEngine, context: SiteContext, seed: int, progress: Progress | None
    ) -> None:
        self._engine, self._context, self._seed, self._progress = engine, context, seed, progress
        self._known: dict[tuple[int, ...], CurvePoint] = {}
        self.counts = NO_WORK

    def run(self, sets: Sequence[tuple[int, ...]]) -> None:
        """Measure sets in groups, each set once."""
        # The set of all features is the last point of every line, and small sets may coincide: run once, shown often.
        wanted = list(dict.fromkeys(sets))
        planned = ((features, self._engine.plan(self._context, Ablate(features))) for features in wanted)
        self.counts = run_groups(
            group_by_rows(planned, lambda item: len(item[1].rows)),
            score=lambda group: self._score(dict(group)),
            advance=count_up(self._progress, "curve", len(wanted)),
        )

    def line(self, features: Sequence[int], sizes: Sequence[int]) -> tuple[CurvePoint, ...]:
        """The points of one ranking, once its sets have run."""
        return tuple(self._known[one] for one in first_of(features, sizes))

    def _score(self, group: Mapping[tuple[int, ...], ArmPlan]) -> RunCounts:
        plans, context = list(group.values()), self._context
        scores = self._engine.score(context, plans)
        for features, plan, score in zip(group, plans, scores, strict=True):
            self._known[features] = self._point(features, arm_change(context.clean, plan, score))
        return count_work(context, plans, scores)

    def _point(self, features: tuple[int, ...], change: ArmChange) -> CurvePoint:
        found = measure_change(change, self._seed)
        # counted in whole problems; accuracy + estimate may miss the last digit
        right = n_correct(self._context.clean) + found.n_fixed - found.n_broken
        return CurvePoint(n=len(features), accuracy=right / change.accuracy.size, effect=found)


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


def _shuffled(living: Sequence[int], draws: int, seed: int) -> list[list[int]]:
    """The living features in as many random orders."""
    generator = torch.Generator().manual_seed(seed)
    return [[living[i] for i in torch.randperm(len(living), generator=generator)] for _ in range(draws)]
