"""Predicted answers made by hand for the golden pages; see `golden_records`."""

from dataclasses import replace

from codi_int.interventions.evidence.shares import ShareInterval
from codi_int.interventions.patching.pairs import Pairing
from codi_int.interventions.patching.patch import ValueContrast
from codi_int.interventions.patching.predicted import PredictedResult, PredictionControls, PredictionTest
from codi_int.records import Estimate
from codi_int.types import (
    Result,
    Site,
)
from tests.cli.golden_records import ENVIRONMENT
from tests.cli.golden_results import DEAD_RESULT, EXPERIMENT, FAMILY, RESULT, SWAP_RESULT

PREDICTION = PredictionTest(
    claim="addition and subtraction trade places",
    n=1_319,
    n_predicted=1_207,
    not_predicted={"no such operation": 97, "a negative amount": 15},
    n_informative=1_088,
    n_tested=1_009,
    n_ambiguous=43,
    n_hits=187,
    hit_rate=0.18533,
    low=0.1625,
    high=0.2105,
    confidence=0.95,
    n_hits_clean=6,
    p_value=0.0017,
    method="exact sign flips, by cluster",
    n_needed=88,
    assumed_hit_rate=0.1,
    became={"predicted": 187, "as before": 601, "the source's own": 39, "another": 181, "none": 1},
    n_distinct=951,
    n_hits_distinct=163,
    controls=PredictionControls(
        kind="random features",
        hit_rates=(0.0134, 0.0246, 0.0358, 0.0091),
        n_without=2,
        n_as_well=3,
        p_value=0.8,
        difference=Estimate(0.1567, 0.0912, 0.2334, p_value=0.0002),
    ),
    verdict="18.5 % became the predicted answer (a verdict made by hand).",
    became_intervals={
        "predicted": ShareInterval(0.1625, 0.2105, 1.25, "Wilson, by cluster"),
        "as before": ShareInterval(0.5650, 0.6255, 1.0, "Wilson, by cluster"),
        "the source's own": ShareInterval(0.0284, 0.0524, 1.0, "Wilson, by cluster"),
        "another": ShareInterval(0.1571, 0.2044, 1.0, "Wilson, by cluster"),
        "none": ShareInterval(0.0002, 0.0056, 1.0, "Wilson, by cluster"),
    },
)


def predicted(result: Result, prediction: PredictionTest | None) -> PredictedResult:
    known = {name: getattr(result, name) for name in Result.__dataclass_fields__}
    return PredictedResult(**known, prediction=prediction)


PREDICTED_SWAP = predicted(replace(SWAP_RESULT, notes=()), PREDICTION)
PATCH = predicted(
    replace(
        DEAD_RESULT,
        experiment=replace(
            EXPERIMENT, kind="patch", label="patch thought", site=Site(None, 1, "thought"), sites=(), sae="none"
        ),
        environment=replace(ENVIRONMENT, sae_sha256=""),
        effect=replace(DEAD_RESULT.effect, verdict="No problem was patched: nothing was tested."),
    ),
    replace(
        PREDICTION,
        n_tested=0,
        n_hits=0,
        hit_rate=None,
        low=None,
        high=None,
        not_predicted={},
        n_ambiguous=0,
        n_distinct=None,
        n_hits_distinct=None,
        became={"predicted": 0, "as before": 0},
        became_intervals={},
        controls=PredictionControls(kind="other sources", hit_rates=(), n_without=4, n_as_well=0, p_value=None),
    ),
)
PAIRING = Pairing(
    sources=(3, -1, 4, 0, 1, 2, -1),
    origin="pairs of the same value",
    matched={"operations and operands": 1_003, "operations": 2},
)
OTHER_PAIRING = Pairing(sources=(1, 0, -1), origin="pairs of another value", matched={})
SAME_VALUE = predicted(RESULT, None)
OTHER_VALUE = predicted(FAMILY.results[1], PREDICTION)
CONTRAST = ValueContrast(
    n=812,
    n_changed_different=317,
    n_changed_same=45,
    difference=Estimate(value=0.335, low=0.301, high=0.369, p_value=0.0006),
    confidence=0.95,
    verdict="Another value changes more answers (39.0 % against 5.5 %; a verdict made by hand).",
)
