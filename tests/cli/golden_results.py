"""Results of edits made by hand for the golden pages, and comparisons of two of them; see `golden_records`."""

from dataclasses import replace

from codi_int.interventions.engine.summary import ResultFamily
from codi_int.interventions.screens.paths import EffectByPath
from codi_int.records import Estimate
from codi_int.runs.compare import ComparedRun, RunComparison
from codi_int.types import (
    Arm,
    ControlSet,
    Effect,
    Experiment,
    FeatureTurn,
    LaterEffects,
    Matched,
    MeanEffect,
    OperationRow,
    ResidualDistance,
    Result,
    ResultRead,
    RunCounts,
    SideEffects,
    Site,
    StepsRow,
    Symmetry,
    ThoughtChange,
)
from tests.cli.golden_records import COUNTS, ENVIRONMENT, SITE, interaction

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


SIDE_EFFECTS = SideEffects(
    n_touched=1_042,
    residual=ResidualDistance(
        n_real=1_319,
        before=0.4747,
        after=0.8383,
        change=Estimate(value=0.2626, low=0.2121, high=0.3131, method="bootstrap-t, by cluster"),
        n_beyond=1_013,
        beyond=Estimate(value=0.9722, low=0.9494, high=0.9888, method="Wilson, by cluster"),
        controls=0.1414,
    ),
    next_thought=ThoughtChange(
        thought=4,
        cosine=0.91919,
        cosine_low=0.71717,
        norm=1.0303,
        norm_low=0.8585,
        norm_high=1.2929,
        mean_cosine=Estimate(value=0.90909, low=0.89898, high=0.92929, method="bootstrap-t, by cluster"),
        mean_norm=Estimate(value=1.0404, low=1.0202, high=1.0606, method="bootstrap-t, by cluster"),
        controls=0.95959,
    ),
)


def feature_turn(
    site: Site, feature: int, counts: tuple[int, int, int], share: tuple[float, float, float]
) -> FeatureTurn:
    return FeatureTurn(
        site=site,
        feature=feature,
        n_before=counts[0],
        n_on=counts[1],
        n_off=counts[2],
        share=Estimate(*share, method="Wilson, by cluster"),
    )


def result_read(
    result: str, thought: int, counts: tuple[int, int, int], change: tuple[float, float, float]
) -> ResultRead:
    return ResultRead(
        result=result,
        thought=thought,
        n=counts[0],
        n_before=counts[1],
        n_after=counts[2],
        change=Estimate(*change, p_value=0.0011 * counts[0] / thought, p_adjusted=0.0033 * thought),
    )


LATER_EFFECTS = LaterEffects(
    n_sites=48,
    n_features=2_443,
    fires=768.25,
    turns_on=16.51,
    turns_off=14.37,
    controls=18.66,
    n_controls=5,
    features=(
        feature_turn(Site(1, 6), 235, (226, 13, 1_010), (0.9818, 0.9596, 0.9919)),
        feature_turn(Site(15, 4), 9, (5, 88, 1), (0.0854, 0.0531, 0.1832)),
    ),
    results=(
        result_read("step 1", 5, (1_017, 36, 411), (0.3687, 0.3131, 0.4242)),
        result_read("answer", 6, (74, 23, 21), (-0.027, -0.0991, 0.0455)),
    ),
    top=5,
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
    side_effects=SIDE_EFFECTS,
    environment=ENVIRONMENT,
    counts=COUNTS,
    outcomes={},
    notes=("a note made by hand, of [bold]literal[/bold] words",),
)

DEAD_RESULT = replace(
    RESULT,
    side_effects=None,
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
    # with `replace` the reconstruction alone has moved the thought; one calculation has no interval
    side_effects=replace(
        SIDE_EFFECTS,
        residual=None,
        next_thought=replace(
            SIDE_EFFECTS.next_thought,  # type: ignore[type-var]
            mean_cosine=Estimate(value=0.90909, low=None, high=None, method="none"),
            before_cosine=0.99494,
            before_norm=0.97979,
            controls=None,
        ),
    ),
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
    interaction=replace(
        interaction(-0.0326, -0.0487, 0.0165, 0.0098, 0.0196), p_equivalence=0.2222, p_equivalence_adjusted=0.4343
    ),
    additivity="unresolved",
    bound=0.0078,
    interaction_logprob=interaction(0.5564, 0.2892, 0.8236, 0.0647, 0.1294),
)
PATHS_DOCUMENT = {
    "model": "codi-mini",
    "sae": "codi-mini/L14.P3",
    "data": "stories:validation",
    "n_problems": 1_319,
    "seed": 13,
}


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
