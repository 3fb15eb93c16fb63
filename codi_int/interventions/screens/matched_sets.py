"""Random sets of features that take as much out of the residual as a given set does.

The first features of a ranking fire often and strongly. As many random ones fire less and move less, so that anything
looks strong beside them; these are matched on what is removed: latents per problem, and the norm of their part of the
residual.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.evidence.controlled import CALIPER

TRIES = 8
"""random orders that are looked at for each set that is asked for"""


@dataclass(frozen=True)
class Removed:
    """What ablating a set takes out."""

    latents: float
    """latents that are not zero, mean over the problems"""
    norm: float
    """norm of their part of the residual, mean over the problems"""


@dataclass(frozen=True)
class FeatureSet:
    """Some features and what they take out."""

    features: tuple[int, ...]
    """in ascending order"""
    removed: Removed
    """together"""


def removed_by(context: SiteContext, features: Sequence[int]) -> Removed:
    """What ablating some features takes out of the residual of a context."""
    chosen = list(features)
    latents: Float[Tensor, "n k"] = context.latents[:, chosen].float()
    part = latents @ context.sae.W_dec[chosen].detach().float()  # [n, d_model]
    return Removed(float((latents != 0).sum(1).float().mean()), float(part.norm(dim=1).mean()))


def match_sets(
    context: SiteContext, features: Sequence[int], living: Sequence[int], draws: int, seed: int = 0
) -> tuple[FeatureSet, ...]:
    """Random sets of living features that remove as many latents and as much norm as `features` do.

    A random order is cut where its features remove as many latents; of several such sets the `draws` nearest in both
    are taken, in random order. They may be far off where nothing nearer exists: `is_near` says which. Where there is no
    other set at all, as for all of the features, `features` itself comes back.

    Args:
        context: latents and SAE.
        features: the set to be matched.
        living: what may be drawn; some of `features` may be among them, for a large set leaves few others.
        draws: how many.
        seed: of the orders.
    """
    own = removed_by(context, features)
    generator = np.random.default_rng([seed, len(features)])
    rates = (context.latents[:, list(living)] != 0).float().mean(0).cpu().double().numpy()
    same = tuple(sorted(features))
    found: dict[tuple[int, ...], FeatureSet] = {}
    for _ in range(TRIES * draws):
        order = generator.permutation(len(living))
        # sums of firing rates are latents per problem, so the cut is known without a product
        many = np.cumsum(rates[order])
        size = int(np.abs(np.log(many) - np.log(max(own.latents, 1e-12))).argmin()) + 1
        chosen = tuple(sorted(living[i] for i in order[:size]))
        if chosen != same and chosen not in found:
            found[chosen] = FeatureSet(chosen, removed_by(context, chosen))
    nearest = sorted(found.values(), key=lambda one: _distance(one.removed, own))[:draws]
    if not nearest:
        return (FeatureSet(same, own),)
    # drawn anew, so that the first of them is not the nearest
    return tuple(nearest[i] for i in generator.permutation(len(nearest)))


def is_near(one: Removed, other: Removed) -> bool:
    """Whether both lie within the caliper of controls: a factor of one and a half."""
    return _distance(one, other) <= CALIPER + 1e-12


def _distance(one: Removed, other: Removed) -> float:
    """The larger of the two differences of logs."""
    pairs = ((one.latents, other.latents), (one.norm, other.norm))
    return max(abs(float(np.log(max(a, 1e-12) / max(b, 1e-12)))) for a, b in pairs)


@torch.no_grad()
def median_removed(sets: Sequence[FeatureSet]) -> Removed | None:
    """Medians over sets; None without any."""
    if not sets:
        return None
    return Removed(*(float(np.median([getattr(one.removed, name) for one in sets])) for name in ("latents", "norm")))
