"""The screen: the same edit on every feature of some sites, exactly, with the tests corrected over all of them."""

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from codi_int.data.problems import ProblemsLike, as_problems, problems_sha256
from codi_int.errors import ConfigError
from codi_int.interventions.edits.basic import Ablate, MovableEdit, check_features
from codi_int.interventions.edits.naming import edit_kind
from codi_int.interventions.engine.controls import feature_stats, matched_features, rank_among
from codi_int.interventions.engine.describe import later_note
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.environment import describe_environment
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.screens.changes import ArmChange, add_counts, arm_change, n_correct
from codi_int.interventions.screens.confirmed import Selection
from codi_int.interventions.screens.groups import group_by_rows, rows_per_group
from codi_int.interventions.screens.inherited import Settings, check_family, family_notes
from codi_int.interventions.screens.judging import Again, Measured, judge
from codi_int.interventions.screens.names import Names, take_names
from codi_int.interventions.screens.screen_groups import Checkpoint as Checkpoint
from codi_int.interventions.screens.screen_groups import Key, ScreenWorker
from codi_int.interventions.screens.screen_records import Screen as Screen
from codi_int.interventions.screens.screen_records import ScreenRow as ScreenRow
from codi_int.interventions.screens.screen_records import ScreenSite as ScreenSite
from codi_int.interventions.screens.sides import SelectionPlan, Sides, take_sides
from codi_int.numeric import IntsLike
from codi_int.progress import Progress, count_up
from codi_int.sites import SitesLike, as_sites
from codi_int.types import RunCounts, Site


def run_screen(
    engine: FeatureInterventionEngine,
    problems: ProblemsLike,
    features: IntsLike | Mapping[Site, IntsLike] | None = None,
    make_edit: Callable[[int], MovableEdit] = Ablate,
    seed: int = 0,
    site: SitesLike | None = None,
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
    *,
    selection: SelectionPlan | None = None,
    family: Screen | None = None,
    **names: Any,
) -> Screen:
    """Do one edit on every feature, measure each, and run what is found again on problems that selected nothing.

    Args:
        engine: model, SAEs and the way edits are made.
        problems: on which problems.
        features: which features, in the order in which they are run, of every site or site by site; default all.
        make_edit: from a feature to its edit; default zero ablation.
        seed: of the bootstrap and of the matched features.
        site: which of the engine's sites; default all of them.
        checkpoint: of an earlier, interrupted screen with the same settings, and where to keep this one's rows.
        progress: called with (stage, done, total); the stage of a site counts its features.
        selection: how the family is corrected and on what it is confirmed.
        family: another screen of these problems from which the features were picked: its features count too.
        names: `data` and `sae_name`, where problems and SAEs go by other names than their own; the latter may be a
            table of sites.

    Raises:
        ConfigError: for problems that are all one cluster, or that would confirm and select at once, for a family of
            another edit, model, data, SAE or bound or that was not measured in the folds that confirm here, and for
            several sites whose later positions are silent.
        FeatureError: for a feature that an SAE does not have.
        SiteError: for a site that the engine has no SAE for.
    """
    started = time.perf_counter()
    problems = as_problems(problems)
    sides = take_sides(problems, selection)
    sites = chosen_sites(engine, site)
    _check_later(engine, sites)
    # all contexts share the engine's one clean pass; only the latents are each site's own
    contexts = [engine.site_context(problems, one, progress) for one in sites]
    wanted = {context.site: _wanted(features, context) for context in contexts}
    # the kind is a property of the edit, so one is made for any feature that was asked for
    kind = edit_kind(make_edit(next((f for listed in wanted.values() for f in listed), 0)))
    if family is not None:
        check_family(family, screen_settings(engine, sides, tuple(wanted), kind))
    notes = engine.warn_at(contexts[0], [context.site for context in contexts])
    work = ScreenWorker(
        engine,
        make_edit=make_edit,
        sides=sides,
        seed=seed,
        checkpoint=checkpoint or Checkpoint(),
        progress=progress,
    )
    counts = work.run_all(contexts, wanted)
    rows = place_rows(work.rows_of(wanted), contexts, seed)
    found = assemble(
        engine,
        contexts,
        rows,
        counts=counts,
        kind=kind,
        seed=seed,
        names=take_names(names, problems, engine.saes),
        started=started,
    )
    # last, for the clean pass of the confirming problems takes the place of the other one
    judged = judge_rows(
        rows,
        sides,
        lambda keys: run_again(engine, keys, sides, make_edit, progress),
        seed,
        family=() if family is None else family.rows,
    )
    return replace(
        found,
        rows=judged.rows,
        selection=judged.selection,
        environment=replace(found.environment, seconds=time.perf_counter() - started),
        notes=(
            *notes,
            *later_note(contexts[0], engine.later),
            *sides.notes,
            *(() if family is None else family_notes(rows, family)),
        ),
    )


