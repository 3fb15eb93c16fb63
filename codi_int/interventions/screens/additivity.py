"""Do effects add up? What is done together, minus the sum of what its parts do alone, problem by problem."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codi_int.interventions.evidence.continuous import logprob_effect
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.screens.changes import ArmChange, measure_change
from codi_int.records import Alias, ArmEffect, Estimate, FlatEffect
from codi_int.types import Site

RESAMPLES = 9999


@dataclass(frozen=True)
class Interaction:
    """The part of a joint effect that is no sum of its parts, as a mean over problems."""

    departure: Estimate
    """joint - (sum of the parts), paired by problem; no p-value where the parts add up on every problem, and p-values
    corrected over the family that was tried"""
    n_departing: int
    """problems on which the parts do not add up"""

    estimate = Alias[float]("departure.value")
    low = Alias[float]("departure.low")
    high = Alias[float]("departure.high")
    p_value = Alias[float | None]("departure.p_value")
    p_adjusted = Alias[float | None]("departure.p_adjusted")

    columns = ("estimate", "low", "high", "p_value", "p_adjusted", "n_departing")


def measure_interaction(
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
    # [parts, n] -> [n], paired by problem: what problems have in common cancels before anything is tested
    departure = joint - np.sum(parts, axis=0)
    found = logprob_effect(departure, seed=seed, method=method, resamples=resamples)
    # exact zeros: where an arm touches nothing its change is 0.0 by construction (see `logprob_changes`)
    departing = int((departure != 0).sum())
    return Interaction(Estimate(found.estimate, found.low, found.high, found.p_value), departing)


def adjust_all(found: Sequence[Interaction]) -> tuple[Interaction, ...]:
    """The same interactions with p-values adjusted over all of them (Benjamini-Hochberg)."""
    # a family of hundreds of pairs: the share of false findings is controlled, not every single one
    adjusted = adjust([one.p_value for one in found], "benjamini-hochberg")
    return tuple(
        replace(one, departure=replace(one.departure, p_adjusted=p)) for one, p in zip(found, adjusted, strict=True)
    )


@dataclass(frozen=True)
class PairRow(FlatEffect):
    """What ablating two features together did, beside what each of them did alone."""

    site: Site
    """where"""
    a: int
    """one feature"""
    b: int
    """the other one"""
    n_both: int
    """problems on which both fire; elsewhere the joint effect is that of the one that does"""
    effect: ArmEffect
    """of ablating both; it touches the problems on which at least one of them fires"""
    estimate_a: float
    """change of accuracy with only the first one ablated"""
    estimate_b: float
    """change of accuracy with only the second one ablated"""
    logprob_a: float
    """mean change of the clean answer's log-probability with only the first one ablated, nats"""
    logprob_b: float
    """the same with only the second one ablated"""
    interaction: Interaction
    """of accuracy"""
    interaction_logprob: Interaction
    """of the log-probability"""

    columns = (
        "site",
        "a",
        "b",
        "n_touched",
        "n_both",
        "n_broken",
        "n_fixed",
        "n_answer_changed",
        "estimate",
        "low",
        "high",
        "p_value",
        "estimate_a",
        "estimate_b",
        "logprob",
        "logprob_low",
        "logprob_high",
        "logprob_a",
        "logprob_b",
        "interaction",
        "interaction_logprob",
        "logprob_p",
    )


def pair_row(pair: tuple[int, int], site: Site, joint: ArmChange, parts: Sequence[ArmChange], seed: int = 0) -> PairRow:
    """The row of one pair; p-values of the interactions are adjusted once all pairs are known.

    Args:
        pair: both features.
        site: where.
        joint: change with both ablated.
        parts: change with the first one ablated, and with the second one ablated.
        seed: of the resampling.
    """
    # in the order of `pair`
    first, second = parts
    return PairRow(
        site=site,
        a=pair[0],
        b=pair[1],
        n_both=int((first.touched & second.touched).sum()),
        effect=measure_change(joint, seed),
        estimate_a=first.counts.estimate,
        estimate_b=second.counts.estimate,
        logprob_a=float(first.logprob.mean()),
        logprob_b=float(second.logprob.mean()),
        # -1, 0 or 1 each, so departures tie: signs are flipped instead of ranked
        interaction=measure_interaction(joint.accuracy, [c.accuracy for c in parts], seed, "permutation"),
        interaction_logprob=measure_interaction(joint.logprob, [c.logprob for c in parts], seed),
    )


def adjust_pairs(rows: Sequence[PairRow]) -> tuple[PairRow, ...]:
    """The same rows with the interactions' p-values adjusted over all pairs, accuracy and log-probability apart."""
    # two families: one answers whether answers change, the other whether log-probabilities do
    accuracy = adjust_all([row.interaction for row in rows])
    logprob = adjust_all([row.interaction_logprob for row in rows])
    return tuple(
        replace(row, interaction=a, interaction_logprob=b) for row, a, b in zip(rows, accuracy, logprob, strict=True)
    )
