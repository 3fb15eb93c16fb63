"""Arms: what an edit adds to the residual of which problems."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codi_int.errors import ConfigError, HookError
from codi_int.interventions.edits.adapt import as_edit, no_edit
from codi_int.interventions.edits.basic import Edit
from codi_int.interventions.edits.residual import ResidualEdit
from codi_int.model.resume import SiteChange
from codi_int.sae.base import SAE
from codi_int.types import Number, Site, Splice


@dataclass(frozen=True)
class ArmPlan:
    """One arm, as far as it differs from the clean one."""

    label: str
    """what is done"""
    rows: Int[Tensor, " m"]
    """the problems on which it changes anything, in ascending order"""
    changes: tuple[SiteChange, ...]
    """what is done to these rows, [m, d_model] for each site, in the order in which the model reaches the sites"""
    edited: Bool[Tensor, " n"]
    """the problems whose latents the edit changed; fewer than `rows` where the splice itself changes the residual"""

    @property
    def site(self) -> Site:
        """The first site: where a run of the arm begins."""
        return self.changes[0].site

    @property
    def delta(self) -> Float[Tensor, "m d_model"]:
        """What is added at the first site."""
        return self.changes[0].delta

    def of(self, chosen: Tensor) -> "ArmPlan":
        """The same for some of the rows, by a mask or by indices in ascending order."""
        here = chosen.to(self.delta.device)  # rows are kept on the CPU, changes where the model is
        changes = tuple(change.of(here) for change in self.changes)
        return ArmPlan(self.label, self.rows[chosen.cpu()], changes, self.edited)

    @property
    def firing_rate(self) -> float:
        """Share of problems whose latents were changed."""
        return float(self.edited.float().mean())

    @property
    def edit_size(self) -> float:
        """Mean norm of what is added (at all sites together), over the rows; 0 without any."""
        if not len(self.rows):
            return 0.0
        # side by side [m, sites * d_model]: the norm of a row is then that of all its changes together
        return float(torch.cat([change.delta for change in self.changes], 1).float().norm(dim=1).mean())


@dataclass(frozen=True)
class ArmScores:
    """What an arm's rows answered."""

    logprobs: Float[Tensor, " m"]
    """log-probability of the clean answer, in nats"""
    answers: tuple[Number | None, ...]
    """the number answered"""
    changed: Bool[Tensor, " m"]
    """rows that wrote other tokens than the clean arm"""
    rerun: Bool[Tensor, " m"]
    """rows that were too close to call and ran again in one canonical shape"""
    margins: Float[Tensor, " m"]
    """logit of the clean answer's token minus the best other one, the smallest over its tokens"""
    thoughts: Float[Tensor, "m 2"] | None = None
    """cosine of the thought made next with the undisturbed one, and its length as a multiple of it; None where no
    thought follows the site"""


def plan_edit(
    edit: Edit | Any,
    site: Site,
    sae: SAE,
    activations: Float[Tensor, "n d_model"],
    latents: Float[Tensor, "n d_sae"],
    splice: Splice = "add",
    clean: Float[Tensor, "n d_sae"] | None = None,
) -> ArmPlan:
    """What an edit of the latents adds to the residuals.

    With `add` the difference of the two decodings; rows whose latents stay as they are then equal the clean arm exactly
    and are left out. With `replace` the whole way from x to decode(edit(f)).

    Args:
        edit: an object with `label` and `edit(latents)`.
        site: where.
        sae: whose latents.
        activations: of all problems, as they arrive at the site.
        latents: of these activations.
        splice: `add` or `replace`.
        clean: latents of the undisturbed run, where they differ: an edit with `edit_from` takes its values there.

    Raises:
        HookError: for an edit that returns something that latents cannot be.
        ConfigError: for an edit that overflows.
    """
    # [n, d_sae]
    after = edited_latents(edit, latents, clean)
    # Exact, without a tolerance: a row whose bits stay is the clean arm's by proof and need not run, and any other row
    # runs. NaN is unequal to itself, so it counts as touched and meets the check of overflow. [n]
    touched = (after != latents).any(1)
    if splice == "replace":
        # every row, for x - decode(f) is the SAE's error, which is hardly ever 0
        rows = torch.arange(latents.shape[0])
        delta = sae.decode(after).float() - activations.float()
        moved = activations
    else:
        rows = touched.nonzero()[:, 0].cpu()
        # decoding is affine: the difference of two decodings is the decoding of the difference without its bias
        # [m, d_sae] @ [d_sae, d_model]; rounded to the decoder's dtype as `decode` would, but multiplied in float32
        delta = (after[touched] - latents[touched]).to(sae.W_dec.dtype).float() @ sae.W_dec.float()
        moved = activations[touched]
    _check_overflow(edit.label, moved, delta)
    return ArmPlan(edit.label, rows, (SiteChange(site, delta),), touched.cpu())


