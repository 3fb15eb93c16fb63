"""What one arm changed, problem by problem, and what that amounts to: one estimand and one test, in every command."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codi_int.interventions.evidence import flips
from codi_int.interventions.evidence.betting import METHOD as BETTING
from codi_int.interventions.evidence.betting import estimate_bounded_many
from codi_int.interventions.evidence.clusters import Clusters, read_clusters
from codi_int.interventions.evidence.conclusions import largest_possible
from codi_int.interventions.evidence.equivalence import BOUND, equivalence_by_cluster
from codi_int.interventions.evidence.mean import DRAWS, MeanEstimate, estimate_means
from codi_int.interventions.evidence.paired import PairedCounts
from codi_int.records import ArmEffect, Estimate

CONFIDENCE = 0.95
_NOTHING = "not tested: the arm touches no problem"


@dataclass(frozen=True)
class ArmChange:
    """One arm against the clean one, with a place for every problem."""

    accuracy: NDArray[np.float64]
    """1 where a wrong answer became right, -1 where a right one became wrong, else 0. [n]"""
    logprob: NDArray[np.float64]
    """change of the clean answer's log-probability in nats; exactly 0 where the arm touches nothing. [n]"""
    touched: NDArray[np.bool_]
    """whether the arm changed anything. [n]"""
    answer: NDArray[np.bool_]
    """whether another answer was given, right or wrong. [n]"""
    margin: NDArray[np.float64] | None = None
    """change of the clean answer's margin in logits; None where it was not measured. [n]"""
    probability: NDArray[np.float64] | None = None
    """change of the clean answer's probability; None where it was not measured. [n]"""
    clusters: NDArray[np.int64] | None = None
    """which cluster each problem belongs to; None where each is its own. [n]"""

    @property
    def counts(self) -> PairedCounts:
        """The flips."""
        return flips.count_changes(self.accuracy)

    @property
    def groups(self) -> Clusters:
        """The clusters."""
        return read_clusters(self.clusters, self.accuracy.size)


def measure_change(
    change: ArmChange,
    seed: int = 0,
    *,
    bound: float | int = BOUND,
    confidence: float = CONFIDENCE,
    draws: int = DRAWS,
) -> ArmEffect:
    """Estimates, intervals and tests of one arm; an arm that touches nothing has no p-value.

    Args:
        change: of every problem.
        seed: of the bootstrap.
        bound: the smallest change of accuracy that matters.
        confidence: level of the intervals.
        draws: of the bootstrap.

    Returns:
        the effect, whose `conclusion` is still to be drawn: it depends on the family that was tried.
    """
    return measure_changes([change], seed, bound=bound, confidence=confidence, draws=draws)[0]


def measure_changes(
    changes: Sequence[ArmChange],
    seed: int = 0,
    *,
    bound: float | int = BOUND,
    confidence: float = CONFIDENCE,
    draws: int = DRAWS,
) -> list[ArmEffect]:
    """`measure_change` of many arms on the same problems: each comes out as it does alone, in much less time."""
    if not changes:
        return []
    groups = changes[0].groups
    # log-probabilities and margins share their draws, as all arms do
    columns = [change.logprob for change in changes] + [c.margin for c in changes if c.margin is not None]
    means = estimate_means(
        np.stack(columns, axis=1),
        clusters=groups.codes,
        seed=seed,
        confidence=confidence,
        draws=draws,
    )
    margins = iter(means[len(changes) :])
    bounded = [c.probability for c in changes if c.probability is not None]
    probabilities = iter(_probabilities(bounded, groups, confidence))
    return [
        _assemble(
            change,
            groups,
            logprob=means[i],
            margin=None if change.margin is None else next(margins),
            probability=None if change.probability is None else next(probabilities),
            bound=bound,
            confidence=confidence,
        )
        for i, change in enumerate(changes)
    ]


def _probabilities(changes: Sequence[NDArray[np.float64]], groups: Clusters, confidence: float) -> list[Estimate]:
    if not changes:
        return []
    return estimate_bounded_many(np.stack(changes, axis=1), 1.0, clusters=groups.codes, confidence=confidence)


def _assemble(
    change: ArmChange,
    groups: Clusters,
    *,
    logprob: MeanEstimate,
    margin: MeanEstimate | None,
    probability: Estimate | None,
    bound: float | int,
    confidence: float,
) -> ArmEffect:
    counts, n_touched = change.counts, int(change.touched.sum())
    tested = n_touched > 0
    possible = largest_possible(change.touched, groups.codes, confidence)
    return ArmEffect(
        accuracy=_accuracy(change, groups, tested, confidence),
        logprob=_as_tested(logprob, logprob.method, tested),
        n_touched=n_touched,
        n_broken=counts.broken,
        n_fixed=counts.fixed,
        n_answer_changed=int(change.answer.sum()),
        margin=None if margin is None else _as_tested(margin, margin.method, tested),
        probability=None if probability is None else _as_tested(probability, groups.named(BETTING), tested),
        n_effective=logprob.n_effective,
        share_of_largest=logprob.share_of_largest,
        bound=float(bound),
        p_equivalence=equivalence_by_cluster(change.accuracy, groups.codes, bound).p_value if tested else None,
        testable=flips.is_testable(change.touched, groups, 1.0 - confidence),
        largest_possible=possible.here,
        largest_in_population=possible.population,
    )


def _accuracy(change: ArmChange, groups: Clusters, tested: bool, confidence: float) -> Estimate:
    # Where nothing at all happened the arm equals the clean one, here and in every population: no interval stays open.
    # What differs without having been touched has another cause: it has an interval, and nothing is tested.
    found = flips.accuracy_by_cluster(change.accuracy, groups, confidence)
    if not tested and not change.counts.discordant:
        return Estimate(0.0, 0.0, 0.0, method=_NOTHING)
    return _as_tested(found, found.method, tested)


def _as_tested(found: Estimate, method: str, tested: bool) -> Estimate:
    """As a plain record, whose p-value is left out where the arm touches nothing."""
    return Estimate(
        value=found.value,
        low=found.low,
        high=found.high,
        p_value=found.p_value if tested else None,
        method=method if tested else _NOTHING,
    )
