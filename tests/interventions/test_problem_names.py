"""Results are named after the problems that they were measured on, where the caller names nothing."""

from collections.abc import Callable

from codi_int.data.problems import Problems
from codi_int.interventions.edits.basic import Ablate
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.patching.pairs import Pairing
from codi_int.interventions.patching.patch import participants, run_patch
from codi_int.interventions.screens.curves import run_curve
from codi_int.interventions.screens.mapping import run_map
from codi_int.interventions.screens.screen import run_screen
from codi_int.interventions.screens.thought_map import MapPlan
from codi_int.types import Problem, Site

SITE, FEATURE = Site(2, 3), 17


def test_every_run_takes_the_name_of_its_problems(
    engine_at: Callable[..., FeatureInterventionEngine], right: tuple[Problem, ...]
) -> None:
    engine, named = engine_at(SITE), Problems(right, "stories:validation")
    assert engine.run(Ablate(FEATURE), named, controls=0).experiment.data == "stories:validation"
    # the clean pass of equal problems is used again, but not the name that these had
    assert engine.run(Ablate(FEATURE), named[:], controls=0, data="mine").experiment.data == "mine"
    assert engine.run(Ablate(FEATURE), list(right), controls=0).experiment.data == "unnamed"
    assert run_screen(engine, named, [FEATURE]).data == "stories:validation"
    assert run_curve(engine, named, [FEATURE], draws=0).data == "stories:validation"
    assert run_map(engine.model, named, MapPlan((SITE,))).data == "stories:validation"


def test_a_patch_takes_the_name_of_the_problems_that_were_paired(
    engine_at: Callable[..., FeatureInterventionEngine], right: tuple[Problem, ...]
) -> None:
    pairing = Pairing((1, 0, *[-1] * (len(right) - 2)), "given", {})
    members = participants(Problems(right, "stories:validation"), pairing)
    assert members.problems == right[:2]
    assert run_patch(engine_at(SITE), members, [SITE], controls=0).experiment.data == "stories:validation"