def plan_residual(
    edit: ResidualEdit | Any,
    site: Site,
    activations: Float[Tensor, "n d_model"],
    clean: Float[Tensor, "n d_model"] | None = None,
) -> ArmPlan:
    """What an edit of the residual itself adds; rows that it leaves as they are equal the clean arm exactly.

    Args:
        edit: an object with `label` and `edit_residual(activations)`.
        site: where.
        activations: of all problems, as they arrive at the site.
        clean: of the undisturbed run, where that differs: an edit with `edit_residual_from` takes its values there.

    Raises:
        HookError: for an edit that returns something that activations cannot be.
        ConfigError: for an edit that overflows.
    """
    given = activations.clone()  # a copy: an edit that works in place must not reach the clean arm
    edit_residual = as_edit(edit).residual
    if edit_residual is None:
        raise no_edit(edit)
    after = edit_residual(given, clean)
    after = _check_shape(edit, after, activations, "activations")
    # exact for the same reason as in `plan_edit`
    touched = (after != activations).any(1)
    # [m, d_model]; float32, for a difference rounded to bfloat16 would not lead from one to the other
    delta = after[touched].float() - activations[touched].float()
    _check_overflow(edit.label, activations[touched], delta)
    change = SiteChange(site, delta, value=after[touched].float())
    return ArmPlan(edit.label, touched.nonzero()[:, 0].cpu(), (change,), touched.cpu())


def merge_plans(plan: ArmPlan, later: ArmPlan) -> ArmPlan:
    """A plan with what another one does at later sites; its rows are the problems that either touches."""
    # `unique` sorts as well, which the binary search of `_spread` needs
    rows = torch.cat([plan.rows, later.rows]).unique()
    # The first site's value is left: a run begins there and adds (see `changes_of`). Where a map begins it lower down
    # (`_begin_at`) it adds there as well.
    owned = [(replace(plan.changes[0], value=None), plan.rows), *((change, plan.rows) for change in plan.changes[1:])]
    if len(later.rows):  # one that touches nothing needs no place
        owned += [(change, later.rows) for change in later.changes]
    changes = tuple(_spread_change(change, own, rows) for change, own in owned)
    return ArmPlan(plan.label, rows, changes, plan.edited | later.edited)


def _spread_change(change: SiteChange, own: Tensor, rows: Tensor) -> SiteChange:
    """A change of the problems `own` as one of the problems `rows`, which does nothing to the others."""
    # NaN is how a change says that a row has no value, and is added to instead; what is added to the others is 0
    value = None if change.value is None else _spread(change.value, own, rows, torch.nan)
    return SiteChange(change.site, _spread(change.delta, own, rows), value)


def _spread(values: Tensor, own: Tensor, rows: Tensor, filling: float = 0.0) -> Tensor:
    """What belongs to the problems `own`, for the problems `rows`; the others have `filling`."""
    out = values.new_full((len(rows), values.shape[1]), filling)
    # `own` is contained in the sorted `rows`, so the search finds each one's very place
    out[torch.searchsorted(rows, own).to(values.device)] = values
    return out


def edited_latents(
    edit: Edit | Any, latents: Float[Tensor, "n d_sae"], clean: Float[Tensor, "n d_sae"] | None = None
) -> Float[Tensor, "n d_sae"]:
    """What the edit makes of the latents; HookError where that is unusable."""
    change = as_edit(edit).latents
    if change is None:
        raise no_edit(edit)
    given = latents.clone()  # a copy: an edit that works in place must not reach the clean arm
    after = change(given, clean)
    return _check_shape(edit, after, latents, "latents")


def _check_shape(edit: Any, out: Any, given: Tensor, what: str) -> Tensor:
    """What an edit returned, in the dtype of what it was given; HookError where it cannot take its place."""
    if not isinstance(out, Tensor) or out.shape != given.shape:
        got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise HookError(
            f"Edit {edit.label!r} returned {got} instead of {what} {tuple(given.shape)}.",
            "Return a tensor of the shape that was given.",
        )
    # the model's own dtype, as a tensor of the user's may have been made in another
    return out.to(given.dtype)


def _check_overflow(label: str, activations: Float[Tensor, "m d_model"], delta: Float[Tensor, "m d_model"]) -> None:
    """ConfigError where the model's norms, which square a residual in float32, would find infinity."""
    if not bool(torch.isfinite((activations.float() + delta).square().sum(1)).all()):
        raise ConfigError(
            f"Edit {label!r} overflows: the edited residual, or its square, is not finite.", "Use a smaller factor."
        )


def check_scores(plan: ArmPlan, scores: ArmScores) -> None:
    """ConfigError where the model's own numbers overflow under an edit."""
    bad = int((~torch.isfinite(scores.logprobs)).sum())
    if bad:
        raise ConfigError(
            f"{plan.label!r} overflows inside the model: on {bad} of {len(plan.rows)} problems no log-probability "
            "of the answer is left.",
            "Use a smaller factor, or load the model as float32.",
        )