def screen_settings(engine: FeatureInterventionEngine, sides: Sides, sites: Sequence[Site], kind: str) -> Settings:
    """What a screen from which features were picked must have in common with this one; see `check_family`."""
    return Settings(
        kind=kind,
        model_sha256=engine.model.sha256,
        data_sha256=problems_sha256(sides.problems),
        saes={site: engine.saes[site].sha256 for site in sites},
        bound=sides.plan.bound,
        in_folds=sides.folds is not None,
        later=engine.later,
    )


def _check_later(engine: FeatureInterventionEngine, sites: Sequence[Site]) -> None:
    """ConfigError where the sites are measured against different models."""
    if engine.later == "mean" and len(sites) > 1:
        raise ConfigError(
            f"With later=mean every site has a baseline of its own, and there are {len(sites)} sites.",
            "Screen one site at a time, or hold later positions at their clean values (--later clean).",
        )


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


def as_measured(rows: Sequence[ScreenRow]) -> list[Measured]:
    """Rows as members of a family."""
    return [Measured((row.site, row.feature), row.effect, row.flips, row.folds) for row in rows]


@dataclass(frozen=True)
class JudgedRows:
    """Rows of a screen with everything that follows from their family."""

    rows: tuple[ScreenRow, ...]
    """in the order given"""
    selection: Selection
    """what was selected and confirmed"""


def judge_rows(
    rows: Sequence[ScreenRow],
    sides: Sides,
    again: Callable[[Sequence[Any]], Again],
    seed: int,
    family: Sequence[ScreenRow] = (),
) -> JudgedRows:
    """Correct the family, confirm what it selects, and say what became of each row.

    One family over all sites: who looks at three layers has looked at three layers. Rows of another screen from which
    these were picked (`family`) count as well.
    """
    here = {(row.site, row.feature) for row in rows}
    besides = [row for row in family if (row.site, row.feature) not in here]
    judged = judge(as_measured(rows), sides, again, seed, besides=as_measured(besides))
    named = zip(
        rows,
        judged.effects,
        judged.selected,
        judged.selected_logprob,
        judged.confirmations,
        strict=True,
    )
    return JudgedRows(
        rows=tuple(
            replace(row, effect=effect, selected=a, selected_logprob=b, confirmation=confirmation)
            for row, effect, a, b, confirmation in named
        ),
        selection=judged.selection,
    )


def run_again(
    engine: FeatureInterventionEngine,
    keys: Sequence[Key],
    sides: Sides,
    make_edit: Callable[[int], MovableEdit],
    progress: Progress | None,
) -> Again:
    """The edits of some features on the problems that confirm: one clean pass, and these arms alone."""
    assert sides.confirming is not None
    changes: dict[Hashable, ArmChange] = {}
    clean = None
    advance = count_up(progress, "confirm", len(keys))
    for site in dict.fromkeys(site for site, _ in keys):
        context = engine.site_context(sides.confirming, site, progress)
        here = [feature for where, feature in keys if where == site]
        clean = context.clean
        planned = ((feature, engine.plan(context, make_edit(feature))) for feature in here)
        for group in group_by_rows(planned, lambda item: len(item[1].rows), rows_per_group(engine.model.device)):
            for (feature, plan), found in zip(group, engine.score(context, [p for _, p in group]), strict=True):
                changes[site, feature] = arm_change(clean, plan, found, engine.baseline(context))
            advance(len(group))
    return Again(changes, 0 if clean is None else n_correct(clean))


def place_rows(rows: Sequence[ScreenRow], contexts: Sequence[SiteContext], seed: int) -> tuple[ScreenRow, ...]:
    """The rows, each placed among features of its site that are like it."""
    placed = {(row.site, row.feature): row for context in contexts for row in _placed(rows, context, seed)}
    return tuple(placed[row.site, row.feature] for row in rows)


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
        later=engine.later,
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
