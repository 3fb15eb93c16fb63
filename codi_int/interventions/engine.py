"""The intervention engine: one edit of a continuous thought on many problems, with its evidence."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.errors import ConfigError, SiteError
from codi_int.interventions.arms import ArmPlan, ArmScores, Splice, plan_edit, plan_reconstruction
from codi_int.interventions.clean import MEMORY_BUDGET, CleanPass, Progress, run_clean
from codi_int.interventions.controls import check_draws, feature_stats, matched_features, random_directions
from codi_int.interventions.edits import Edit, MovableEdit, check_features
from codi_int.interventions.environment import describe_environment
from codi_int.interventions.landing import Landing, Propagate, make_landing
from codi_int.interventions.naive import rerun_close, rerun_plan
from codi_int.interventions.statistics import untested
from codi_int.interventions.suffix import MAX_ROWS, SuffixRunner
from codi_int.interventions.summary import arm_outcomes, control_set, effect_between, operation_rows, summarize_arm
from codi_int.interventions.verdicts import dead_verdict
from codi_int.model.hooked import CodiModel
from codi_int.sae.base import SAE, check_fits
from codi_int.types import ControlSet, Effect, Experiment, Outcome, Problem, Result, RunCounts, Site

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Scene:
    """An edit's surroundings: everything that does not depend on which features it names."""

    site: Site
    """where"""
    sae: SAE
    """with what"""
    clean: CleanPass
    """the undisturbed model"""
    activations: Float[Tensor, "n d_model"]
    """at the site"""
    latents: Float[Tensor, "n d_sae"]
    """of those activations"""
    landing: Landing
    """how changes go on from the site"""


