"""What one arm changed, problem by problem, and what that amounts to. Screens, maps and curves all measure with it."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from codi_int.data.answers import is_right
from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.clean import CleanPass
from codi_int.interventions.evidence.continuous import bootstrap_means, logprob_effect
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.paired import PairedCounts, mcnemar_exact, score_interval
from codi_int.records import ArmEffect, Estimate
from codi_int.types import RunCounts

RESAMPLES = 999
"""draws of the bootstrap: few, for it runs once for each of hundreds of arms"""
E = TypeVar("E", ArmEffect, ArmEffect | None)
NO_WORK = RunCounts(0, 0, 0, 0, 0)


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

    @property
    def counts(self) -> PairedCounts:
        """The flips."""
        return PairedCounts(self.accuracy.size, int((self.accuracy < 0).sum()), int((self.accuracy > 0).sum()))


def arm_change(clean: CleanPass, plan: ArmPlan, scores: ArmScores) -> ArmChange:
    """What an arm changed on each problem of the clean pass."""
    places, n = plan.rows.tolist(), len(clean.problems)
    accuracy, logprob = np.zeros(n), np.zeros(n)
    touched, answer = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    before = [clean.outcomes[i] for i in places]
    right = [is_right(given, clean.problems[i].answer) for given, i in zip(scores.answers, places, strict=True)]
    # everything the arm does not touch stays exactly 0: it is equal to the clean run and was not run
    accuracy[places] = [float(r) - float(b.correct) for r, b in zip(right, before, strict=True)]
    # float64 before the difference: log-probabilities of some -20 nats differ in their fourth digit
    logprob[places] = scores.logprobs.double().numpy() - np.array([b.answer_logprob for b in before])
    # not every row that was run: with splice="replace" all are, and the edit itself may have changed no latent of some
    touched[places] = plan.edited.cpu().numpy()[places]
    answer[places] = [given != b.answer for given, b in zip(scores.answers, before, strict=True)]
    return ArmChange(accuracy, logprob, touched, answer)


def measure_change(change: ArmChange, seed: int = 0, resamples: int = RESAMPLES) -> ArmEffect:
    """Tests and intervals of one arm; an arm that touches nothing has no p-value.

    Args:
        change: of every problem.
        seed: of the bootstrap.
        resamples: draws of the bootstrap.
    """
    return measure_changes([change], seed, resamples)[0]


def measure_changes(changes: Sequence[ArmChange], seed: int = 0, resamples: int = RESAMPLES) -> list[ArmEffect]:
    """`measure_change` of many arms on the same problems: each comes out as it does alone, in much less time."""
    if not changes:
        return []
    intervals = bootstrap_means(np.stack([change.logprob for change in changes]), seed=seed, resamples=resamples)
    return [_measure(change, interval) for change, interval in zip(changes, intervals, strict=True)]


def _measure(change: ArmChange, interval: tuple[float, float]) -> ArmEffect:
    counts, n_touched = change.counts, int(change.touched.sum())
    score = score_interval(counts)
    logprob = logprob_effect(change.logprob, method="wilcoxon", interval=interval)
    # Where nothing at all happened the arm equals the clean one, here and in every population: no interval stays open.
    # With splice="replace" an edit that touches nothing may still differ by what the reconstruction costs; that has an
    # interval, but is no effect of the edit, so nothing is tested.
    happened = bool(n_touched or counts.broken or counts.fixed)
    accuracy = Estimate(
        value=counts.estimate,
        low=score.low if happened else 0.0,
        high=score.high if happened else 0.0,
        p_value=mcnemar_exact(counts) if n_touched else None,
    )
    return ArmEffect(
        accuracy=accuracy,
        logprob=Estimate(
            value=logprob.estimate,
            low=logprob.low,
            high=logprob.high,
            p_value=logprob.p_value if n_touched else None,
        ),
        n_touched=n_touched,
        n_broken=counts.broken,
        n_fixed=counts.fixed,
        n_answer_changed=int(change.answer.sum()),
    )


def adjust_effects(effects: Sequence[E]) -> list[E]:
    """The same effects with p-values corrected over all of them (Benjamini-Hochberg), each measure a family.

    What was not tested (no effect at all, or no p-value) stays as it is and is no member of the family.
    """
    accuracy = adjust([None if one is None else one.accuracy.p_value for one in effects], "benjamini-hochberg")
    logprob = adjust([None if one is None else one.logprob.p_value for one in effects], "benjamini-hochberg")
    return [
        one
        and replace(
            one,
            accuracy=replace(one.accuracy, p_adjusted=p),
            logprob=replace(one.logprob, p_adjusted=q),
        )
        for one, p, q in zip(effects, accuracy, logprob, strict=True)
    ]


def n_correct(clean: CleanPass) -> int:
    """Right answers of the undisturbed model."""
    return sum(outcome.correct for outcome in clean.outcomes)


def add_counts(*counts: RunCounts) -> RunCounts:
    """All the work together."""
    return RunCounts(*(sum(column) for column in zip(*map(astuple, counts), strict=True)))
