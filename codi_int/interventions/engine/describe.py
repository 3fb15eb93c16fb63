"""The words and names of a result: what was done, with which SAEs, and what a reader should know besides."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from codi_int.interventions.edits.adapt import as_edit
from codi_int.interventions.edits.combined import AtSites
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.clean import CleanPass
from codi_int.interventions.engine.planning import SiteState
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.evidence.controlled import CALIPER
from codi_int.notes import idle_edit_note, sae_notes
from codi_int.sae.base import SAE
from codi_int.sae.metrics import explained_variance
from codi_int.types import Arm, Experiment, Later, Propagate, Site, Splice

ALIVE_NAMED = 5
"""features that the note on a dead one names"""
LARGE = 100.0
"""an edit so many times longer than the residual itself leaves little of it"""


@dataclass(frozen=True)
class Settings:
    """How an engine runs an edit, as far as a record names it."""

    model: str
    """name of the model"""
    splice: Splice
    """how edited latents go back into the residual"""
    propagate: Propagate
    """by which paths the edit may reach the answer"""
    later: Later
    """what later positions do"""
    seed: int
    """of everything random"""


def describe_experiment(
    edit: Any, context: SiteContext, settings: Settings, sites: tuple[Site, ...], sae: str, data: str
) -> Experiment:
    """What was done, in full.

    Args:
        edit: the edit.
        context: where it begins, on which problems.
        settings: how it was run.
        sites: all that it changes.
        sae: name of the SAEs.
        data: name of the problems.
    """
    found = as_edit(edit)
    return Experiment(
        kind=found.kind,
        features=found.features,
        site=context.site,
        mode=found.mode,
        factor=None if found.factor is None else float(found.factor),
        splice=settings.splice,
        propagate=settings.propagate,
        model=settings.model,
        sae=sae,
        data=data,
        n_problems=len(context.clean.problems),
        seed=settings.seed,
        label=found.label,
        sites=sites,
        later=settings.later,
    )


def later_note(context: SiteContext, later: Later) -> tuple[str, ...]:
    """What later positions did, where they were not free, and what the baseline then is."""
    if later == "free":
        return ()
    found, clean = context.clean.background, context.clean
    if found is None:
        what = f"later={later} has nothing to hold and changes nothing"
        return (f"Nothing later reads a position of this layer behind {context.site}: {what}.",)
    if later == "clean":
        return (f"{found.held.words} in every arm: what reaches the answer does so past these positions.",)
    right, n = sum(outcome.correct for outcome in clean.outcomes), len(clean.problems)
    return (
        f"{found.held.words} in every arm, the one called clean as well. That one is right on {right:,} of {n:,}, the "
        f"undisturbed model on {found.n_correct:,}; the clean answer is the one that it gives.",
    )


def name_of_saes(saes: Mapping[Site, SAE | None]) -> str:
    """Where the SAEs come from, as far as they know."""
    names = [sae.name for sae in saes.values() if sae is not None]
    # each name once, in the order of the sites (a set would shuffle them)
    return " + ".join(dict.fromkeys(names)) or "none"


def notes_on(
    context: SiteContext, edit: AtSites, saes: Mapping[Site, SAE], arm: ArmPlan, splice: Splice
) -> tuple[str, ...]:
    """What a reader should know about an edit and its arms.

    Args:
        context: where it begins.
        edit: the edit, with its sites.
        saes: by site; a site of the edit may have none.
        arm: what it adds.
        splice: how edited latents go back into the residual.
    """
    residual_norm = float(context.activations.float().norm(dim=1).mean())
    # where latents were asked for and nothing moved, the next question is which features would move something
    idle = edit.features and not bool(arm.edited.any())
    memory = memory_note(context.clean)
    notes = [*alive_note(context.site, context.place.latents)] if idle else []
    if splice == "replace" and any(site in saes for site in edit.sites):
        notes.append(
            "splice=replace: the effect is against the reconstructed arm; what that itself costs is no part of it."
        )
    if len(edit.sites) > 1:
        notes.append("Several sites: at each, the edit gets what arrives there under the edits before it.")
    if bare := [str(site) for site in edit.sites if site not in saes]:
        notes.append(f"No SAE at {', '.join(bare)}: there the reconstructed arm is the clean one.")
    # such an edit shows what noise does, whatever its features mean
    if arm.edit_size > LARGE * residual_norm:
        notes.append(f"The edit is {arm.edit_size / residual_norm:.2g} times as long as the residual that it changes.")
    return (*notes, memory) if memory else tuple(notes)


def doubts(places: Sequence[SiteState]) -> tuple[str, ...]:
    """What casts doubt on anything that is measured with the SAEs of these sites."""
    return tuple(note for place in places for note in sae_notes(f"at {place.site}", _explained(place), None))


def doubts_after(
    edit: Any, table: AtSites, saes: Mapping[Site, SAE], arm: ArmPlan, arms: Mapping[str, Arm]
) -> tuple[str, ...]:
    """What casts doubt on a result, once it has run: what the reconstruction cost, an edit that does nothing."""
    where = f"at {', '.join(str(site) for site in table.sites if site in saes)}"
    notes = sae_notes(where, None, (arms["clean"].accuracy, arms["reconstructed"].accuracy))
    # where features are dead, the verdict says so
    idle = not bool(arm.edited.any()) and not as_edit(edit).features
    return (*notes, idle_edit_note(arm.label, len(arm.edited))) if idle else notes


def _explained(place: SiteState) -> float | None:
    """Share of the variance at a site that its SAE explains there; None where there is no SAE, or no variance."""
    if place.sae is None or place.latents is None or len(place.activations) < 2:
        return None
    x = place.activations.float()
    if float(x.var()) == 0.0:
        return None
    return explained_variance(x, x - place.sae.decode(place.latents).float())


def controls_note(edit: AtSites, arm: ArmPlan, plans: Sequence[ArmPlan], asked: int) -> tuple[str, ...]:
    """Why there are fewer random-feature controls than were asked for, and how many of them are not like the edit."""
    # two reasons, told apart: the edit cannot move, or the SAE has nowhere to move it to
    if asked and not (edit.features and edit.movable):
        return ("No random-feature controls: the edit has no features, or no moved_to(features).",)
    notes = []
    if len(plans) < asked:
        notes.append(f"Only {len(plans)} of {asked} controls: the SAE has too few other features that are alive.")
    alike = sum(_alike(plan, arm) for plan in plans)
    if alike < len(plans):
        notes.append(
            f"{alike} of {len(plans)} controls touch as many problems and move the residual as far as the edit, within "
            f"a factor of {math.exp(CALIPER):.1f}; the others are the nearest that there are."
        )
    return tuple(notes)


def _alike(plan: ArmPlan, arm: ArmPlan) -> bool:
    """Whether a control is within the caliper."""
    pairs = ((plan.firing_rate, arm.firing_rate), (plan.edit_size, arm.edit_size))
    return all(min(pair) > 0 and abs(math.log(pair[0] / pair[1])) <= CALIPER + 1e-6 for pair in pairs)


def alive_note(site: Site, latents: Float[Tensor, "n d_sae"] | None) -> tuple[str, ...]:
    """Features of a site that fire, the most frequent first, for whoever asked for one that does not.

    Args:
        site: which site.
        latents: of all problems of the run; None where there is no SAE.
    """
    if latents is None:
        return ()
    rates = (latents != 0).float().mean(0)
    alive = [feature for feature in rates.argsort(descending=True, stable=True).tolist() if rates[feature] > 0]
    if not alive:
        return (f"No feature is alive at {site}: the SAE does nothing on these problems.",)
    shown, more = alive[:ALIVE_NAMED], len(alive) - ALIVE_NAMED
    named = ", ".join(map(str, shown)) + (f" and {more:,} more" if more > 0 else "")
    where = "" if site.layer is None else f" --layer {site.layer} --position {site.position}"
    return (f"Alive at {site}, the most frequent first: {named}. `codi-int features rank{where}` lists them.",)


def memory_note(clean: CleanPass) -> str:
    """What the memory budget cost; empty where it cost nothing."""
    kept, total = clean.rollouts.n_kept, len(clean.batches)
    if kept == total:
        return ""
    return f"The memory budget keeps {kept} of {total} batches of the clean pass; the others run again when needed."
