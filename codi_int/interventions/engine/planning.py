"""Planning an edit site by site: at each one, what arrives under the changes before it is encoded and edited.

A plan holds numbers, so whoever runs it needs to know nothing about SAEs or edits. For one site they follow from the
clean pass alone. For several, the rows that earlier sites touched are run up to the next one first; problems that
nothing touched yet have their clean activations there, bit for bit. Each later site costs one more run of those rows,
from the first site up to it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from codi_int.errors import SAEError
from codi_int.interventions.edits.adapt import as_edit
from codi_int.interventions.edits.combined import AtSites
from codi_int.interventions.engine.arms import ArmPlan, merge_plans, plan_edit, plan_residual
from codi_int.interventions.engine.controls import random_directions
from codi_int.sae.base import SAE
from codi_int.types import Site, Splice

Capture = Callable[[Sequence[ArmPlan], Site], list[Tensor]]
"""what arrives at a later site under each plan, for the plan's rows"""


@dataclass(frozen=True)
class SiteState:
    """One site of an edit: its SAE, and what the undisturbed model has there."""

    site: Site
    """where"""
    sae: SAE | None
    """with what; None for a site at which only the residual itself can be edited"""
    activations: Float[Tensor, "n d_model"]
    """of the clean pass"""
    latents: Float[Tensor, "n d_sae"] | None
    """of these activations"""


@dataclass(frozen=True)
class Unedited:
    """Changes nothing; with splice `replace` it leaves what the SAE's reconstruction alone does."""

    label: str = "reconstructed"

    def edit(self, latents: Float[Tensor, "n d_sae"]) -> Float[Tensor, "n d_sae"]:
        """The latents."""
        return latents

    def edit_residual(self, activations: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_model"]:
        """The activations: where no SAE is, there is nothing to reconstruct."""
        return activations


def plan_sites(
    edits: Sequence[AtSites], places: Mapping[Site, SiteState], capture: Capture, splice: Splice = "add"
) -> list[ArmPlan]:
    """Plans of edits that all have the same sites.

    Args:
        edits: the edits.
        places: every one of their sites.
        capture: runs plans up to a later site.
        splice: how edited latents go back into the residual.

    Raises:
        SAEError: for an edit of latents at a site without an SAE.
        HookError, ConfigError: for an edit that returns something unusable or overflows.
    """
    # all edits have the same sites, in the order in which the model reaches them
    first, *later = edits[0].sites
    # the clean activations arrive at the first site, whatever is done at the later ones
    plans = [plan_state(edit.parts[0], places[first], splice=splice) for edit in edits]
    for i, site in enumerate(later, 1):
        # [m, d_model] for each plan; all plans together, so that their rows share batches
        arrived = capture(plans, site)
        found = [
            plan_state(edit.parts[i], places[site], update_state(places[site], plan, x), splice)
            for edit, plan, x in zip(edits, plans, arrived, strict=True)
        ]
        # From here on a plan's rows are those that any site so far touches, and the next capture runs all of them.
        plans = [merge_plans(plan, more) for plan, more in zip(plans, found, strict=True)]
    # merging keeps the label of the first site's part; the whole edit's names all of them
    return [replace(plan, label=edit.label) for edit, plan in zip(edits, plans, strict=True)]


def plan_state(edit: Any, clean: SiteState, now: SiteState | None = None, splice: Splice = "add") -> ArmPlan:
    """What an edit adds at one site, of latents where it can and an SAE is there, else of the residual.

    Args:
        edit: the edit.
        clean: the site in the undisturbed run.
        now: the site as earlier changes have left it; default clean.
        splice: how edited latents go back into the residual.

    Raises:
        SAEError: for an edit of latents at a site without an SAE.
    """
    now = now or clean
    found = as_edit(edit)
    # An object that can do both edits latents where there are some: that is what an SAE at the site was given for.
    if found.latents is not None and now.sae is not None and now.latents is not None:
        return plan_edit(
            edit,
            now.site,
            now.sae,
            activations=now.activations,
            latents=now.latents,
            splice=splice,
            clean=clean.latents,
        )
    if found.residual is not None:
        return plan_residual(edit, now.site, now.activations, clean.activations)
    raise no_sae(now.site, f"{edit.label!r} edits latents")


def no_sae(site: Site, why: str) -> SAEError:
    """The error for a site that needs an SAE and has none."""
    return SAEError(
        f"There is no SAE at {site}, and {why}.",
        f"Give the engine one, {{Site.parse('{site}'): sae}}, or edit the residual itself.",
    )


def update_state(place: SiteState, plan: ArmPlan, arrived: Float[Tensor, "m d_model"]) -> SiteState:
    """A site as the changes of a plan have left it: its own rows as they arrived, all others clean."""
    if not len(plan.rows):
        return place
    # Only the rows that the plan touches have been run. All others hold the clean pass's own bits, so an edit that
    # leaves them alone finds exact equality there, and they need not run.
    rows = plan.rows.to(arrived.device)
    activations = place.activations.clone()
    activations[rows] = arrived
    if place.sae is None or place.latents is None:
        return SiteState(place.site, None, activations, None)
    latents = place.latents.clone()
    # encoded row by row, so the latents of the other rows would come out the same and are kept. [m, d_sae]
    latents[rows] = place.sae.encode(arrived).dense()
    return SiteState(place.site, place.sae, activations, latents)


def draw_directions(arm: ArmPlan, draws: int, seed: int) -> tuple[ArmPlan, ...]:
    """Arms that move the same problems as far as `arm` does at each of its sites, along random directions."""
    plans = random_directions(arm, draws, seed)
    for i, later in enumerate(arm.changes[1:], 1):
        at_site = ArmPlan(arm.label, arm.rows, (later,), arm.edited)
        # Sites draw from seeds far apart: with seed + i, site 1 of this seed would draw what site 0 of the next one
        # does.
        more = random_directions(at_site, draws, seed + 1_000_003 * i)
        plans = tuple(merge_plans(plan, other) for plan, other in zip(plans, more, strict=True))
    return plans
