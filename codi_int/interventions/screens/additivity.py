"""Do effects add up? What is done together, minus the sum of what its parts do alone, problem by problem."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codi_int.interventions.evidence.continuous import logprob_effect
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.screens.changes import ArmChange, measure_change
from codi_int.types import Site

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


@dataclass(frozen=True)
class PairRow:
    """What taking out two features together did, beside what each of them did alone."""

    site: Site
    """where"""
    a: int
    """one feature"""
    b: int
    """the other one"""
    n_touched: int
    """problems on which at least one of them fires"""
    n_both: int
    """problems on which both fire; elsewhere the joint effect is that of the one that does"""
    n_broken: int
    """right before, wrong with both out"""
    n_fixed: int
    """wrong before, right with both out"""
    n_answer_changed: int
    """problems that got another answer"""
    estimate: float
    """change of accuracy with both out"""
    low: float
    """lower end of its interval"""
    high: float
    """upper end of its interval"""
    p_value: float | None
    """exact McNemar; None where neither fires"""
    estimate_a: float
    """change of accuracy with only the first one out"""
    estimate_b: float
    """change of accuracy with only the second one out"""
    logprob: float
    """mean change of the clean answer's log-probability with both out, nats"""
    logprob_low: float
    """lower end of its interval"""
    logprob_high: float
    """upper end of its interval"""
    logprob_a: float
    """the same with only the first one out"""
    logprob_b: float
    """the same with only the second one out"""
    interaction: Interaction
    """of accuracy"""
    interaction_logprob: Interaction
    """of the log-probability"""


def pair_row(pair: tuple[int, int], site: Site, joint: ArmChange, parts: Sequence[ArmChange], seed: int = 0) -> PairRow:
    """The row of one pair; p-values of the interactions are adjusted once all pairs are known.

    Args:
        pair: both features.
        site: where.
        joint: change with both out.
        parts: change with the first one out, and with the second one out.
        seed: of the resampling.
    """
    found = measure_change(joint, seed)
    first, second = parts
    return PairRow(
        site=site,
        a=pair[0],
        b=pair[1],
        n_touched=found.n_touched,
        n_both=int((first.touched & second.touched).sum()),
        estimate_a=first.counts.estimate,
        estimate_b=second.counts.estimate,
        logprob_a=float(first.logprob.mean()),
        logprob_b=float(second.logprob.mean()),
        interaction=interaction(joint.accuracy, [c.accuracy for c in parts], seed, "permutation"),
        interaction_logprob=interaction(joint.logprob, [c.logprob for c in parts], seed),
        **found.columns(),
    )


def adjust_pairs(rows: Sequence[PairRow]) -> tuple[PairRow, ...]:
    """The same rows with the interactions' p-values adjusted over all pairs, accuracy and log-probability apart."""
    accuracy = adjust_all([row.interaction for row in rows])
    logprob = adjust_all([row.interaction_logprob for row in rows])
    return tuple(
        replace(row, interaction=a, interaction_logprob=b) for row, a, b in zip(rows, accuracy, logprob, strict=True)
    )
