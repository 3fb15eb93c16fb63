"""One edit by both roads and by each alone: how much of its effect goes by the cache, how much by the recurrence."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from codi_int.errors import ConfigError
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.clean import Progress
from codi_int.interventions.engine.engine import AnyEdit, FeatureInterventionEngine
from codi_int.interventions.engine.landing import make_landing
from codi_int.interventions.engine.scene import Scene
from codi_int.interventions.evidence.compare import compare_paired
from codi_int.interventions.screens.additivity import Interaction, interaction
from codi_int.interventions.screens.changes import ArmChange, arm_change
from codi_int.types import Effect, Problem, Site

ROADS = ("both", "cache", "recurrence")


@dataclass(frozen=True)
class EffectByRoad:
    """An edit's effect, taken apart by the way it reaches the answer."""

    label: str
    """the edit in words"""
    site: Site
    """where"""
    both: Effect
    """by both roads, as everywhere else"""
    cache: Effect
    """through the keys and values that later positions read, the next thought being left clean"""
    recurrence: Effect
    """through the next thought, the keys and values being left clean"""
    rest: Interaction
    """change of accuracy by both roads minus (by the cache + by the recurrence)"""
    rest_logprob: Interaction
    """the same in nats of the clean answer's log-probability"""

    schema = "codi-int/roads@1"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": self.schema, **asdict(self)}


def split_effect(
    engine: FeatureInterventionEngine,
    edit: AnyEdit,
    problems: Sequence[Problem],
    seed: int = 0,
    site: Site | None = None,
    progress: Progress | None = None,
) -> EffectByRoad:
    """Do one edit three times, each time with other roads open, on one clean pass.

    Args:
        engine: model, SAE and splice; its own `propagate` is not used.
        edit: of one site.
        problems: on which problems.
        seed: of the resampling.
        site: which of the engine's sites; may be left out where it has one.
        progress: called with (stage, done, total).

    Raises:
        ConfigError: for a site from which only one road leads, an edit that changes nothing on these problems, or one
            of several sites.
    """
    scene = engine.scene(problems, site, progress)
    for road in ROADS[1:]:
        make_landing(engine.model, scene.site, road)
    arm = engine.plan(scene, edit)
    if arm.also:
        raise ConfigError("Roads are told apart for one site at a time; this edit has several.")
    if not bool(arm.edited.any()):
        raise ConfigError(f"{arm.label!r} changes nothing on these problems: there is no effect to take apart.")
    changes = {road: _by_road(engine, scene, arm, road) for road in ROADS}
    joint, parts = changes["both"], [changes[road] for road in ROADS[1:]]
    effects = {road: _effect(scene, change, seed) for road, change in changes.items()}
    return EffectByRoad(
        label=arm.label,
        site=scene.site,
        rest=interaction(joint.accuracy, [part.accuracy for part in parts], seed, "permutation"),
        rest_logprob=interaction(joint.logprob, [part.logprob for part in parts], seed),
        **effects,
    )


@torch.no_grad()
def _by_road(engine: FeatureInterventionEngine, scene: Scene, arm: ArmPlan, road: str) -> ArmChange:
    """What the arm changes with only this road open; the plan and the clean pass are the same for every road."""
    open_here = replace(scene, landing=make_landing(engine.model, scene.site, road))
    return arm_change(scene.clean, arm, engine.score(open_here, [arm])[0])


def _effect(scene: Scene, change: ArmChange, seed: int) -> Effect:
    before = [outcome.correct for outcome in scene.clean.outcomes]
    after = [bool(b + c) for b, c in zip(before, change.accuracy.tolist(), strict=True)]
    return compare_paired(
        before,
        after,
        seed,
        touched=change.touched,
        answer_changed=change.answer,
        logprob_change=change.logprob,
    )
