"""Records made by hand for the golden pages, with another number in every field.

Two fields of one record never hold numbers that print alike: a page that takes the wrong one then prints another text.
Signs are mixed, shares have more digits than pages show (so that rounding is seen), and counts pass 1,000 where a page
writes separators. The numbers need not fit together, for pages must print what stands in the record.
"""

from dataclasses import replace
from pathlib import Path

import torch

from codi_int.cli.doctor import Checkup
from codi_int.cli.sae_train import TrainOptions
from codi_int.interventions.engine.summary import ResultFamily
from codi_int.interventions.evaluation import AccuracyRow, Evaluation
from codi_int.interventions.evidence.shares import ShareInterval
from codi_int.interventions.patching.pairs import Pairing
from codi_int.interventions.patching.patch import ValueContrast
from codi_int.interventions.patching.predicted import PredictedResult, PredictionControls, PredictionTest
from codi_int.interventions.screens.additivity import Interaction, PairRow
from codi_int.interventions.screens.agreement import Agreement, Misjudged, Recall, TrivialRanking
from codi_int.interventions.screens.confirmed import Confirmation, Selection
from codi_int.interventions.screens.curves import AblationCurve, CurvePoint, SetComparison
from codi_int.interventions.screens.paths import EffectByPath
from codi_int.interventions.screens.screen import Screen, ScreenRow, ScreenSite
from codi_int.interventions.screens.thought_map import MapCell, PathSplit, ThoughtMap
from codi_int.interventions.stopping import EarlyStopping, StopChange, StopRow
from codi_int.model.describe import ModelDescription
from codi_int.model.lens import LensCell, LensGrid, LensGroup, LensReport, LensToken
from codi_int.model.parity import Parity
from codi_int.model.trace import ThoughtTrace
from codi_int.probes.records import Baseline, CausalCheck, ConfirmedProbe, ProbeMap, ProbeRow
from codi_int.records import ArmEffect, Conclusion, Estimate
from codi_int.runs.compare import ComparedRun, RunComparison
from codi_int.sae import SAEMetrics, SAETrainingConfig
from codi_int.sae.captures import Capture, CaptureInfo, layer_file
from codi_int.sae.compare import DecoderStructure
from codi_int.sae.evaluate import EvaluatedSAE, SAEEvaluation
from codi_int.sae.grid import SweepGrid, SweepRow
from codi_int.sae.site_sweep import SweepPlan
from codi_int.sae.spliced import SplicedMetrics
from codi_int.sae.stability import Stability
from codi_int.types import (
    Arm,
    ControlSet,
    Effect,
    Environment,
    Experiment,
    Matched,
    MeanEffect,
    OperationRow,
    Problem,
    Result,
    RunCounts,
    Site,
    StepsRow,
    Symmetry,
)

SITE = Site(14, 3)
HASHES = {
    name: digit * 4 + "0123456789ab" + digit * 48 for name, digit in (("model", "a"), ("sae", "c"), ("data", "e"))
}
ENVIRONMENT = Environment(
    codi_int="9.8.7",
    torch="6.5.4",
    model_sha256=HASHES["model"],
    sae_sha256=HASHES["sae"],
    data_sha256=HASHES["data"],
    threads=7,
    device="cpu",
    dtype="float32",
    seconds=83.26,
)
COUNTS = RunCounts(pairs=23_456, skipped=17_891, suffix_rows=5_565, decoded=1_234, rerun=29)


def interaction(value: float, low: float, high: float, p_value: float | None, p_adjusted: float | None) -> Interaction:
    estimate = Estimate(value=value, low=low, high=high, p_value=p_value, p_adjusted=p_adjusted)
    return Interaction(departure=estimate, n_departing=77)


def arm_effect(number: int) -> ArmEffect:
    """An effect whose numbers all follow from one, each in its own way; accuracy and nats have opposite signs."""
    sign = -1 if number % 2 else 1
    return ArmEffect(
        accuracy=Estimate(
            value=sign * 0.01234 * number,
            low=sign * 0.01234 * number - 0.00567,
            high=sign * 0.01234 * number + 0.00789,
            p_value=0.00123 * number,
            p_adjusted=0.00456 * number,
        ),
        logprob=Estimate(
            value=-sign * 0.07531 * number,
            low=-sign * 0.07531 * number - 0.02468,
            high=-sign * 0.07531 * number + 0.03579,
            p_value=0.00234 * number,
            p_adjusted=0.00678 * number,
        ),
        n_touched=100 + number,
        n_broken=20 + number,
        n_fixed=50 + number,
        n_answer_changed=80 + number,
    )


# One result of an edit