class FeatureInterventionEngine:
    """Edits SAE features inside the continuous thoughts of a model and measures what becomes of the answers.

    The clean pass over a set of problems is kept: later runs on the same problems only pay for what they change.
    """

    def __init__(
        self,
        model: CodiModel,
        saes: Mapping[Site, SAE],
        splice: str = "add",
        propagate: str = "both",
        memory_budget: int = MEMORY_BUDGET,
        max_rows: int = MAX_ROWS,
        method: str = "suffix",
    ) -> None:
        """
        Args:
            model: the model.
            saes: the SAE of every site that edits may name.
            splice: `add` adds decode(edit(f)) - decode(f) and so keeps the SAE's error; `replace` puts decode(edit(f))
                in place of the residual.
            propagate: by which roads an edit may reach the answer: `both`, `cache` or `recurrence`.
            memory_budget: bytes of keys and values that the clean pass may keep.
            max_rows: how many (edit, problem) rows run together.
            method: `suffix` runs only what comes after the site; `naive` runs the whole model for every edit.

        Raises:
            SAEError: for an SAE that was made for another site, width or model.
            SiteError: for a site that the model does not have.
            ConfigError: for a choice that does not exist, or roads on which no edit can reach the answer.
        """
        _one_of("splice", splice, ("add", "replace"))
        _one_of("method", method, ("suffix", "naive"))
        if not saes:
            raise ConfigError("The engine has no SAE.", "Give a table of sites and SAEs: {Site(14, 3): sae}.")
        if max_rows < 1 or memory_budget < 0:
            raise ConfigError(f"max_rows={max_rows} and memory_budget={memory_budget} leave no room for a single row.")
        self.landings = {site: make_landing(model, site, propagate) for site in saes}
        for site, sae in saes.items():
            check_fits(sae, model, site)
        self.model, self.saes = model, dict(saes)
        self.splice, self.propagate = cast(Splice, splice), cast(Propagate, propagate)
        self.memory_budget, self.max_rows, self.method = memory_budget, max_rows, method
        self._clean: CleanPass | None = None

    @torch.no_grad()
    def run(
        self,
        edit: Edit | Any,
        problems: Sequence[Problem],
        seed: int = 0,
        controls: int = 20,
        site: Site | None = None,
        data: str | None = None,
        sae_name: str | None = None,
        progress: Progress | None = None,
        directions: int = 0,
    ) -> Result:
        """Do one edit on all problems, with its controls.

        Args:
            edit: what to do to the latents; `Ablate`, `Amplify`, `Swap`, or an object of your own with `label` and
                `edit(latents)`.
            problems: on which problems.
            seed: of the controls and the resampling.
            controls: how many matched random features get the same edit; 0 for none.
            site: which of the engine's sites; may be left out where it has one.
            data: what to call the problems in the result.
            sae_name: what to call the SAE in the result.
            progress: called with (stage, done, total).
            directions: how many random directions move the same problems as far, as controls that know no SAE.

        Raises:
            FeatureError: for a feature that the SAE does not have.
            HookError: for an edit that returns something unusable.
            ConfigError: for an edit that overflows.
        """
        started = time.perf_counter()
        self._check_request(edit, site, controls, directions)
        scene = self.scene(problems, site, progress)
        arm = self.plan(scene, edit)
        reconstruction = plan_reconstruction(scene.sae, scene.activations, scene.latents)
        alive = bool(arm.edited.any())
        rivals = self._control_plans(scene, edit, controls, seed) if alive else []
        strays = random_directions(arm, directions, seed) if alive else ()
        plans = [arm, reconstruction, *rivals, *strays]
        scores = self.score(scene, plans, progress)
        outcomes = self._outcomes(scene, plans, scores)
        effect = self._effect(scene, edit, arm, outcomes, seed)
        return Result(
            experiment=self._experiment(edit, scene, seed, data, sae_name),
            arms={name: summarize_arm(arm_outcome) for name, arm_outcome in outcomes.items()},
            effect=effect,
            controls=_controls(
                scene, {"random_features": len(rivals), "random_directions": len(strays)}, plans[2:], scores[2:], effect
            ),
            by_operation=operation_rows(scene.clean.problems, outcomes["clean"], outcomes["intervened"]),
            environment=describe_environment(
                self.model, scene.sae, scene.clean.problems, time.perf_counter() - started
            ),
            counts=count_work(scene, plans, scores),
            outcomes=outcomes,
            notes=_notes(self.splice, edit, rivals, controls),
        )

    @torch.no_grad()
    def scene(self, problems: Sequence[Problem], site: Site | None = None, progress: Progress | None = None) -> Scene:
        """The clean pass over some problems, made or taken from the last run, and the latents at a site."""
        site = self._chosen(site)
        clean, sae = self._clean_pass(problems, progress), self.saes[site]
        activations = clean.activations[site]
        latents = sae.encode(activations).dense()
        return Scene(site, sae, clean, activations, latents, self.landings[site])

    def score(self, scene: Scene, plans: Sequence[ArmPlan], progress: Progress | None = None) -> list[ArmScores]:
        """What every row of some arms answers."""
        if self.method == "naive":
            return [rerun_plan(self.model, scene.clean, scene.site, plan, self.propagate) for plan in plans]
        runner = SuffixRunner(self.model, scene.clean, scene.landing, self.max_rows)
        tell = (lambda done, total: progress("edited passes", done, total)) if progress else None
        scores = runner.run(plans, tell)
        return rerun_close(self.model, scene.clean, scene.site, plans, scores, self.propagate)

    def _check_request(self, edit: Edit | Any, site: Site | None, *draws: int) -> None:
        """Before the clean pass: nobody should wait to be told of a slip of the finger."""
        chosen = self._chosen(site)
        if isinstance(edit, MovableEdit):
            check_features(edit.features, self.saes[chosen].d_sae)
        for number in draws:
            check_draws(number)

    @torch.no_grad()
    def plan(self, scene: Scene, edit: Edit | Any) -> ArmPlan:
        """What an edit adds to which problems of a scene."""
        return plan_edit(edit, scene.sae, scene.activations, scene.latents, self.splice)

    def _chosen(self, site: Site | None) -> Site:
        if site is None and len(self.saes) == 1:
            return next(iter(self.saes))
        if site not in self.saes:
            known = ", ".join(map(str, self.saes))
            raise SiteError(
                f"The engine has SAEs at {known}, and not at {site}.", "Name one of them: run(..., site=...)."
            )
        return site

    def _clean_pass(self, problems: Sequence[Problem], progress: Progress | None) -> CleanPass:
        if self._clean is None or self._clean.problems != tuple(problems):
            bases = [landing.base for landing in self.landings.values() if landing.base is not None]
            sites = tuple(dict.fromkeys((*self.saes, *bases)))
            self._clean = run_clean(self.model, problems, sites, self.memory_budget, progress)
        return self._clean

    def _control_plans(self, scene: Scene, edit: Edit, draws: int, seed: int) -> list[ArmPlan]:
        if not isinstance(edit, MovableEdit):
            return []
        stats = feature_stats(scene.latents, scene.sae.W_dec.float().norm(dim=1))
        drawn = matched_features(stats, edit.features, draws, seed)
        return [self.plan(scene, edit.moved_to(features)) for features in drawn]

    def _outcomes(
        self, scene: Scene, plans: Sequence[ArmPlan], scores: Sequence[ArmScores]
    ) -> dict[str, tuple[Outcome, ...]]:
        return {
            "clean": scene.clean.outcomes,
            "reconstructed": arm_outcomes(scene.clean, plans[1], scores[1]),
            "intervened": arm_outcomes(scene.clean, plans[0], scores[0]),
        }

    def _effect(
        self, scene: Scene, edit: Edit, arm: ArmPlan, outcomes: Mapping[str, tuple[Outcome, ...]], seed: int
    ) -> Effect:
        if bool(arm.edited.any()):
            return effect_between(outcomes["clean"], outcomes["intervened"], seed)
        return untested(len(scene.clean.problems), CONFIDENCE, dead_verdict(edit, len(scene.clean.problems)))

    def _experiment(self, edit: Edit, scene: Scene, seed: int, data: str | None, sae_name: str | None) -> Experiment:
        factor = getattr(edit, "factor", None)
        return Experiment(
            kind=edit_kind(edit),
            features=tuple(getattr(edit, "features", ())),
            site=scene.site,
            mode=getattr(edit, "mode", None),
            factor=None if factor is None else float(factor),
            splice=self.splice,
            propagate=self.propagate,
            model=self.model.name,
            sae=sae_name or _name_of(scene.sae),
            data=data or str(getattr(scene.clean.problems, "name", "unnamed")),
            n_problems=len(scene.clean.problems),
            seed=seed,
            label=edit.label,
        )


