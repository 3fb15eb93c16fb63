"""The intervention engine: one edit of a continuous thought on many problems, with its evidence."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, cast

import torch

from codi_int.data.problems import ProblemsLike, as_problems, name_of_problems
from codi_int.errors import ConfigError, SiteError
from codi_int.interventions.edits.adapt import as_edit, named_edit
from codi_int.interventions.edits.basic import Edit, check_features
from codi_int.interventions.edits.combined import AtSites, as_table
from codi_int.interventions.edits.residual import ResidualEdit
from codi_int.interventions.engine import describe, summary
from codi_int.interventions.engine.arms import ArmPlan, ArmScores, check_scores
from codi_int.interventions.engine.baselines import baseline_arms, matched_edits
from codi_int.interventions.engine.clean import SHARES, CleanPass, CleanPasses, rows_within, usual_budget
from codi_int.interventions.engine.comparison import control_sets
from codi_int.interventions.engine.controls import Controls, as_controls
from codi_int.interventions.engine.describe import Settings
from codi_int.interventions.engine.environment import describe_environment
from codi_int.interventions.engine.later import LATERS, hold_after
from codi_int.interventions.engine.naive import recapture, rerun_plan
from codi_int.interventions.engine.planning import Capture, SiteState, Unedited, no_sae, plan_sites
from codi_int.interventions.engine.side_effects import measure_side_effects
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.engine.subgroups import operation_rows, steps_rows
from codi_int.interventions.engine.suffix import SuffixRunner, settle_rounding, usual_rows
from codi_int.interventions.engine.summary import count_work as count_work
from codi_int.interventions.evidence.compare import beside_controls
from codi_int.interventions.evidence.equivalence import BOUND, check_bound
from codi_int.model.hooked import CodiModel
from codi_int.model.resume import make_resume_point
from codi_int.notes import give
from codi_int.numeric import IntLike, as_whole
from codi_int.progress import Progress, rename_stage
from codi_int.sae.base import SAE, check_fits
from codi_int.sae.store import as_sae
from codi_int.shown import Shown
from codi_int.types import Later, Outcome, Problem, Propagate, Result, Site, SiteLike, Splice

AnyEdit = Edit | ResidualEdit | AtSites | Any
"""what the engine runs: an edit of latents, of the residual, or a table of them"""


class FeatureInterventionEngine(Shown):
    """Edits SAE features inside the continuous thoughts of a model and measures what becomes of the answers.

    The clean pass over a set of problems is kept: later runs on the same problems only pay for what they change.
    """

    def __init__(
        self,
        model: CodiModel | Any,
        saes: Mapping[SiteLike, SAE | Any | None],
        splice: str = "add",
        propagate: str = "both",
        memory_budget: int | None = None,
        max_rows: int | None = None,
        method: str = "suffix",
        later: str = "free",
    ) -> None:
        """
        Args:
            model: the model.
            saes: the SAE, or its name, of every site that edits may name; None for a site where only the residual
                itself is edited, such as a whole thought.
            splice: `add` adds decode(edit(f)) - decode(f) and so keeps the SAE's error; `replace` puts decode(edit(f))
                in place of the residual. Edits of the residual itself know no such difference.
            propagate: by which paths an edit may reach the answer: `both`, `cache` or `recurrence`.
            memory_budget: bytes of keys and values that are held at once, three quarters of it by the clean pass. What
                does not fit is computed again, so a small budget costs time and no result; 0 keeps none of the clean
                pass. Default 2 GiB, on a GPU half of what is free.
            max_rows: how many (edit, problem) rows run together at most; fewer where the budget does not hold them,
                halved where memory runs out. Default 384, on a GPU 2,048.
            method: `suffix` runs only what comes after the site; `naive` runs the whole model for every edit.
            later: what the later positions of an edited layer do, in the baseline and in the edited arm: `free`; `mean`
                holds each at its mean over the problems, so that they say nothing; `clean` at its clean values.

        Raises:
            SAEError: for an SAE that was made for another site, width or model.
            SiteError: for a site that the model does not have.
            ConfigError: for what is no model, a choice that does not exist, or paths on which no edit can reach the
                answer.
        """
        if not isinstance(model, CodiModel):
            raise ConfigError(f"{model!r} is no model.", 'Give load_model("codi-mini"), for example.')
        _one_of("splice", splice, ("add", "replace"))
        _one_of("method", method, ("suffix", "naive"))
        _one_of("later", later, LATERS)
        if not saes:
            raise ConfigError("The engine has no SAE.", "Give a table of sites and SAEs: {Site(14, 3): sae}.")
        budget = usual_budget(model.device) if memory_budget is None else memory_budget
        max_rows = usual_rows(model.device) if max_rows is None else max_rows
        if max_rows < 1 or budget < 0:
            raise ConfigError(
                f"max_rows={max_rows} and memory_budget={budget} leave no room for a single row.",
                "Give max_rows of at least 1 and a memory_budget of at least 0 bytes.",
            )
        if not isinstance(saes, Mapping):
            raise ConfigError(f"{saes!r} is no table of sites and SAEs.", 'Write {"L14.P3": "codi-mini/L14.P3"}.')
        table = {Site.parse(site): sae for site, sae in saes.items()}
        self.resume_points = {site: make_resume_point(model, site, propagate) for site in table}
        self.saes = {site: as_sae(sae) for site, sae in table.items() if sae is not None}
        for site, sae in self.saes.items():
            check_fits(sae, model, site)
        self.model, self.sites = model, tuple(table)
        self.splice, self.propagate = cast(Splice, splice), cast(Propagate, propagate)
        self.later = cast(Later, later)
        self.memory_budget, self.method, self.max_rows = budget, method, rows_within(model, budget, max_rows)
        self._passes = CleanPasses()
        self._warned: set[str] = set()

    @torch.no_grad()
    def run(
        self,
        edit: AnyEdit,
        problems: ProblemsLike,
        seed: IntLike = 0,
        controls: Controls | IntLike | None = 20,
        site: SiteLike | None = None,
        data: str | None = None,
        sae_name: str | None = None,
        progress: Progress | None = None,
        bound: float = BOUND,
        **deprecated: Any,
    ) -> Result:
        """Do one edit on all problems, with its controls.

        Args:
            edit: what to do: `Ablate`, `Amplify`, ..., `AtSites` for several sites, an object of your own with `label`
                and `edit(latents)` or `edit_residual(activations)`, or a function of latents.
            problems: on which problems; one, or the text of a question, will do.
            seed: of the controls and the resampling.
            controls: which controls, and how many of each; a number for that many matched random features (20 where
                nothing is said), None for no controls.
            site: which of the engine's sites; may be left out where it has one, or where the edit names its sites.
            data: what to call the problems in the result; default the name of `Problems`.
            sae_name: what to call the SAE in the result.
            progress: called with (stage, done, total).
            bound: the smallest change of accuracy that matters, declared beforehand; 0.005 is half a point.
            deprecated: directions, neurons and mean_difference, which are fields of `Controls`.

        Raises:
            FeatureError: for a feature that the SAE does not have.
            SAEError: for an edit of latents at a site without an SAE.
            HookError: for an edit that returns something unusable.
            ConfigError: for an edit that overflows, in the residual or inside the model, a bound outside (0, 0.5], or
                problems that all ask for the same calculations.
        """
        started = time.perf_counter()
        edit, problems, seed = named_edit(edit), as_problems(problems), as_whole("seed", seed)
        asked, bound = as_controls(controls, deprecated), check_bound(bound)
        table = self._check_request(edit, site)
        context = self.site_context(problems, table.sites[0], progress, edited=table.sites)
        warned = self.warn_at(context, table.sites)
        arm = self.plan(context, table)
        # Controls of an edit that changes nothing would be compared with nothing.
        asked = asked if bool(arm.edited.any()) else replace(asked, features=0)
        sets = self.control_arms(context, table, arm, asked, seed)
        # the order of this list is the order in which `outcomes_of_arms` and `control_sets` read the scores
        plans = [arm, self.reconstruction(context, table), *chain.from_iterable(sets.values())]
        scores = self._score_arms(context, plans, progress)
        outcomes = summary.outcomes_of_arms(context.clean, plans, scores)
        # with `replace`, what the SAE costs is not booked to the feature
        before = outcomes["reconstructed" if self.splice == "replace" else "clean"]
        change = summary.change_between(before, outcomes["intervened"], context.clean.clusters)
        beside = control_sets(context.clean, before, sets, scores=scores[2:], arm=arm, change=change)
        effect = summary.effect_of_edit(edit, context, arm, change=change, seed=seed, bound=bound)
        arms = summary.summarize_arms(context.clean, outcomes)
        after = describe.doubts_after(edit, table, self.saes, arm, arms)
        spent = time.perf_counter() - started
        return Result(
            experiment=describe.describe_experiment(
                edit,
                context,
                Settings(self.model.name, self.splice, self.propagate, self.later, seed),
                sites=table.sites,
                sae=sae_name or describe.name_of_saes({site: self.saes.get(site) for site in table.sites}),
                data=name_of_problems(problems, data),
            ),
            arms=arms,
            effect=beside_controls(effect, beside),
            controls=beside,
            by_operation=operation_rows(context.clean.problems, change, seed),
            by_steps=steps_rows(context.clean.problems, change, seed),
            side_effects=measure_side_effects(
                context,
                list(zip(plans, scores, strict=True)),
                n_controls=len(sets["random_features"]),
                splice=self.splice,
                seed=seed,
            ),
            environment=describe_environment(self.model, self._saes_of(table), context.clean.problems, spent),
            counts=count_work(context, plans, scores),
            outcomes=outcomes,
            notes=(
                *warned,
                *self._warn(after),
                *describe.later_note(context, self.later),
                *describe.notes_on(context, table, self.saes, arm, self.splice),
                *describe.controls_note(table, arm, sets["random_features"], asked.features),
            ),
        )

    def control_arms(
        self, context: SiteContext, table: AtSites, arm: ArmPlan, asked: Controls, seed: int
    ) -> dict[str, tuple[ArmPlan, ...]]:
        """The arms that an edit is compared with, by the names that a result gives them."""
        matched = self._matched_controls(context, table, asked.features, seed)
        return {"random_features": matched, **baseline_arms(context, arm, table.features, asked, seed)}

    def share(self, passes: CleanPasses) -> None:
        """Take clean passes from, and leave them in, what other engines of the model share."""
        self._passes = passes

    def run_many(self, edits: Sequence[AnyEdit], problems: ProblemsLike, **settings: Any) -> tuple[Result, ...]:
        """`run` for several edits on one clean pass; see `family_of` for p-values adjusted over them.

        Settings and errors are those of `run`; nothing runs where one of the edits cannot.
        """
        if not edits:
            raise ConfigError("There is no edit to run.", "Give at least one.")
        # all of them before the first runs: an hour of work should not end at a slip in the last edit
        for edit in edits:
            self._check_request(edit, settings.get("site"))
        return tuple(self.run(edit, problems, **settings) for edit in edits)

    @torch.no_grad()
    def site_context(
        self,
        problems: ProblemsLike,
        site: SiteLike | None = None,
        progress: Progress | None = None,
        edited: Sequence[Site] = (),
    ) -> SiteContext:
        """The clean pass over some problems, made or taken from the last run, and the latents at a site.

        Args:
            problems: which problems.
            site: which of the engine's sites; may be left out where it has one.
            progress: called with (stage, done, total).
            edited: all sites that are to be edited, whose later positions the engine's `later` means; default the site.
        """
        site = self._chosen(site)
        clean = self._clean_pass(as_problems(problems), edited or (site,), progress)
        return self._context_at(clean, site)

    def warn_at(self, context: SiteContext, sites: Sequence[Site]) -> tuple[str, ...]:
        """Warn, each time of what is new, of what casts doubt on anything that runs here; notes for its record."""
        places = [context.place if site == context.site else self._place(context.clean, site) for site in sites]
        words = self._passes.unknown_words(self.model, context.clean.problems)
        return self._warn((*words, *describe.doubts(places)))

    def score(
        self, context: SiteContext, plans: Sequence[ArmPlan], progress: Progress | None = None
    ) -> list[ArmScores]:
        """What every row of some arms answers; ConfigError where the model's own numbers overflow under one."""
        path = context.resume_point.propagate
        with context.holding(self.model):
            if self.method == "naive":
                scores = [rerun_plan(self.model, context.clean, plan, path) for plan in plans]
            else:
                scores = self.runner(context).run(plans, progress)
        for plan, found in zip(plans, scores, strict=True):
            check_scores(plan, found)
        # A change below what another batch shape makes of the same row is no change.
        dtype = self.model.dtype
        return [settle_rounding(plan, found, context.clean, dtype) for plan, found in zip(plans, scores, strict=True)]

    def _score_arms(self, context: SiteContext, plans: Sequence[ArmPlan], progress: Progress | None) -> list[ArmScores]:
        """Scores of an edit, of the reconstruction, and of the edit's controls, in this order."""
        edit, reconstruction, *controls = plans
        # Each by itself: whatever was remembered, the rows of an edit share chunks with the same ones, and come out the
        # same to the last bit. What is remembered of the controls decides which of them share chunks; their answers do
        # not depend on it, and the last digits of their log-probabilities may.
        rebuilt, found = self._rebuilt(context, reconstruction, progress), self._alone(context, edit, progress)
        others = self._remembered(context, "together", controls, rename_stage(progress, "controls"))
        return [found, rebuilt, *others]

    def _rebuilt(self, context: SiteContext, reconstruction: ArmPlan, progress: Progress | None) -> ArmScores:
        return self._alone(context, reconstruction, rename_stage(progress, "reconstruction"))

    def _alone(self, context: SiteContext, plan: ArmPlan, progress: Progress | None) -> ArmScores:
        # also where it is known as a control of another edit: it ran beside other rows then
        return self._remembered(context, "alone", [plan], progress)[0]

    def _remembered(
        self, context: SiteContext, beside: str, plans: Sequence[ArmPlan], progress: Progress | None
    ) -> list[ArmScores]:
        """Scores of some arms, run together unless they are known from an earlier edit on the same clean pass."""
        how = (beside, context.resume_point.propagate, self.method, self.max_rows, context.clean.background)
        return self._passes.scored(plans, how, lambda unknown: self.score(context, unknown, progress))

    def baseline(self, context: SiteContext) -> tuple[Outcome, ...]:
        """What an edit of the context's site is measured against: the clean arm, with `replace` the reconstruction."""
        if self.splice == "add" or context.place.sae is None:
            return context.clean.outcomes
        plan = self.reconstruction(context, AtSites(((context.site, Unedited()),)))
        return summary.arm_outcomes(context.clean, plan, self._rebuilt(context, plan, None))

    def plan(self, context: SiteContext, edit: AnyEdit) -> ArmPlan:
        """What an edit adds to which problems of a context."""
        return self.plan_all(context, [edit])[0]

    @torch.no_grad()
    def plan_all(self, context: SiteContext, edits: Sequence[AnyEdit], splice: Splice | None = None) -> list[ArmPlan]:
        """Plans of edits that share their sites; the context must be at the first of these."""
        tables = [as_table(edit, context.site) for edit in edits]
        sites = tables[0].sites if tables else ()
        if any(table.sites != sites or table.sites[0] != context.site for table in tables):
            raise SiteError(
                f"The context is at {context.site}, and an edit begins at another site or has others besides.",
                "Ask for the context of the site that the edit begins at.",
            )
        places = {site: context.place if site == context.site else self._place(context.clean, site) for site in sites}
        with context.holding(self.model):
            return plan_sites(tables, places, self._capture(context), splice or self.splice) if tables else []

    def _check_request(self, edit: AnyEdit, site: SiteLike | None) -> AtSites:
        """The edit as a table of sites, checked before the clean pass: nobody should wait to be told of a slip."""
        site = None if site is None else Site.parse(site)
        if isinstance(edit, AtSites) and site is not None and site != edit.sites[0]:
            raise SiteError(f"The edit names its own sites and does not begin at {site}.", "Leave site out.")
        table = edit if isinstance(edit, AtSites) else as_table(edit, self._chosen(site))
        for where, part in table.pairs:
            sae = self.saes.get(self._chosen(where))
            if sae is None and as_edit(part).residual is None:
                raise no_sae(where, f"{part.label!r} edits latents")
            if sae is not None:
                check_features(as_edit(part).features, sae.d_sae)
        return table

    def _chosen(self, site: SiteLike | None) -> Site:
        site = None if site is None else Site.parse(site)
        if site is None and len(self.sites) == 1:
            return self.sites[0]
        if site not in self.sites:
            missing = "none was named" if site is None else f"it knows nothing of {site}"
            raise SiteError(
                f"The engine has the sites {', '.join(map(str, self.sites))}, and {missing}.",
                "Name one of them, run(..., site=...), or give the engine another: {Site(14, 3): sae}.",
            )
        return site

    def _clean_pass(self, problems: Sequence[Problem], edited: Sequence[Site], progress: Progress | None) -> CleanPass:
        # for components inside a block also the residual before it, from which the block is run again
        bases = [resume_point.base for resume_point in self.resume_points.values() if resume_point.base is not None]
        kept = self.memory_budget * (SHARES - 1) // SHARES
        held = hold_after(self.model, edited, self.later)
        return self._passes.held(self.model, problems, (*self.sites, *bases), budget=kept, held=held, progress=progress)

    def _context_at(self, clean: CleanPass, site: Site) -> SiteContext:
        return SiteContext(self._place(clean, site), clean, self.resume_points[site])

    def _place(self, clean: CleanPass, site: Site) -> SiteState:
        sae, activations = self.saes.get(site), clean.activations[site]
        # Latents are found anew each time: an SAE's weights may have been changed since, and this costs one matmul.
        latents = None if sae is None else sae.encode(activations).dense()  # [n, d_sae]
        return SiteState(site, sae, activations, latents)

    def runner(self, context: SiteContext) -> SuffixRunner:
        """Runs arms that begin at a context's site."""
        return SuffixRunner(self.model, context.clean, context.resume_point, self.max_rows)

    def _capture(self, context: SiteContext) -> Capture:
        """How to find out what arrives at a later site."""
        if self.method == "suffix":
            return self.runner(context).capture
        model, clean, path = self.model, context.clean, self.propagate
        return lambda plans, later: [recapture(model, clean, plan, later, path) for plan in plans]

    def reconstruction(self, context: SiteContext, table: AtSites) -> ArmPlan:
        """What the SAEs alone do at the edit's sites."""
        # splice="replace" whatever the engine's own is: decode(f) in place of x shows what the error term was worth
        unedited = AtSites(tuple((site, Unedited()) for site in table.sites))
        return self.plan_all(context, [unedited], "replace")[0]

    def _matched_controls(self, context: SiteContext, table: AtSites, draws: int, seed: int) -> tuple[ArmPlan, ...]:
        """The same edit on matched random features of each site."""
        if not draws or not (table.features and table.movable):
            return ()
        contexts = [self._context_at(context.clean, site) for site in table.sites]
        return tuple(self.plan_all(context, matched_edits(table, contexts, draws, seed)))

    def _saes_of(self, table: AtSites) -> list[SAE]:
        return [self.saes[site] for site in table.sites if site in self.saes]

    def _warn(self, notes: tuple[str, ...]) -> tuple[str, ...]:
        give(note for note in notes if note not in self._warned)
        self._warned.update(notes)
        return notes


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name}={value!r} does not exist.", f"It is one of {', '.join(known)}.")