EXPERIMENT = Experiment(
    kind="ablate",
    features=(449,),
    site=SITE,
    mode="mean",
    factor=None,
    splice="add",
    propagate="cache",
    model="codi-mini",
    sae="codi-mini/L14.P3",
    data="stories:validation",
    n_problems=1_319,
    seed=11,
    label="ablate 449 (mean)",
    sites=(SITE,),
)
LOGPROB = MeanEffect(estimate=0.06172, low=-0.02345, high=0.14689, p_value=0.0271, method="bootstrap-t, by cluster")
EFFECT = Effect(
    estimate=-0.04321,
    low=-0.06543,
    high=-0.02109,
    confidence=0.95,
    p_value=0.00314,
    method="exact sign flips, by cluster",
    n=1_319,
    n_touched=1_042,
    n_broken=68,
    n_fixed=11,
    n_answer_changed=136,
    logprob=LOGPROB,
    minimum_detectable=0.0271,
    verdict="Accuracy falls by 4.3 points (a verdict made by hand).",
    conclusion="changed",
    bound=0.0123,
    p_equivalence=0.0783,
    largest_possible=0.7899,
    largest_in_population=0.8177,
    probability=MeanEffect(estimate=-0.02919, low=-0.05057, high=-0.01441, p_value=0.0049, method="betting interval"),
    margin=MeanEffect(estimate=-0.4242, low=-0.9393, high=0.2525, p_value=0.1818, method="bootstrap-t, by cluster"),
    n_effective=17.38,
    share_of_largest=0.2936,
    n_clusters=1_234,
    design_effect=1.21,
    testable=True,
    symmetry=Symmetry(n=317, sign_flip_p=0.0412, signed_rank_p=0.00791),
)
RANDOM_FEATURES = ControlSet(
    draws=4,
    labels=("ablate 1", "ablate 2", "ablate 3", "ablate 5"),
    firing_rates=(0.412, 0.378, 0.531, 0.466),
    edit_sizes=(1.37, 0.852, 2.46, 1.91),
    estimates=(0.00152, -0.00834, 0.00607, -0.01213),
    logprob_estimates=(-0.0313, 0.0217, -0.0019, 0.0092),
    rank_of_effect=0.875,
    rank_of_logprob=0.625,
    p_value=0.4,
    difference=Estimate(value=-0.03717, low=-0.07171, high=-0.00808, p_value=0.0144, method="betting interval"),
    matched=Matched(touched=1_042, touched_median=588.5, edit_size=1.66, edit_size_median=1.64),
)
ONE_DIRECTION = ControlSet(
    draws=1,
    labels=("random direction",),
    firing_rates=(0.293,),
    edit_sizes=(3.14,),
    estimates=(0.00227,),
    logprob_estimates=(-0.0141,),
    rank_of_effect=None,
    rank_of_logprob=0.375,
)


def contrast(n: int) -> Estimate:
    """Another number in every field, from one."""
    return Estimate(
        value=0.00102 * n,
        low=0.00102 * n - 0.0707,
        high=0.00102 * n + 0.0808,
        p_value=0.00007 * n,
        p_adjusted=0.00029 * n,
        method="permutation, by cluster",
    )


