"""An edit beside its controls: ranks among them, the paired difference, and how well they are matched."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

import numpy as np

from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.clean import CleanPass
from codi_int.interventions.engine.controls import rank_among
from codi_int.interventions.engine.summary import arm_outcomes, change_between
from codi_int.interventions.evidence.betting import METHOD
from codi_int.interventions.evidence.controlled import compare_with_controls
from codi_int.interventions.evidence.measure import ArmChange
from codi_int.types import ControlSet, Matched, Outcome


def control_sets(
    clean: CleanPass,
    before: Sequence[Outcome],
    sets: Mapping[str, Sequence[ArmPlan]],
    *,
    scores: Sequence[ArmScores],
    arm: ArmPlan,
    change: ArmChange,
) -> dict[str, ControlSet]:
    """The control sets that hold any arm; their scores stand one set after the other."""
    # the scores of all sets come from one run, side by side; empty sets have none there
    out, start = {}, 0
    for name, plans in sets.items():
        stop = start + len(plans)
        if plans:
            out[name] = control_set(
                clean,
                before,
                plans,
                scores=scores[start:stop],
                arm=arm,
                change=change,
            )
        start = stop
    return out


def control_set(
    clean: CleanPass,
    before: Sequence[Outcome],
    plans: Sequence[ArmPlan],
    *,
    scores: Sequence[ArmScores],
    arm: ArmPlan,
    change: ArmChange,
) -> ControlSet:
    """What the controls did, and where the effect stands among them.

    Args:
        clean: the undisturbed run.
        before: the arm that the edit and its controls are measured against.
        plans: the controls; at least one.
        scores: what they answered.
        arm: the edit that they imitate.
        change: what it changed.
    """
    changes = [
        change_between(before, arm_outcomes(clean, plan, score), change.clusters)
        for plan, score in zip(plans, scores, strict=True)
    ]
    # counted as the effect itself is: a difference of two means may miss a tie in the last digit
    estimates = tuple(one.counts.estimate for one in changes)
    logprobs = tuple(float(one.logprob.mean()) for one in changes)
    beside = compare_with_controls(change.accuracy, np.stack([one.accuracy for one in changes]), change.clusters)
    return ControlSet(
        draws=len(plans),
        labels=tuple(plan.label for plan in plans),
        firing_rates=tuple(plan.firing_rate for plan in plans),
        edit_sizes=tuple(plan.edit_size for plan in plans),
        estimates=estimates,
        logprob_estimates=logprobs,
        rank_of_effect=rank_among(change.counts.estimate, estimates),
        rank_of_logprob=rank_among(float(change.logprob.mean()), logprobs),
        p_value=beside.rank_p,
        difference=replace(beside.difference, method=change.groups.named(METHOD)),
        matched=Matched(
            touched=int(arm.edited.sum()),
            touched_median=float(median(int(plan.edited.sum()) for plan in plans)),
            edit_size=arm.edit_size,
            edit_size_median=float(median(plan.edit_size for plan in plans)),
        ),
    )
