"""One edit by both paths and by each alone: how much of its effect goes by the cache, how much by the recurrence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from codi_int.errors import ConfigError
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.describe import later_note
from codi_int.interventions.engine.engine import AnyEdit, FeatureInterventionEngine
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.evidence.compare import conclude_effect, effect_of
from codi_int.interventions.evidence.conclusions import Findings, conclude
from codi_int.interventions.evidence.equivalence import BOUND, check_bound
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.flips import is_testable
from codi_int.interventions.evidence.verdicts import Tested, likelihood_p
from codi_int.interventions.screens.additivity import (
    MOST,
    Interaction,
    departure_equivalence,
    departure_of,
    measure_interaction,
)
from codi_int.interventions.screens.changes import ArmChange, arm_change
from codi_int.interventions.screens.names import take_names
from codi_int.model.resume import make_resume_point
from codi_int.progress import Progress
from codi_int.records import Alias, Conclusion, flatten
from codi_int.shown import Finding
from codi_int.types import Effect, Problem, Site

PATHS = ("both", "cache", "recurrence")


@dataclass(frozen=True, repr=False)
class EffectByPath(Finding):
    """An edit's effect, taken apart by the way it reaches the answer."""

    label: str
    """the edit in words"""
    site: Site
    """where"""
    both: Effect
    """by both paths, as everywhere else"""
    cache: Effect
    """through the keys and values that later positions read, the next thought being left clean"""
    recurrence: Effect
    """through the next thought, the keys and values being left clean"""
    interaction: Interaction
    """change of accuracy by both paths minus (by the cache + by the recurrence)"""
    interaction_logprob: Interaction
    """the same in nats of the clean answer's log-probability"""
    additivity: Conclusion | None = None
    """whether accuracy departs from the sum of the paths: `changed`, `equivalent` (within the bound), `untested` or
    `unresolved`; None in runs kept before there was such a word"""
    bound: float | None = None
    """the smallest change, or departure, that matters, declared beforehand"""
    notes: tuple[str, ...] = ()
    """what a reader should know besides: warnings, in words"""
    model: str = ""
    """whose thoughts"""
    sae: str = ""
    """name of the SAE"""
    data: str = ""
    """name of the problems"""
    n_problems: int = 0
    """how many"""
    seed: int = 0
    """of the resampling"""

    # documents and earlier programs know the interaction as what is left, the `rest`
    rest = Alias[Interaction]("interaction")
    rest_logprob = Alias[Interaction]("interaction_logprob")

    columns = (
        *("label", "site", "both", "cache", "recurrence", "rest", "rest_logprob", "additivity", "bound", "notes"),
        *("model", "sae", "data", "n_problems", "seed"),
    )
    schema = "codi-int/roads@1"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": self.schema, **flatten(self)}


def split_effect(
    engine: FeatureInterventionEngine,
    edit: AnyEdit,
    problems: Sequence[Problem],
    seed: int = 0,
    site: Site | None = None,
    progress: Progress | None = None,
    bound: float | int = BOUND,
) -> EffectByPath:
    """Do one edit three times, each time with other paths open, on one clean pass.

    Args:
        engine: model, SAE and splice; its own `propagate` is not used.
        edit: of one site.
        problems: on which problems.
        seed: of the resampling.
        site: which of the engine's sites; may be left out where it has one.
        progress: called with (stage, done, total).
        bound: the smallest change of accuracy that matters, declared beforehand.

    Raises:
        ConfigError: for a bound outside (0, 0.5], a site from which only one path leads, an edit that changes nothing
            on these problems, or one of several sites.
    """
    check_bound(bound)
    context = engine.site_context(problems, site, progress)
    # raises where a path is closed, before anything runs: a part that is 0 by construction would make the interaction
    # the effect itself
    for path in PATHS[1:]:
        make_resume_point(engine.model, context.site, path)
    arm = engine.plan(context, edit)
    if len(arm.changes) > 1:
        raise ConfigError(
            "Paths are told apart for one site at a time; this edit has several.", "Give the edit of one site."
        )
    if not bool(arm.edited.any()):
        raise ConfigError(
            f"{arm.label!r} changes nothing on these problems: there is no effect to take apart.",
            "Give problems on which the edited features fire.",
        )
    notes = (*engine.warn_at(context, [context.site]), *later_note(context, engine.later))
    names = take_names({}, problems, engine.saes)
    # Three runs of one plan on one clean pass, so their changes pair problem by problem and only the path differs.
    changes = {path: _measure_path(engine, context, arm, path) for path in PATHS}
    # "both" is the joint edit, the two single paths are its parts
    joint, parts = changes["both"], [changes[path] for path in PATHS[1:]]
    # with `replace` each path has a baseline of its own, and a departure may be as large as three changes together
    most = 3 if engine.splice == "replace" else MOST
    found = _Family.of(
        {path: effect_of(change, seed, bound=bound, condition=context.condition) for path, change in changes.items()},
        departure_of(joint, parts),
        seed=seed,
        bound=float(bound),
        most=most,
    )
    return EffectByPath(
        label=arm.label,
        site=context.site,
        interaction=found.interaction,
        interaction_logprob=found.interaction_logprob,
        additivity=found.additivity,
        bound=float(bound),
        notes=notes,
        model=engine.model.name,
        sae=names.saes[context.site],
        data=names.data,
        n_problems=len(problems),
        seed=seed,
        **found.effects,
    )


