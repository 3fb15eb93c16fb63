"""From what the arms answered to the records of a result."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.clean import CleanPass, make_outcome
from codi_int.interventions.engine.controls import rank_among
from codi_int.interventions.evidence.compare import compare_paired
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.paired import count_flips, mcnemar_exact, score_interval
from codi_int.records import Estimate
from codi_int.shown import Finding
from codi_int.types import OPERATIONS, Arm, ControlSet, Effect, OperationRow, Outcome, Problem, Result


@dataclass(frozen=True, repr=False)
class ResultFamily(Finding):
    """Results that were tried together, with p-values adjusted for it."""

    results: tuple[Result, ...]
    """one per edit, in the order given"""
    p_adjusted: tuple[float | None, ...]
    """of the changes of accuracy, Holm over the family; None for a member that could not be tested"""

    schema = "codi-int/results@1"

    def to_dict(self) -> dict[str, Any]:
        """One document with every result's own, as plain JSON types."""
        results = [result.to_dict() for result in self.results]
        return {"schema": self.schema, "results": results, "p_adjusted": list(self.p_adjusted)}


def family_of(results: Sequence[Result]) -> ResultFamily:
    """The results as the family of tests that they are."""
    # Holm and not Benjamini-Hochberg: a handful of edits that somebody named, each of which will be read as a finding
    return ResultFamily(tuple(results), tuple(adjust([result.effect.p_value for result in results])))


def family_verdict(family: ResultFamily) -> str:
    """The finding of a family of tests in words."""
    if all(p is None for p in family.p_adjusted):
        return family.results[0].effect.verdict
    alpha = 1.0 - family.results[0].effect.confidence
    # the estimate is the edit's own; only its p-value knows of the others
    found = [
        f"{result.experiment.label} ({100 * result.effect.estimate:+.1f} points)"
        for result, p in zip(family.results, family.p_adjusted, strict=True)
        if p is not None and p < alpha
    ]
    n = len(family.results)
    if found:
        return f"{len(found)} of {n} edits change accuracy (p < {alpha:.2g} after Holm): {', '.join(found)}."
    smallest = family.results[0].effect.minimum_detectable
    power = (
        ""
        if smallest is None
        else (f" Alone, a true change of {100 * smallest:.1f} points or more would be found with 80% power.")
    )
    return (
        f"None of {n} edits is shown to change accuracy (p < {alpha:.2g} after Holm); "
        f"this does not show that none does.{power}"
    )


def arm_outcomes(clean: CleanPass, plan: ArmPlan, scores: ArmScores) -> tuple[Outcome, ...]:
    """Outcomes of all problems in one arm; those it does not touch are the clean ones."""
    # Rows that the plan leaves alone are not run at all: their outcome is the clean one by construction, `touched`
    # False.
    outcomes = list(clean.outcomes)
    logprobs = scores.logprobs.tolist()
    for i, problem in enumerate(plan.rows.tolist()):
        outcomes[problem] = make_outcome(clean.problems[problem], scores.answers[i], logprobs[i], touched=True)
    return tuple(outcomes)


def outcomes_of_arms(
    clean: CleanPass, plans: Sequence[ArmPlan], scores: Sequence[ArmScores]
) -> dict[str, tuple[Outcome, ...]]:
    """The three arms by name; the intervened and the reconstructed one are the first two of the plans."""
    return {
        "clean": clean.outcomes,
        "reconstructed": arm_outcomes(clean, plans[1], scores[1]),
        "intervened": arm_outcomes(clean, plans[0], scores[0]),
    }


def summarize_arm(outcomes: Sequence[Outcome]) -> Arm:
    """Accuracy over all problems."""
    n_correct = sum(outcome.correct for outcome in outcomes)
    return Arm(n_correct / len(outcomes), n_correct)


def effect_between(
    clean: Sequence[Outcome], other: Sequence[Outcome], seed: int = 0, test: str = "permutation"
) -> Effect:
    """The paired comparison of two arms."""
    return compare_paired(
        _correct(clean),
        _correct(other),
        seed,
        touched=np.array([outcome.touched for outcome in other]),
        answer_changed=np.array([a.answer != b.answer for a, b in zip(clean, other, strict=True)]),
        logprob_change=logprob_changes(clean, other),
        logprob_test=test,
    )


def logprob_changes(clean: Sequence[Outcome], other: Sequence[Outcome]) -> np.ndarray:
    """Change of the clean answer's log-probability per problem, in nats; exactly 0 where an arm touches nothing."""
    # Both arms' log-probabilities are of the clean answer's tokens. 0.0 and no difference where nothing was touched:
    # tests drop exact zeros, and rounding must not pass for a change.
    changes = [b.answer_logprob - a.answer_logprob if b.touched else 0.0 for a, b in zip(clean, other, strict=True)]
    return np.array(changes, dtype=np.float64)


def operation_rows(
    problems: Sequence[Problem], clean: Sequence[Outcome], other: Sequence[Outcome]
) -> tuple[OperationRow, ...]:
    """The effect on the problems that use each operation, with Holm over the operations that occur.

    A problem of several operations stands in several rows.
    """
    before, after = _correct(clean), _correct(other)
    members = {
        operation: np.array([any(step.operation == operation for step in p.steps) for p in problems], dtype=bool)
        for operation in OPERATIONS
    }
    # operations that no problem uses are no tests, and do not make the others pay
    used = {operation: rows for operation, rows in members.items() if rows.any()}
    counts = {operation: count_flips(before[rows], after[rows]) for operation, rows in used.items()}
    p_values = [mcnemar_exact(count) for count in counts.values()]
    intervals = [score_interval(count) for count in counts.values()]
    return tuple(
        OperationRow(
            operation=operation,
            n=c.n,
            accuracy=Estimate(c.estimate, i.low, i.high, p, adjusted),
            n_broken=c.broken,
            n_fixed=c.fixed,
        )
        for (operation, c), i, p, adjusted in zip(counts.items(), intervals, p_values, adjust(p_values), strict=True)
    )


def control_set(clean: CleanPass, plans: Sequence[ArmPlan], scores: Sequence[ArmScores], effect: Effect) -> ControlSet:
    """What the controls did, and where the effect stands among them."""
    arms = [arm_outcomes(clean, plan, score) for plan, score in zip(plans, scores, strict=True)]
    before = _correct(clean.outcomes)
    # counted as the effect itself is: a difference of two means may miss a tie in the last digit
    estimates = tuple(count_flips(before, _correct(arm)).estimate for arm in arms)
    logprobs = tuple(float(logprob_changes(clean.outcomes, arm).mean()) for arm in arms)
    # ranks compare magnitudes, so without a log-probability the effect is as small as can be
    own = effect.logprob.estimate if effect.logprob else 0.0
    return ControlSet(
        draws=len(plans),
        labels=tuple(plan.label for plan in plans),
        firing_rates=tuple(plan.firing_rate for plan in plans),
        edit_sizes=tuple(plan.edit_size for plan in plans),
        estimates=estimates,
        logprob_estimates=logprobs,
        rank_of_effect=rank_among(effect.estimate, estimates),
        rank_of_logprob=rank_among(own, logprobs),
    )


def _correct(outcomes: Sequence[Outcome]) -> np.ndarray:
    return np.array([outcome.correct for outcome in outcomes], dtype=bool)