def operation_row(name: str, numbers: tuple[float, float, float], flips: tuple[int, int], n: int) -> OperationRow:
    value, low, high = numbers
    return OperationRow(
        operation=name,  # type: ignore[arg-type]
        n=n,
        accuracy=Estimate(value=value, low=low, high=high, p_value=0.00001 * n, p_adjusted=0.00003 * n),
        n_broken=flips[0],
        n_fixed=flips[1],
        contrast=contrast(n // 10) if n > 10 else None,
    )


def steps_row(n_steps: int, numbers: tuple[float, float, float], flips: tuple[int, int], n: int) -> StepsRow:
    row = operation_row("addition", numbers, flips, n)
    return StepsRow(
        n_steps=n_steps,
        n=n,
        accuracy=row.accuracy,
        n_broken=row.n_broken,
        n_fixed=row.n_fixed,
        contrast=contrast(n // 20),
    )


RESULT = Result(
    experiment=EXPERIMENT,
    arms={
        "clean": Arm(accuracy=0.87415, n_correct=1_153),
        "reconstructed": Arm(accuracy=0.86278, n_correct=1_138),
        "intervened": Arm(accuracy=0.83094, n_correct=1_096),
    },
    effect=EFFECT,
    controls={"random_features": RANDOM_FEATURES, "random_directions": ONE_DIRECTION},
    by_operation=(
        operation_row("addition", (-0.03112, -0.05223, 0.01334), (31, 13), 1_021),
        operation_row("division", (0.02445, -0.00556, 0.04667), (7, 19), 3),
    ),
    by_steps=(
        steps_row(1, (-0.01909, -0.03434, 0.00414), (17, 5), 303),
        steps_row(2, (0.00919, -0.02323, 0.04141), (9, 15), 1_016),
    ),
    environment=ENVIRONMENT,
    counts=COUNTS,
    outcomes={},
    notes=("a note made by hand, of [bold]literal[/bold] words",),
)

DEAD_RESULT = replace(
    RESULT,
    effect=replace(
        EFFECT,
        estimate=0.0,
        low=0.0,
        high=0.0,
        p_value=None,
        n_touched=0,
        logprob=None,
        probability=None,
        margin=None,
        conclusion="untested",
        verdict="Feature 31 never fires on these problems: nothing was tested.",
    ),
    controls={},
    by_operation=(),
    by_steps=(),
    notes=(),
)

SWAP_RESULT = replace(
    RESULT,
    experiment=replace(
        EXPERIMENT,
        kind="swap",
        label="swap 162 with 165 at L14.P3, L9.P2",
        sites=(Site(9, 2), SITE),
        splice="replace",
        propagate="both",
        seed=12,
    ),
    # too few problems carry the mean, and each is a calculation of its own
    effect=replace(
        EFFECT,
        p_value=0.00004,
        confidence=0.9,
        n_broken=1_007,
        method="exact sign flips",
        logprob=replace(LOGPROB, low=None, high=None, p_value=None, method="none"),
        margin=None,
        n_effective=2.71,
        n_clusters=1_319,
    ),
    controls={"random_features": RANDOM_FEATURES},
    environment=replace(ENVIRONMENT, sae_sha256="", seconds=9.04),
)

FAMILY = ResultFamily(
    results=(
        RESULT,
        replace(
            RESULT,
            experiment=replace(EXPERIMENT, kind="amplify", label="amplify 332 by 2.5", factor=2.5),
            effect=replace(
                EFFECT,
                estimate=0.01517,
                low=-0.00318,
                high=0.03352,
                p_value=0.1181,
                n_touched=973,
                n_broken=21,
                n_fixed=41,
                n_answer_changed=153,
                conclusion="unresolved",
                probability=None,
                logprob=replace(LOGPROB, estimate=-0.00913, low=-0.01826, high=0.00457, p_value=0.00007),
            ),
            arms={
                name: Arm(accuracy=arm.accuracy + 0.0222, n_correct=arm.n_correct + 29)
                for name, arm in RESULT.arms.items()
            },
            controls={},
            environment=replace(ENVIRONMENT, seconds=40.51),
            counts=RunCounts(pairs=1_111, skipped=222, suffix_rows=333, decoded=44, rerun=5),
        ),
    ),
    p_adjusted=(0.00628, 0.2362),
)


# One edit by every path

PATHS = EffectByPath(
    label="ablate 449 (mean)",
    site=SITE,
    both=EFFECT,
    cache=replace(
        EFFECT,
        estimate=-0.01819,
        low=-0.03131,
        high=0.00507,
        p_value=0.0413,
        n_broken=33,
        n_fixed=9,
        logprob=replace(LOGPROB, estimate=0.01725, low=0.00388, high=0.03062, p_value=0.00872),
    ),
    recurrence=replace(
        EFFECT,
        estimate=0.00758,
        low=-0.00682,
        high=0.02198,
        p_value=0.00006,
        n_broken=14,
        n_fixed=24,
        logprob=replace(LOGPROB, estimate=-0.5119, low=-0.7228, high=-0.301, p_value=0.3347),
    ),
    interaction=interaction(-0.0326, -0.0487, 0.0165, 0.0098, 0.0196),
    interaction_logprob=interaction(0.5564, 0.2892, 0.8236, 0.0647, 0.1294),
)
PATHS_DOCUMENT = {
    "model": "codi-mini",
    "sae": "codi-mini/L14.P3",
    "data": "stories:validation",
    "n_problems": 1_319,
    "seed": 13,
}


# A screen, with pairs and agreement


def screen_row(feature: int, number: int, site: Site = SITE) -> ScreenRow:
    return ScreenRow(
        site=site,
        feature=feature,
        firing_rate=0.0317 * number,
        edit_size=0.219 * number,
        effect=arm_effect(number),
        rank=0.0913 * number,
        rank_logprob=0.0857 * number,
    )


_DEAD = Estimate(value=0.0, low=0.0, high=0.0)
DEAD_ROW = ScreenRow(
    site=SITE,
    feature=31,
    firing_rate=0.0,
    edit_size=0.0,
    effect=ArmEffect(
        accuracy=_DEAD,
        logprob=_DEAD,
        n_touched=0,
        n_broken=0,
        n_fixed=0,
        n_answer_changed=0,
    ),
)


def concluded(row: ScreenRow, word: Conclusion, found: Confirmation) -> ScreenRow:
    """A row that was selected, by accuracy where its confirmation says whether that is confirmed."""
    return replace(
        row,
        effect=replace(row.effect, conclusion=word),
        selected=found.confirmed is not None,
        selected_logprob=True,
        confirmation=found,
    )


def pair_row(a: int, b: int, number: int) -> PairRow:
    return PairRow(
        site=SITE,
        a=a,
        b=b,
        n_both=1_000 * number if number > 1 else 0,
        effect=arm_effect(number),
        estimate_a=0.00317 * number,
        estimate_b=-0.00529 * number,
        logprob_a=0.0911 * number,
        logprob_b=-0.0733 * number,
        interaction=interaction(-0.00837 * number, -0.0141, 0.0026, 0.0147 * number, 0.0211 * number),
        interaction_logprob=interaction(0.0357 * number, -0.0412, 0.0523, 0.0069 * number, 0.0308 * number),
    )


SELECTION = Selection(
    correction="discrete",
    alpha=0.05,
    bound=0.0075,
    n_tested=1_041,
    n_untested=1_062,
    n_selected=3,
    n_confirmed=2,
    n_selected_logprob=7,
    n_confirmed_logprob=4,
    minimum_detectable=0.0138,
    fewest_for_equivalence=1_398,
    selected_on="stories:validation",
    n_selecting=1_319,
    selected_sha256=HASHES["data"],
    confirmed_on="stories:confirmation",
    n_confirming=1_283,
    confirmed_sha256=HASHES["model"],
    n_correct_confirming=1_172,
    seconds=9.37,
)
"""fewer problems than equivalence takes, so that the page says it"""
FOLDS_SELECTION = replace(
    SELECTION,
    correction="max-t",
    n_untested=0,
    minimum_detectable=None,
    fewest_for_equivalence=598,
    confirmed_on="folds",
    n_confirming=None,
)
UNCONFIRMED_SELECTION = replace(
    SELECTION,
    correction="bh",
    n_untested=1,
    n_tested=1,
    n_confirmed=None,
    n_confirmed_logprob=None,
    confirmed_on=None,
)


def confirmation(number: int, confirmed: bool | None, with_fresh: bool = True) -> Confirmation:
    """How something selected came out; all numbers follow from one."""
    value = -0.00731 * number
    return Confirmation(
        n=1_283,
        n_broken=10 + number,
        n_fixed=number,
        accuracy=Estimate(value, value - 0.0051, value + 0.0062, p_value=0.0011 * number, p_adjusted=0.0037 * number),
        logprob=Estimate(value * 5, None, None, p_value=0.0019 * number, p_adjusted=0.0043 * number),
        confirmed=confirmed,
        confirmed_logprob=True,
        power=None if confirmed is None else 0.8123 - 0.0456 * number,
        p_equivalence=0.9,
        fresh=Estimate(value - 0.0013, value - 0.009, value + 0.004, p_value=0.02) if with_fresh else None,
        n_fresh=1_140 if with_fresh else None,
    )


AGREEMENT = Agreement(
    site=SITE,
    steps=8,
    n=53,
    spearman=0.8142,
    kendall=0.6475,
    same_sign=0.7736,
    recall=(Recall(k=5, share=0.6, by_chance=0.0943), Recall(k=10, share=0.7, by_chance=0.1887)),
    by_firing=TrivialRanking(
        spearman=0.4823,
        kendall=0.3317,
        recall=(Recall(k=5, share=0.2, by_chance=0.0943), Recall(k=10, share=0.4, by_chance=0.1887)),
    ),
    worst=(
        Misjudged(feature=332, predicted=-0.152, measured=0.0437, rank_predicted=2, rank_measured=19),
        Misjudged(feature=449, predicted=0.00781, measured=-0.264, rank_predicted=41, rank_measured=1),
    ),
)
SCREEN = Screen(
    kind="ablate",
    site=SITE,
    model="codi-mini",
    sae="codi-mini/L14.P3",
    data="stories:validation",
    n_problems=1_319,
    n_correct=1_153,
    seed=14,
    rows=(
        concluded(screen_row(162, 1), "changed", confirmation(3, confirmed=True)),
        DEAD_ROW,
        concluded(screen_row(332, 4), "unresolved", confirmation(5, confirmed=False)),
        concluded(screen_row(449, 10), "equivalent", confirmation(2, confirmed=None)),
    ),
    counts=COUNTS,
    environment=ENVIRONMENT,
    sites=(ScreenSite(site=SITE, sae="codi-mini/L14.P3", sae_sha256=HASHES["sae"], n_features=4, n_living=3),),
    pairs=(
        replace(
            pair_row(162, 332, 1),
            additivity="changed",
            selected=True,
            confirmation=confirmation(4, confirmed=True, with_fresh=False),
        ),
        pair_row(332, 449, 2),
    ),
    selection=SELECTION,
    pair_selection=replace(SELECTION, n_selected=1, n_confirmed=1, n_tested=1, n_untested=1),
)
_SITES = (Site(9, 2), SITE, Site(15, 6, "mlp_out"))
SITES_SCREEN = replace(
    SCREEN,
    rows=tuple(screen_row(162 + i, number=3 + 3 * i, site=site) for i, site in enumerate(_SITES)),
    sites=tuple(
        ScreenSite(site=site, sae=f"sae-{i}", sae_sha256=HASHES["sae"], n_features=60 + i, n_living=50 + i)
        for i, site in enumerate(_SITES)
    ),
    pairs=(),
    selection=FOLDS_SELECTION,
    pair_selection=None,
)
SITES_AGREEMENTS = tuple(
    replace(
        AGREEMENT,
        site=site,
        n=53 + i,
        spearman=spearman,
        kendall=0.6475 + 0.1 * i,
        same_sign=0.7736 + 0.1 * i,
        recall=tuple(Recall(k=k, share=0.3 + 0.01 * k + 0.05 * i, by_chance=k / 57) for k in (5, 10, 20, 50)[: 2 + i]),
    )
    for i, (site, spearman) in enumerate(zip(_SITES, (0.8142, -0.3142, None), strict=True))
)


# A curve and maps


def curve_point(n: int, number: int) -> CurvePoint:
    return CurvePoint(
        n=n,
        accuracy=0.9123 - 0.0321 * number,
        effect=replace(arm_effect(number), conclusion="changed" if number % 2 else "equivalent"),
        latents=0.37 * number,
        norm=2.46 * number,
    )


def set_comparison(n: int, number: int) -> SetComparison:
    value = -0.0213 * number
    return SetComparison(
        n=n,
        n_near=number,
        latents_median=1.23 * number,
        norm_median=4.56 * number,
        difference=Estimate(value, value - 0.0101, value + 0.0202, p_value=0.0031, p_adjusted=0.0047 * number**3),
        rank_p=0.25,
    )


CURVE = AblationCurve(
    site=SITE,
    order="attribution",
    model="codi-mini",
    sae="codi-mini/L14.P3",
    data="stories:validation",
    n_problems=1_319,
    n_correct=1_153,
    n_living=53,
    seed=15,
    features=tuple(range(53)),
    top=(curve_point(1, 7), curve_point(8, 9), curve_point(53, 12)),
    random=(
        (curve_point(1, 2), curve_point(8, 13), curve_point(53, 12)),
        (curve_point(1, 3), curve_point(8, 4), curve_point(53, 12)),
        (curve_point(1, 5), curve_point(8, 6), curve_point(53, 12)),
    ),
    counts=COUNTS,
    environment=ENVIRONMENT,
    comparisons=(set_comparison(1, 2), set_comparison(8, 3)),
    ranked_on="stories:sae",
    ranked_sha256=HASHES["data"],
    selection=UNCONFIRMED_SELECTION,
)
FOLDS_CURVE = replace(
    CURVE,
    data="problems.jsonl, fold 2 of 2",
    ranked_on="problems.jsonl, fold 1 of 2",
    comparisons=(),
    random=(),
    exchanged=replace(
        CURVE,
        data="problems.jsonl, fold 1 of 2",
        ranked_on="problems.jsonl, fold 2 of 2",
        top=CURVE.top[:1],
        random=(),
        comparisons=(),
    ),
)


def map_cells(path: str, start: int) -> tuple[MapCell, ...]:
    """Two layers and the thoughts by two positions; from the last of them no path leads to the answer."""
    places = (Site(0, 0), Site(0, 3), Site(14, 0), SITE, Site(None, 0, "thought"), Site(None, 3, "thought"))
    cells = [
        MapCell(
            site=site,
            propagate=path,
            n_replaced=1,
            effect=replace(arm_effect(start + i), conclusion=("changed", "unresolved")[i % 2]),
            selected=i < 3,
            selected_logprob=i > 3,
            # the third is selected and not confirmed, and has no star
            confirmation=confirmation(start + i, confirmed=i < 2) if i < 3 else None,
        )
        for i, site in enumerate(places[:-1])
    ]
    return (*cells, MapCell(site=places[-1], propagate=path, n_replaced=0, note="nothing reads it"))


MAP = ThoughtMap(
    kind="mean",
    cumulative=False,
    direction=None,
    propagate="both",
    model="codi-mini",
    data="stories:validation",
    n_problems=1_319,
    n_correct=1_153,
    seed=16,
    cells=map_cells("both", 6),
    splits=(),
    counts=COUNTS,
    environment=ENVIRONMENT,
    selection=SELECTION,
)
CONTEXTS_MAP = replace(
    MAP,
    later="each",
    cells=tuple(replace(cell, n_correct_before=None if cell.note else 1_153) for cell in MAP.cells),
    contexts=tuple(
        replace(cell, later=later, n_correct_before=None if cell.note else right)
        for later, start, right in (("mean", 9, 1_019), ("only", 12, 731))
        for cell in map_cells("both", start)
    ),
)
CUMULATIVE_MAP = replace(
    MAP,
    kind="zero",
    cumulative=True,
    direction="upto",
    propagate="cache",
    cells=map_cells("cache", 6),
    selection=UNCONFIRMED_SELECTION,
)
SPLIT_MAP = replace(
    MAP,
    propagate="split",
    cells=map_cells("both", 1) + map_cells("cache", 6) + map_cells("recurrence", 11),
    splits=tuple(
        PathSplit(
            site=site,
            accuracy=interaction(0.0121 * i, -0.0232, 0.0343, 0.0454 * i, 0.0565 * i),
            logprob=interaction(-0.0676 * i, -0.0787 * i, 0.0898 * i, 0.0119 * i, 0.0223 * i),
            additivity=("changed", "unresolved")[i - 1],
            selected=i == 1,
            confirmation=confirmation(4, confirmed=True) if i == 1 else None,
        )
        for i, site in enumerate((Site(0, 3), SITE), 1)
    ),
    split_selection=replace(SELECTION, n_tested=2, n_untested=0, n_selected=1, n_confirmed=1),
)


# Predicted answers

SILENT_RESULT = replace(
    RESULT,
    experiment=replace(EXPERIMENT, later="mean"),
    arms={"undisturbed": Arm(accuracy=0.9121, n_correct=1_203), **RESULT.arms},
    effect=replace(
        RESULT.effect,
        condition="Given that later positions say nothing (L14.P4 to L14.P6 held at their means over the problems):",
        verdict="Given that later positions say nothing (L14.P4 to L14.P6 held at their means over the problems): "
        f"{RESULT.effect.verdict}",
    ),
)
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


# Accuracy


def accuracy_row(group: str, number: int) -> AccuracyRow:
    return AccuracyRow(
        group=group,
        n=1_300 + number,
        n_correct=1_100 - 3 * number,
        accuracy=0.91234 - 0.01357 * number,
        low=0.89123 - 0.02468 * number,
        high=0.93456 - 0.00579 * number,
    )


EVALUATION = Evaluation(
    model="codi-mini",
    data="stories:validation",
    overall=accuracy_row("all", 1),
    by_steps=(accuracy_row("1 step", 2), accuracy_row("2 steps", 3)),
    by_operation=(accuracy_row("addition", 4), accuracy_row("division", 5)),
    n_unanswered=17,
    thoughts_replaced=(accuracy_row("all", 6), accuracy_row("thought 1", 7)),
    thoughts_replaced_by_steps=(accuracy_row("1 step", 8), accuracy_row("2 steps", 9)),
    written_chain=(accuracy_row("all", 10), accuracy_row("1 step", 11)),
    padding="official",
    rule="last",
    batch_size=96,
    n_halved=2,
    seconds=21.7,
    problems_per_second=60.74,
)
PLAIN_EVALUATION = replace(
    EVALUATION,
    thoughts_replaced=(),
    thoughts_replaced_by_steps=(),
    written_chain=(),
    seconds=None,
    problems_per_second=None,
)


# Thoughts, the lens and captures

TRACES = (
    ThoughtTrace(
        problem_id="stories-0007",
        question="Tom has 3 boxes of 20 apples. How many?",
        n_tokens=31,
        n_unknown=2,
        thought_norms=(12.345, 23.456, 3.4567),
        thought_steps=(0.8765, -0.1234),
        answer=60,
        text=" The answer is: 60\n",
        written="20*3=60. The answer is: 59",
    ),
    ThoughtTrace(
        problem_id="stories-0008",
        question="Ann pays half of 5. How much?",
        n_tokens=17,
        n_unknown=0,
        thought_norms=(1.005, 0.995, 101.5),
        thought_steps=(0.004, -0.996),
        answer=2.25,
        text="The answer is: 2.25",
    ),
    ThoughtTrace(
        problem_id="question-1",
        question="Why?",
        n_tokens=4,
        n_unknown=1,
        thought_norms=(4.25, 5.75, 6.125),
        thought_steps=(0.335, 0.345),
        answer=None,
        text="Because.",
    ),
)
TRUTHS = (60, 2.5, None)


def lens_token(text: str, probability: float, is_result: bool = False) -> LensToken:
    return LensToken(text=text, id=ord(text[-1]), probability=probability, is_result=is_result)


LENS_GRID = LensGrid(
    problem_id="stories-0007",
    question="Tom has 3 boxes of 20 apples. How many?",
    answer=60,
    tokens=(
        (
            (lens_token(" apples", 0.512), lens_token("\n", 0.0949)),
            (lens_token(" 60", 0.7251, is_result=True), lens_token(" boxes", 0.031)),
            (lens_token(" extraordinary", 0.004), lens_token(" 20", 0.006)),
        ),
        (
            (lens_token("the", 0.223), lens_token("a", 0.187)),
            (lens_token(" 59", 0.4449), lens_token(" 60", 0.3551, is_result=True)),
            (lens_token("[b]", 0.997), lens_token(":x:", 0.0149)),
        ),
    ),
)


def lens_group(name: str, number: int) -> LensGroup:
    cells = tuple(
        LensCell(
            layer=layer,
            position=position,
            hits=100 + 3 * layer + position,
            rate=0.0713 * (number + 3 * layer + position),
            low=0.0613 * (number + 3 * layer + position),
            high=0.0823 * (number + 3 * layer + position),
            by_chance=0.0117 * number + 0.02 * layer + (0.5 if (layer, position) == (1, 2) else 0.0),
        )
        for layer in range(2)
        for position in range(3)
    )
    return LensGroup(
        name=name, n=1_100 + number, n_given_away=1_030 + number, n_not_one_token=1_060 + number, cells=cells
    )


LENS_REPORT = LensReport(
    model="codi-mini",
    data="stories:validation",
    n_problems=1_319,
    top=5,
    n_layers=2,
    n_positions=3,
    groups=(lens_group("step 1", 2), lens_group("answer", 5)),
)


def capture(folder: Path) -> Capture:
    """A capture whose files have their sizes and nothing else: the page looks at no more."""
    folder.mkdir(parents=True)
    for layer, mib in ((4, 2.5), (14, 3.75)):
        with layer_file(folder, layer).open("wb") as file:
            file.truncate(int(mib * 2**20))
    info = CaptureInfo(
        model="codi-mini",
        model_sha256=HASHES["model"],
        data="stories:validation",
        data_sha256=HASHES["data"],
        problem_ids=tuple(map(str, range(1_319))),
        layers=(4, 14),
        positions=(0, 3, 6),
        d_model=192,
        dtype="bfloat16",
        padding="masked",
        n_done=1_318,
    )
    return Capture(folder=folder, info=info)


# SAEs


def sae_metrics(number: int) -> SAEMetrics:
    return SAEMetrics(
        n_rows=1_300 + number,
        explained_variance=0.81234 + 0.0123 * number,
        explained_variance_per_dimension=0.71234 + 0.0234 * number,
        mse=0.0456 * number**2,
        l0=15.25 + number,
        dead_share=0.0345 * number,
        mean_activation=7.654 * number,
        max_activation=54.321 * number,
        activation_frequency=torch.full((16,), 0.01 * number),
    )


def structure(number: int) -> DecoderStructure:
    return DecoderStructure(
        nearest=torch.full((16,), 0.3),
        mean_nearest=0.4567 + 0.0111 * number,
        mean_abs_cosine=0.0678 + 0.0022 * number,
    )


def spliced(number: int) -> SplicedMetrics:
    return SplicedMetrics(
        n_problems=1_200 + number,
        accuracy_clean=0.87415 + 0.01 * number,
        accuracy_spliced=0.83094 - 0.02 * number,
        accuracy_mean=0.31234 - 0.03 * number,
        logprob_clean=-0.1234 * number,
        logprob_spliced=-0.2468 * number,
        logprob_mean=-3.579 * number,
    )


TRAIN_OPTIONS = TrainOptions(out=Path("runs/sae"), layer=4, position=2, model="codi-mini", held_out="stories:held")
TRAIN_CONFIG = SAETrainingConfig(d_sae=512, k=16, seed=17, architecture="matryoshka")
SAE_EVALUATION = SAEEvaluation(
    model="codi-mini",
    model_sha256=HASHES["model"],
    held_out="stories:validation",
    data_sha256=HASHES["data"],
    saes=(
        EvaluatedSAE(
            name="runs/a/d512_k16_s0",
            site=SITE,
            trained_as="matryoshka",
            rule="abs",
            k=16,
            d_sae=512,
            seed=0,
            held_out=sae_metrics(1),
            train=sae_metrics(2),
            structure=structure(1),
            spliced=spliced(1),
        ),
        EvaluatedSAE(
            name="runs/a/d1024_k8_s1",
            site=SITE,
            trained_as="topk",
            rule="relu",
            k=8,
            d_sae=1_024,
            seed=1,
            held_out=sae_metrics(3),
            train=sae_metrics(4),
            structure=structure(2),
            spliced=replace(spliced(2), accuracy_mean=spliced(2).accuracy_clean),
        ),
        EvaluatedSAE(
            name="gated-of-another-site",
            site=Site(9, 2),
            trained_as="gated",
            rule=None,
            k=None,
            d_sae=256,
            seed=None,
            held_out=sae_metrics(5),
            train=None,
            structure=None,
            spliced=None,
        ),
    ),
    stability=(
        Stability(
            first="runs/a/d512_k16_s0",
            second="runs/a/d1024_k8_s1",
            mean=0.6123,
            mean_alive=0.7234,
            share_alive=0.5345,
            mean_chance=0.2456,
        ),
    ),
    notes=("a note made by hand",),
)


def sweep_row(site: Site, k: int, seed: int, number: int, with_splice: bool = True) -> SweepRow:
    return SweepRow(
        site=site,
        k=k,
        d_sae=512,
        seed=seed,
        dead_share_train=0.0543 * number,
        held_out=sae_metrics(number),
        structure=structure(number),
        folder=Path("runs/sweep") / str(site) / f"k{k}_s{seed}",
        spliced=spliced(number) if with_splice else None,
    )


# only the numbers of problems stand on the page, so that empty ones serve
_PROBLEMS = tuple(Problem(str(i), "?", 0, ()) for i in range(1_111))
SWEEP_PLAN = SweepPlan(
    sites=(SITE,),
    grid=SweepGrid(ks=(5, 10), d_saes=(512,), seeds=(0, 1), recipe=SAETrainingConfig(d_sae=1, k=1, epochs=19)),
    training=_PROBLEMS,
    training_name="stories:sae",
    held_out=_PROBLEMS[:1_022],
    held_out_name="stories:validation",
    out=Path("runs/sweep"),
    captures=Path("runs/activations"),
)
SWEEP_ROWS = (
    sweep_row(SITE, k=5, seed=0, number=4),
    sweep_row(SITE, k=10, seed=0, number=2),
    sweep_row(SITE, k=10, seed=1, number=6),
)
LONG_SWEEP_ROWS = tuple(
    sweep_row(site, k=k, seed=0, number=1 + (k * step) % 13, with_splice=False)
    for site, step in ((Site(9, 2), 3), (SITE, 5))
    for k in range(1, 33)
)


# A model

MODEL = ModelDescription(
    name="runs/model",
    architecture="llama",
    layout="official",
    n_layers=16,
    d_model=192,
    n_heads=6,
    n_kv_heads=2,
    vocab_size=1_234,
    max_positions=2_048,
    tied_embeddings=True,
    n_parameters=9_876_543,
    projection="192 -> 384 -> 192, layer norm",
    n_thoughts=5,
    special_ids={"pad": 0, "<bot>": 1_231, "<eot>": 1_232, "eos": None},
    remove_eos=True,
    dtype="float32",
    device="cpu",
    weight_bytes=39_506_172,
    cache_bytes_per_problem=1_789_569,
    sha256=HASHES["model"],
    found={"lora_r": 128, "targets": ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"], "empty": None},
    assumed={"lora_alpha": 32},
)
PARITY = Parity(
    n_problems=37,
    worst_by_layer=(1.23e-6, 4.56e-6, 3.21e-6),
    worst_by_position=(1.1e-6, 2.2e-6, 3.3e-6, 4.56e-6),
    n_answers_equal=37,
)
CHECKUP = Checkup(model=MODEL, parity=PARITY)
BAD_CHECKUP = Checkup(
    model=replace(MODEL, remove_eos=False, tied_embeddings=False, assumed={}),
    parity=replace(PARITY, worst_by_layer=(0.00789, 0.00234), worst_by_position=(0.00123, 0.00789), n_answers_equal=35),
)
ROUNDED_CHECKUP = Checkup(model=replace(MODEL, dtype="bfloat16", found={}), parity=PARITY)


def stop_row(thoughts: int, group: int, steps: int | None = None, operation: str | None = None) -> StopRow:
    """Numbers of its own for every group and number of thoughts; beyond two thoughts nothing is settled."""
    number = 10 * group + thoughts
    return StopRow(
        thoughts=thoughts,
        steps=steps,
        operation=operation,
        n=1_000 + 100 * group,
        n_correct=300 + 20 * number,
        share=Estimate(0.30125 + 0.01 * number, 0.27375 + 0.01 * number, 0.33125 + 0.01 * number),
        n_settled=400 + 90 * number if thoughts <= 2 else None,
        n_lost=7 + 2 * number,
        final=Estimate(
            0.0625 * number - 3.0,
            None if thoughts == 2 else 0.0625 * number - 3.125,
            None if thoughts == 2 else 0.0625 * number - 2.75,
        ),
    )


def stop_change(thoughts: int, group: int, steps: int | None = None, operation: str | None = None) -> StopChange:
    """One group gains nothing by any thought."""
    number = 10 * group + thoughts
    value = -0.00125 if group == 1 else 0.00375 * number + 0.1
    return StopChange(
        thoughts=thoughts,
        steps=steps,
        operation=operation,
        n=1_000 + 100 * group,
        n_broken=11 + number,
        n_fixed=1_041 + number,
        change=Estimate(value, value - 0.02125, value + 0.03375, p_value=0.0001, p_adjusted=0.00021 * number),
    )


STOP_GROUPS = ((0, None, None), (1, 1, None), (2, 2, None), (3, None, "addition"), (4, None, "division"))
STOP_ROWS = tuple(stop_row(k, *group) for group in STOP_GROUPS for k in range(5))
STOP = EarlyStopping(
    model="codi-mini",
    data="stories:validation",
    n_problems=1_000,
    n_thoughts=2,
    most=4,
    overall=STOP_ROWS[:5],
    rows=STOP_ROWS[5:15],
    by_operation=STOP_ROWS[15:],
    changes=tuple(stop_change(k, *group) for group in STOP_GROUPS for k in range(1, 5)),
    n_clusters=987,
    environment=ENVIRONMENT,
    notes=("1 of 1,000 questions holds words that codi-mini does not know.",),
)
COMPARISON = RunComparison(
    first=ComparedRun("runs/449", EXPERIMENT, 1_319, clean_accuracy=0.87415, accuracy=0.83094),
    second=ComparedRun("runs/162", SWAP_RESULT.experiment, 1_495, clean_accuracy=0.91234, accuracy=0.90056),
    n=1_207,
    differs=("kind", "features", "model"),
    same_model=False,
    effect=replace(EFFECT, logprob=None, margin=None, probability=None, verdict="The second run is right more often."),
    clean=replace(EFFECT, estimate=0.03819, low=0.01119, high=0.06519, p_value=0.0061),
    difference=Estimate(0.03141, -0.00222, 0.06512, 0.0712),
    by_operation=RESULT.by_operation,
    by_steps=RESULT.by_steps,
    seed=7,
    notes=("112 of 1,319 problems of runs/449 are not in the other run.",),
)
SAME_MODEL_COMPARISON = replace(
    COMPARISON,
    differs=(),
    same_model=True,
    clean=None,
    effect=replace(EFFECT, verdict="Unresolved: a difference is not shown."),
    by_operation=(),
    by_steps=(),
    notes=(),
)


def probe_row(number: int, site: Site, k: int | None = None) -> ProbeRow:
    """Every number differs by site and by what is measured."""
    step = 0.03125 * number
    return ProbeRow(
        site=site,
        sae="codi-mini/L10.P2",
        k=k,
        n_dimensions=512,
        found=Estimate(0.41115 + step, 0.37225 + step, 0.45335 + step),
        control=0.28125 - 0.0625 * number,
        difference=Estimate(0.12345 + 2 * step, -0.01115 + step, 0.17775 + 2 * step),
        beyond=Estimate(-0.21235 + 2 * step, -0.25555 + step, -0.15665 + step),
        penalty=0.01 * 10**number,
    )


PROBE = ProbeMap(
    model="codi-mini",
    data="stories:validation",
    target="operation:2",
    kind="classes",
    measure="balanced accuracy",
    method="ridge",
    source="latents",
    classes=("addition", "division"),
    class_counts=(701, 531),
    n=1_232,
    n_problems=1_495,
    n_clusters=1_198,
    folds=5,
    control_draws=3,
    control_types="left operand of step 2",
    in_question=0.0,
    seed=7,
    baselines=(
        Baseline("majority", Estimate(0.5, 0.5, 0.5)),
        Baseline("words of the question", Estimate(0.62345, 0.58765, 0.65435)),
        Baseline("shuffled positions, layer 10", Estimate(0.55515, 0.52225, 0.59995)),
    ),
    rows=(
        probe_row(0, Site(10, 1)),
        probe_row(1, Site(10, 2)),
        probe_row(2, Site(14, 1)),
        probe_row(3, Site(14, 2)),
        probe_row(4, Site(14, 2), k=16),
    ),
    confirmed=ConfirmedProbe(
        site=Site(14, 2),
        k=None,
        data="stories:confirmation",
        n=1_101,
        found=Estimate(0.49995, 0.46665, 0.53335),
        control=0.27775,
        difference=Estimate(0.2222, 0.18885, 0.25555),
    ),
    causal=CausalCheck(
        site=Site(14, 2),
        data="stories:confirmation",
        n=1_495,
        n_clusters=1_397,
        n_directions=3,
        draws=20,
        n_broken=87,
        n_fixed=11,
        accuracy=Estimate(-0.05084, -0.06515, -0.03725, p_value=0.00012),
        probability=Estimate(-0.04567, -0.05998, -0.03334, p_value=0.00023),
        control_accuracy=-0.01115,
        control_probability=-0.01225,
        beyond_accuracy=Estimate(-0.03969, -0.06111, -0.01888, p_value=0.0034),
        beyond_probability=Estimate(-0.03342, -0.05222, -0.01444, p_value=0.0045),
        rank_p=0.0476,
        norm=11.26,
        control_norm=9.87,
    ),
    environment=ENVIRONMENT,
    notes=("operation:2 is no number that could stand in a question.",),
)
