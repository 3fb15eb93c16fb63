"""The screen: the same edit on every feature of some sites, exactly, with the tests corrected over all of them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from codi_int.data.problems import ProblemsLike, as_problems
from codi_int.interventions.edits.basic import Ablate, MovableEdit, check_features
from codi_int.interventions.edits.naming import edit_kind
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.controls import feature_stats, matched_features, rank_among
from codi_int.interventions.engine.engine import FeatureInterventionEngine, count_work
from codi_int.interventions.engine.environment import describe_environment
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.screens.additivity import PairRow
from codi_int.interventions.screens.changes import (
    add_counts,
    adjust_effects,
    arm_change,
    measure_changes,
    n_correct,
)
from codi_int.interventions.screens.groups import group_by_rows, run_groups
from codi_int.interventions.screens.names import Names, take_names
from codi_int.numeric import IntsLike
from codi_int.progress import Progress, count_up
from codi_int.records import ArmEffect, FlatEffect, flatten, table_row
from codi_int.shown import Finding
from codi_int.sites import SitesLike, as_sites
from codi_int.types import Environment, RunCounts, Site

Key = tuple[Site, int]


@dataclass(frozen=True)
class ScreenRow(FlatEffect):
    """What the edit of one feature did."""

    site: Site
    """where"""
    feature: int
    """which feature"""
    firing_rate: float
    """share of problems on which it fires"""
    edit_size: float
    """mean norm of what the edit adds to a touched residual"""
    effect: ArmEffect
    """on the answers; p-values are corrected over the features of the screen that fire, all sites together"""
    rank: float | None = None
    """share of matched features of the site whose change of accuracy is smaller in magnitude"""
    rank_logprob: float | None = None
    """the same for the log-probability"""

    columns = (
        "site",
        "feature",
        "firing_rate",
        "edit_size",
        "n_touched",
        "n_broken",
        "n_fixed",
        "n_answer_changed",
        "estimate",
        "low",
        "high",
        "p_value",
        "p_adjusted",
        "logprob",
        "logprob_low",
        "logprob_high",
        "logprob_p",
        "logprob_p_adjusted",
        "rank",
        "rank_logprob",
    )


@dataclass(frozen=True)
class ScreenSite:
    """One of a screen's sites."""

    site: Site
    """where"""
    sae: str
    """name of its SAE"""
    sae_sha256: str
    """of the SAE's weights"""
    n_features: int
    """features that were screened there"""
    n_living: int
    """how many of them the edit touches any problem of"""


@dataclass(frozen=True, repr=False)
class Screen(Finding):
    """A finished screen."""

    kind: str
    """what was done to each feature"""
    site: Site
    """where; the first of several sites"""
    model: str
    """name of the model"""
    sae: str
    """name of the SAE; of the first of several sites"""
    data: str
    """name of the problems"""
    n_problems: int
    """how many"""
    n_correct: int
    """right answers of the undisturbed model"""
    seed: int
    """of the bootstrap and of the matched features"""
    rows: tuple[ScreenRow, ...]
    """one per feature, site by site, in the order of the features"""
    counts: RunCounts
    """work done and saved"""
    environment: Environment
    """versions, hashes, time; for the SAEs of several sites see `sites`"""
    sites: tuple[ScreenSite, ...]
    """every site, in the order asked for"""
    pairs: tuple[PairRow, ...] = ()
    """features that were also taken out two at a time"""
    notes: tuple[str, ...] = ()
    """what a reader should know besides: warnings, in words"""

    schema = "codi-int/screen@1"

    def ranked(self) -> tuple[ScreenRow, ...]:
        """Strongest effects first: by accuracy's p-value, then by the log-probability's size."""
        return tuple(sorted(self.rows, key=_strength))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; a row's site is a word such as L14.P3."""
        tables = {"rows": [table_row(row) for row in self.rows], "pairs": [table_row(row) for row in self.pairs]}
        return {"schema": self.schema, **flatten(self), **tables}


@dataclass(frozen=True)
class Checkpoint:
    """What an earlier, interrupted run of the same settings has finished, and where this one keeps what it finishes."""

    rows: Sequence[ScreenRow] = ()
    """finished features; they are taken as they are"""
    pairs: Sequence[PairRow] = ()
    """finished pairs of features"""
    keep: Callable[[Sequence[ScreenRow], Sequence[PairRow]], None] | None = None
    """called with everything that is finished, whenever more of it is"""