@dataclass(frozen=True)
class _Family:
    """Everything that a split looks at, corrected together (Holm): three effects, and their departure."""

    effects: dict[str, Effect]
    interaction: Interaction
    interaction_logprob: Interaction
    additivity: Conclusion

    @classmethod
    def of(cls, effects: dict[str, Effect], departure: ArmChange, seed: int, bound: float, most: int) -> "_Family":
        accuracy = measure_interaction(departure.accuracy, "accuracy", departure.clusters, most=most)
        logprob = measure_interaction(departure.logprob, "logprob", departure.clusters, seed)
        (p_equivalence,) = departure_equivalence([departure.accuracy], bound, departure.clusters, most)
        testable = is_testable(departure.touched, departure.groups)
        # parts that could have failed to add up and did not anywhere are tested, too
        p_departure = (1.0 if accuracy.p_value is None else accuracy.p_value) if testable else None
        tested = [None if one.testable is False else one.p_value for one in effects.values()]
        changes = adjust([*tested, p_departure])
        equivalences = adjust([*(one.p_equivalence for one in effects.values()), p_equivalence])
        likelihoods = adjust([*(likelihood_p(one) for one in effects.values()), logprob.p_value])
        n_tests, n_paths = (max(sum(p is not None for p in ps), 1) for ps in (changes, equivalences))
        corrected = [
            Tested(
                p_change=p,
                p_equivalence=q,
                n_tests=n_tests,
                p_likelihood=r,
                n_edits=n_paths,
                what="paths and their interaction",
            )
            for p, q, r in zip(changes, equivalences, likelihoods, strict=True)
        ]
        concluded = {
            path: conclude_effect(effect, tested)
            for (path, effect), tested in zip(effects.items(), corrected, strict=False)
        }
        findings = Findings(changes[-1], equivalences[-1], testable=testable)
        return cls(
            effects=concluded,
            interaction=Interaction(
                departure=replace(accuracy.departure, p_value=p_departure, p_adjusted=changes[-1]),
                n_departing=accuracy.n_departing,
                p_equivalence=p_equivalence,
                p_equivalence_adjusted=equivalences[-1],
            ),
            interaction_logprob=replace(logprob, departure=replace(logprob.departure, p_adjusted=likelihoods[-1])),
            additivity=conclude(findings).conclusion,
        )


@torch.no_grad()
def _measure_path(engine: FeatureInterventionEngine, context: SiteContext, arm: ArmPlan, path: str) -> ArmChange:
    """What the arm changes with only this path open; the plan and the clean pass are the same for every path."""
    # the resume point alone decides which path is open
    open_here = replace(context, resume_point=make_resume_point(engine.model, context.site, path))
    return arm_change(context.clean, arm, engine.score(open_here, [arm])[0], engine.baseline(open_here))
