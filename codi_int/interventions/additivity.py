"""Do effects add up? What is done together, minus the sum of what its parts do alone, problem by problem."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codi_int.interventions.continuous import logprob_effect
from codi_int.interventions.families import adjust

RESAMPLES = 9999


@dataclass(frozen=True)
class Interaction:
    """The part of a joint effect that is no sum of its parts, as a mean over problems."""

    estimate: float
    """joint - (sum of the parts)"""
    low: float
    """lower end of its bootstrap interval"""
    high: float
    """upper end"""
    p_value: float | None
    """paired by problem; None where the parts add up on every problem"""
    p_adjusted: float | None
    """Benjamini-Hochberg over the family that was tried"""
    n_departing: int
    """problems on which the parts do not add up"""


def interaction(
    joint: NDArray[np.float64],
    parts: Sequence[NDArray[np.float64]],
    seed: int = 0,
    method: str = "wilcoxon",
    resamples: int = RESAMPLES,
) -> Interaction:
    """Test whether a joint effect is the sum of its parts.

    Args:
        joint: change that the joint edit made, one per problem. [n]
        parts: the same for each part alone. [n] each
        seed: of the resampling.
        method: `wilcoxon` for continuous changes, `permutation` (signs flipped) for changes of right and wrong, whose
            few values tie too often for ranks.
        resamples: draws of the permutation test and of the bootstrap.
    """
    departure = joint - np.sum(parts, axis=0)
    found = logprob_effect(departure, seed=seed, method=method, resamples=resamples)
    departing = int((departure != 0).sum())
    return Interaction(found.estimate, found.low, found.high, found.p_value, None, departing)


def adjust_all(found: Sequence[Interaction]) -> tuple[Interaction, ...]:
    """The same interactions with p-values adjusted over all of them (Benjamini-Hochberg)."""
    adjusted = adjust([one.p_value for one in found], "benjamini-hochberg")
    return tuple(replace(one, p_adjusted=p) for one, p in zip(found, adjusted, strict=True))