def run_screen(
    engine: FeatureInterventionEngine,
    problems: ProblemsLike,
    features: IntsLike | Mapping[Site, IntsLike] | None = None,
    make_edit: Callable[[int], MovableEdit] = Ablate,
    seed: int = 0,
    site: SitesLike | None = None,
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
    **names: Any,
) -> Screen:
    """Do one edit on every feature and measure each.

    Args:
        engine: model, SAEs and the way edits are made.
        problems: on which problems.
        features: which features, in the order in which they are run, of every site or site by site; default all.
        make_edit: from a feature to its edit; default zero ablation.
        seed: of the bootstrap and of the matched features.
        site: which of the engine's sites; default all of them.
        checkpoint: of an earlier, interrupted screen with the same settings, and where to keep this one's rows.
        progress: called with (stage, done, total); the stage of a site counts its features.
        names: `data` and `sae_name`, where problems and SAEs go by other names than their own; the latter may be a
            table of sites.

    Raises:
        FeatureError: for a feature that an SAE does not have.
        SiteError: for a site that the engine has no SAE for.
    """
    started = time.perf_counter()
    problems = as_problems(problems)
    # all contexts share the engine's one clean pass; only the latents are each site's own
    contexts = [engine.site_context(problems, one, progress) for one in chosen_sites(engine, site)]
    wanted = {context.site: _wanted(features, context) for context in contexts}
    notes = engine.warn_at(contexts[0], [context.site for context in contexts])
    checkpoint = checkpoint or Checkpoint()
    # rows of features that nobody asked for now are dropped: they would join the family that is corrected
    rows = {(row.site, row.feature): row for row in checkpoint.rows if row.feature in wanted.get(row.site, ())}
    work = _Worker(
        engine,
        make_edit=make_edit,
        seed=seed,
        rows=rows,
        checkpoint=checkpoint,
        progress=progress,
    )
    several = len(contexts) > 1
    counts = [
        work.run(context, wanted[context.site], f"screen {context.site}" if several else "screen")
        for context in contexts
    ]
    # finished rows were kept as they came; the record has them by site and feature, whatever the order of running
    ordered = [rows[context.site, feature] for context in contexts for feature in sorted(wanted[context.site])]
    # the kind is a property of the edit, so one is made for any feature that was asked for
    kind = edit_kind(make_edit(next((f for listed in wanted.values() for f in listed), 0)))
    found = assemble(
        engine,
        contexts,
        finish_rows(ordered, contexts, seed),
        counts=counts,
        kind=kind,
        seed=seed,
        names=take_names(names, problems, engine.saes),
        started=started,
    )
    return replace(found, notes=notes)


class _Worker:
    """Runs the features of one site after the other and collects their rows."""

    def __init__(
        self,
        engine: FeatureInterventionEngine,
        make_edit: Callable[[int], MovableEdit],
        seed: int,
        rows: dict[Key, ScreenRow],
        checkpoint: Checkpoint,
        progress: Progress | None,
    ) -> None:
        self._engine, self._make_edit, self._seed, self._rows = engine, make_edit, seed, rows
        self._keep, self._progress = checkpoint.keep, progress

    def run(self, context: SiteContext, wanted: Sequence[int], stage: str) -> RunCounts:
        """Screen a site; finished features are left out."""
        planned = ((feature, self._engine.plan(context, self._make_edit(feature))) for feature in wanted)
        return run_groups(
            group_by_rows(planned, lambda item: len(item[1].rows)),
            score=lambda group: self._score(context, dict(group)),
            # A group counts as finished only as a whole, for its rows shared batches.
            is_finished=lambda group: {(context.site, feature) for feature, _ in group} <= self._rows.keys(),
            keep=self._keep_rows,
            advance=count_up(self._progress, stage, len(wanted)),
        )

    def _keep_rows(self) -> None:
        if self._keep is not None:
            self._keep(list(self._rows.values()), ())

    def _score(self, context: SiteContext, plans: Mapping[int, ArmPlan]) -> RunCounts:
        scores = self._engine.score(context, list(plans.values()))
        changes = [arm_change(context.clean, plan, found) for plan, found in zip(plans.values(), scores, strict=True)]
        effects = measure_changes(changes, self._seed)
        for (feature, plan), effect in zip(plans.items(), effects, strict=True):
            self._rows[context.site, feature] = make_row(context, feature, plan, effect)
        return count_work(context, list(plans.values()), scores)


