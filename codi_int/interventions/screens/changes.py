"""What one arm changed, problem by problem, and what that amounts to. Screens, maps and curves all measure with it."""

from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codi_int.data.answers import is_right
from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.clean import CleanPass
from codi_int.interventions.engine.summary import probability_change
from codi_int.interventions.evidence.measure import ArmChange as ArmChange
from codi_int.interventions.evidence.measure import measure_change as measure_change
from codi_int.interventions.evidence.measure import measure_changes as measure_changes
from codi_int.types import Outcome, RunCounts

NO_WORK = RunCounts(0, 0, 0, 0, 0)


def arm_change(
    clean: CleanPass, plan: ArmPlan, scores: ArmScores, baseline: Sequence[Outcome] | None = None
) -> ArmChange:
    """What an arm changed on each problem of the clean pass.

    Args:
        clean: the undisturbed run.
        plan: the arm.
        scores: what its rows answered.
        baseline: what it is measured against (`FeatureInterventionEngine.baseline`); default the clean run.
    """
    n, outcomes = len(clean.problems), clean.outcomes if baseline is None else baseline
    # not every row that was run: with splice="replace" all are, and the edit itself may have changed no latent of some
    run = plan.edited.cpu()[plan.rows].nonzero()[:, 0].tolist()
    places, answers = plan.rows[run].tolist(), [scores.answers[i] for i in run]
    accuracy, logprob, margin, probability = np.zeros((4, n))
    touched, answer = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    before = [outcomes[i] for i in places]
    right = [is_right(given, clean.problems[i].answer) for given, i in zip(answers, places, strict=True)]
    # everything the arm does not touch stays exactly 0: it is equal to the clean run and was not run
    accuracy[places] = [float(r) - float(b.correct) for r, b in zip(right, before, strict=True)]
    # float64 before the difference: log-probabilities of some -20 nats differ in their fourth digit
    was, now = np.array([b.answer_logprob for b in before], dtype=np.float64), scores.logprobs.double().numpy()[run]
    logprob[places], probability[places] = now - was, probability_change(was, now)
    own = np.array([b.answer_margin for b in before], dtype=np.float64)
    margin[places] = scores.margins.double().numpy()[run] - own
    touched[places] = True
    answer[places] = [given != b.answer for given, b in zip(answers, before, strict=True)]
    return ArmChange(
        accuracy=accuracy,
        logprob=logprob,
        touched=touched,
        answer=answer,
        margin=margin,
        probability=probability,
        clusters=clean.clusters,
    )


def part_of(change: ArmChange, inside: NDArray[np.bool_]) -> ArmChange:
    """The change of some of the problems. `inside` is [n]."""
    values: dict[str, Any] = {field.name: getattr(change, field.name) for field in fields(change)}
    # what was not measured is None in every part
    parts: dict[str, Any] = {name: None if value is None else value[inside] for name, value in values.items()}
    return ArmChange(**parts)


def n_correct(clean: CleanPass) -> int:
    """Right answers of the undisturbed model."""
    return sum(outcome.correct for outcome in clean.outcomes)


def add_counts(*counts: RunCounts) -> RunCounts:
    """All the work together."""
    return RunCounts(*(sum(column) for column in zip(*map(astuple, counts), strict=True)))
