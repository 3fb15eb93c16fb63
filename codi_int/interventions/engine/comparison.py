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
from codi_int.types import ControlSet, Effect, Matched


def control_sets(
    clean: CleanPass,
    sets: Mapping[str, Sequence[ArmPlan]],
    scores: Sequence[ArmScores],
    *,
    arm: ArmPlan,
    change: ArmChange,
) -> dict[str, ControlSet]:
    """The control sets that hold any arm; their scores stand one set after the other."""
    # the scores of all sets come from one run, side by side; empty sets have none there
    out, start = {}, 0
    for name, plans in sets.items():
        stop = start + len(plans)
        if plans:
            out[name] = control_set(clean, plans, scores[start:stop], arm=arm, change=change)
        start = stop
    return out


def control_set(
    clean: CleanPass, plans: Sequence[ArmPlan], scores: Sequence[ArmScores], *, arm: ArmPlan, change: ArmChange
) -> ControlSet:
    """What the controls did, and where the effect stands among them.

    Args:
        clean: the undisturbed run.
        plans: the controls; at least one.
        scores: what they answered.
        arm: the edit that they imitate.
        change: what it changed.
    """
    changes = [
        change_between(clean.outcomes, arm_outcomes(clean, plan, score), change.clusters)
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


def beside_controls(effect: Effect, controls: Mapping[str, ControlSet]) -> Effect:
    """A change says whether it exceeds what its controls do: a model that is nearly always right loses by anything."""
    # the matched features where there are some, for they are what the edit is most like
    group = controls.get("random_features") or next(iter(controls.values()), None)
    if effect.conclusion != "changed" or group is None or group.difference is None:
        return effect
    found = group.difference
    if found.low is None or found.high is None or found.p_value is None:
        return effect
    numbers = (
        f"{100 * found.value:+.1f} points beyond their mean, {effect.confidence:.0%} interval {100 * found.low:+.1f} "
        f"to {100 * found.high:+.1f}"
    )
    of = f"{group.draws:,} control{'s' * (group.draws != 1)}"
    # beyond the controls in the effect's own direction
    exceeds = found.low > 0.0 if effect.estimate > 0 else found.high < 0.0
    words = f"exceeds that of its {of}" if exceeds else f"is not shown to exceed that of its {of}"
    return replace(effect, verdict=f"{effect.verdict} The change {words} ({numbers}).")