def edit_kind(edit: Edit) -> str:
    """`ablate`, `amplify`, `swap`, or the class name of an edit of one's own."""
    return str(getattr(edit, "kind", type(edit).__name__.lower()))


def count_work(scene: Scene, plans: Sequence[ArmPlan], scores: Sequence[ArmScores]) -> RunCounts:
    """What was run and what was not."""
    pairs, rows = len(plans) * len(scene.clean.problems), sum(len(plan.rows) for plan in plans)
    changed, rerun = (sum(int(getattr(score, name).sum()) for score in scores) for name in ("changed", "rerun"))
    return RunCounts(pairs=pairs, skipped=pairs - rows, suffix_rows=rows, decoded=changed, rerun=rerun)


def _controls(
    scene: Scene, sizes: Mapping[str, int], plans: Sequence[ArmPlan], scores: Sequence[ArmScores], effect: Effect
) -> dict[str, ControlSet]:
    """The control sets, whose plans stand one set after the other."""
    out, start = {}, 0
    for name, size in sizes.items():
        part = slice(start, start + size)
        if size:
            out[name] = control_set(scene.clean, plans[part], scores[part], effect)
        start = part.stop
    return out


def _notes(splice: Splice, edit: Edit, rivals: Sequence[ArmPlan], asked: int) -> tuple[str, ...]:
    notes = []
    if splice == "replace":
        notes.append(
            "splice=replace: the effect includes what the SAE's reconstruction costs; see the reconstructed arm."
        )
    if asked and not isinstance(edit, MovableEdit):
        notes.append("No random-feature controls: the edit has no moved_to(features).")
    elif 0 < len(rivals) < asked:
        notes.append(f"Only {len(rivals)} of {asked} controls: the SAE has too few other living features.")
    return tuple(notes)


def _name_of(sae: SAE) -> str:
    known = sae.config.provenance
    return f"{known.model}/{known.site}" if known.model and known.site else "unnamed"


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name}={value!r} does not exist.", f"It is one of {', '.join(known)}.")
