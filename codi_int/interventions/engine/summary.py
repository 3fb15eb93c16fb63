"""From what the arms answered to the records of a result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.clean import CleanPass, make_outcome
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.evidence.compare import beside_controls, conclude_effect, effect_of, untested
from codi_int.interventions.evidence.conclusions import largest_possible
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.measure import CONFIDENCE, ArmChange
from codi_int.interventions.evidence.verdicts import Tested, dead_verdict, likelihood_p
from codi_int.shown import Finding
from codi_int.types import Arm, Effect, Outcome, Result, RunCounts


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
    """The results as the family of tests that they are: each concludes by its corrected p-values."""
    effects = [result.effect for result in results]
    # Holm and not Benjamini-Hochberg: a handful of edits that somebody named, each of which will be read as a finding.
    # What touches too few problems ever to be significant is no test.
    changes = adjust([None if effect.testable is False else effect.p_value for effect in effects])
    equivalences = adjust([effect.p_equivalence for effect in effects])
    likelihoods = adjust([likelihood_p(effect) for effect in effects])
    n_tests, n_edits = (max(sum(p is not None for p in ps), 1) for ps in (changes, equivalences))
    concluded = []
    for result, p, q, r in zip(results, changes, equivalences, likelihoods, strict=True):
        effect = conclude_effect(result.effect, Tested(p, q, n_tests, r, n_edits))
        concluded.append(replace(result, effect=beside_controls(effect, result.controls)))
    return ResultFamily(tuple(concluded), tuple(changes))


def family_verdict(family: ResultFamily) -> str:
    """The finding of a family of tests in words."""
    first, n = family.results[0].effect, len(family.results)
    if all(result.effect.p_value is None for result in family.results):
        return first.verdict
    alpha = 1.0 - first.confidence
    # the estimate is the edit's own; only its p-value knows of the others
    found = [
        f"{result.experiment.label} ({100 * result.effect.estimate:+.1f} points)"
        for result in family.results
        if result.effect.conclusion == "changed"
    ]
    bound = "" if first.bound is None else f" within {100 * first.bound:.2g} points"
    others = [
        f"{number:,} {words}"
        for word, words in (("equivalent", f"stay{bound}"), ("unresolved", "unresolved"), ("untested", "untested"))
        if (number := sum(result.effect.conclusion == word for result in family.results))
    ]
    rest = f" The others: {', '.join(others)}." if found and others else f" {', '.join(others)}." if others else ""
    if found:
        told = f"{len(found):,} of {n:,} edits change accuracy (p < {alpha:.2g} after Holm): {', '.join(found)}.{rest}"
        return f"{first.condition} {told}".lstrip()
    # of all edits: each has noise of its own, and what is said must hold for the bluntest
    smallest = [result.effect.minimum_detectable for result in family.results if result.effect.p_value is not None]
    power = (
        ""
        if None in smallest
        else f" A true change of {100 * max(s for s in smallest if s is not None):.1f} points or more by any of them "
        "would be found with 80% power."
    )
    told = f"None of {n:,} edits is shown to change accuracy (p < {alpha:.2g} after Holm):{rest}{power}"
    return f"{first.condition} {told}".lstrip()


def arm_outcomes(clean: CleanPass, plan: ArmPlan, scores: ArmScores) -> tuple[Outcome, ...]:
    """Outcomes of all problems in one arm; those it does not touch are the clean ones."""
    # Rows that the plan leaves alone are not run at all: their outcome is the clean one by construction, `touched`
    # False. With splice="replace" all are run, and the edit has touched those whose latents it changed.
    outcomes = list(clean.outcomes)
    measured = list(zip(scores.logprobs.tolist(), scores.margins.tolist(), strict=True))
    for i, problem in enumerate(plan.rows.tolist()):
        outcomes[problem] = make_outcome(
            clean.problems[problem], scores.answers[i], measured[i], touched=bool(plan.edited[problem])
        )
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


def summarize_arms(clean: CleanPass, outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, Arm]:
    """Accuracy over all problems, arm by arm; where later positions are silent also that of the undisturbed model."""
    n = len(clean.problems)
    right = {name: sum(outcome.correct for outcome in arm) for name, arm in outcomes.items()}
    if clean.background is not None and clean.background.held.later == "mean":
        right = {"undisturbed": clean.background.n_correct, **right}
    return {name: Arm(count / n, count) for name, count in right.items()}


def effect_of_edit(edit: Any, context: SiteContext, arm: ArmPlan, change: ArmChange, seed: int, bound: float) -> Effect:
    """What an edit did, in numbers and words."""
    if bool(arm.edited.any()):
        return effect_of(change, seed, bound=bound, condition=context.condition)
    # An edit that touches nothing is equal to the clean arm by construction: a plain answer, and no p-value of 1.
    n = change.accuracy.size
    population = largest_possible(np.zeros(n, dtype=np.bool_), change.groups.codes).population
    return replace(untested(n, CONFIDENCE, dead_verdict(edit, n), population), bound=bound)


def count_work(context: SiteContext, plans: Sequence[ArmPlan], scores: Sequence[ArmScores]) -> RunCounts:
    """What was run and what was not."""
    # a pair is skipped because its edit leaves the latents as they are; nothing else is ever left out
    pairs, rows = len(plans) * len(context.clean.problems), sum(len(plan.rows) for plan in plans)
    changed, rerun = (sum(int(getattr(score, name).sum()) for score in scores) for name in ("changed", "rerun"))
    return RunCounts(pairs=pairs, skipped=pairs - rows, suffix_rows=rows, decoded=changed, rerun=rerun)


def change_between(
    clean: Sequence[Outcome], other: Sequence[Outcome], clusters: NDArray[np.int64] | None = None
) -> ArmChange:
    """Another arm against the one that it departs from, problem by problem; exactly 0 where it touches nothing."""
    before, after = (np.array([outcome.correct for outcome in arm], dtype=np.float64) for arm in (clean, other))
    logprobs = [[outcome.answer_logprob for outcome in arm] for arm in (clean, other)]
    touched = np.array([outcome.touched for outcome in other], dtype=np.bool_)
    return ArmChange(
        # untouched rows are those of the other arm by construction, but for rounding where both are run
        accuracy=np.where(touched, after - before, 0.0),
        logprob=logprob_changes(clean, other),
        touched=touched,
        answer=touched & np.array([a.answer != b.answer for a, b in zip(clean, other, strict=True)], dtype=np.bool_),
        margin=_margin_changes(clean, other),
        probability=np.where(touched, probability_change(*map(np.array, logprobs)), 0.0),
        clusters=clusters,
    )


def probability_change(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change of the clean answer's probability, from its log-probabilities in nats. [n]"""
    # rounding may leave a log-probability a hair above 0
    return np.asarray(np.exp(np.minimum(after, 0.0)) - np.exp(np.minimum(before, 0.0)))


def _margin_changes(clean: Sequence[Outcome], other: Sequence[Outcome]) -> NDArray[np.float64] | None:
    """Change of the clean answer's margin per problem, in logits; None where it was not measured."""
    changes = []
    for a, b in zip(clean, other, strict=True):
        if a.answer_margin is None or b.answer_margin is None:
            return None
        changes.append(b.answer_margin - a.answer_margin if b.touched else 0.0)
    return np.array(changes, dtype=np.float64)


def logprob_changes(clean: Sequence[Outcome], other: Sequence[Outcome]) -> np.ndarray:
    """Change of the clean answer's log-probability per problem, in nats; exactly 0 where an arm touches nothing."""
    # Both arms' log-probabilities are of the clean answer's tokens. 0.0 and no difference where nothing was touched:
    # tests drop exact zeros, and rounding must not pass for a change.
    changes = [b.answer_logprob - a.answer_logprob if b.touched else 0.0 for a, b in zip(clean, other, strict=True)]
    return np.array(changes, dtype=np.float64)