def chosen_sites(engine: FeatureInterventionEngine, site: SitesLike | None) -> tuple[Site, ...]:
    """The sites that a screen is to run at; default all that the engine has."""
    if site is None:
        return tuple(engine.saes)
    return tuple(dict.fromkeys(as_sites(site)))


def _wanted(features: IntsLike | Mapping[Site, IntsLike] | None, context: SiteContext) -> list[int]:
    listed = features.get(context.site, ()) if isinstance(features, Mapping) else features
    if listed is None:
        return list(range(context.sae.d_sae))
    return list(dict.fromkeys(check_features(listed, context.sae.d_sae)))


def make_row(context: SiteContext, feature: int, plan: ArmPlan, effect: ArmEffect) -> ScreenRow:
    """One feature's effect; p-values are adjusted once all are known."""
    return ScreenRow(
        site=context.site,
        feature=feature,
        firing_rate=plan.firing_rate,
        edit_size=plan.edit_size,
        effect=effect,
    )


def finish_rows(rows: Sequence[ScreenRow], contexts: Sequence[SiteContext], seed: int) -> tuple[ScreenRow, ...]:
    """The rows with p-values adjusted over all of them, and each placed among features of its site that are like it."""
    # One family over all sites: who looks at three layers has looked at three layers.
    effects = adjust_effects([row.effect for row in rows])
    placed = {(row.site, row.feature): row for context in contexts for row in _placed(rows, context, seed)}
    return tuple(
        replace(placed[row.site, row.feature], effect=effect) for row, effect in zip(rows, effects, strict=True)
    )


def _placed(rows: Sequence[ScreenRow], context: SiteContext, seed: int) -> Iterator[ScreenRow]:
    """The rows of one site with their ranks among matched features."""
    stats = feature_stats(context.latents, context.sae.W_dec.detach().float().norm(dim=1))
    of = {row.feature: row for row in rows if row.site == context.site}
    for row in of.values():
        # The features of the screen itself are the controls: all of them are measured, so a rank among the matched
        # ones costs no further run. A partial screen has only those of them that it ran.
        drawn = [f for (f,) in matched_features(stats, [row.feature], seed=seed) if f in of] if row.n_touched else []
        rank = rank_among(row.estimate, [of[f].estimate for f in drawn])
        yield replace(row, rank=rank, rank_logprob=rank_among(row.logprob, [of[f].logprob for f in drawn]))


def assemble(
    engine: FeatureInterventionEngine,
    contexts: Sequence[SiteContext],
    rows: tuple[ScreenRow, ...],
    counts: Sequence[RunCounts],
    kind: str,
    seed: int,
    names: Names,
    started: float,
) -> Screen:
    """The finished screen's record; `started` is the time of `time.perf_counter` at its beginning."""
    first = contexts[0]
    sites = tuple(_describe(context, rows, names.saes[context.site]) for context in contexts)
    return Screen(
        kind=kind,
        site=first.site,
        model=engine.model.name,
        sae=sites[0].sae,
        data=names.data,
        n_problems=len(first.clean.problems),
        n_correct=n_correct(first.clean),
        seed=seed,
        rows=rows,
        counts=add_counts(*counts),
        environment=describe_environment(engine.model, first.sae, first.clean.problems, time.perf_counter() - started),
        sites=sites,
    )


def _describe(context: SiteContext, rows: Sequence[ScreenRow], sae: str) -> ScreenSite:
    own = [row for row in rows if row.site == context.site]
    return ScreenSite(
        site=context.site,
        sae=sae,
        sae_sha256=context.sae.sha256,
        n_features=len(own),
        n_living=sum(row.n_touched > 0 for row in own),
    )


def _strength(row: ScreenRow) -> tuple[float, float]:
    # None (dead) sorts behind everything that was tested; equal p-values, of which exact tests make many, by size
    return (1.0 if row.p_value is None else row.p_value, -abs(row.logprob))
