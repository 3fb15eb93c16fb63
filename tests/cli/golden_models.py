"""What models do and are, made by hand for the golden pages; see `golden_records`."""

from dataclasses import replace
from pathlib import Path

from codi_int.cli.doctor import Checkup
from codi_int.interventions.evaluation import AccuracyRow, Evaluation
from codi_int.interventions.stopping import EarlyStopping, StopChange, StopRow
from codi_int.model.describe import ModelDescription
from codi_int.model.lens import LensCell, LensGrid, LensGroup, LensReport, LensToken
from codi_int.model.parity import Parity
from codi_int.model.trace import ThoughtTrace
from codi_int.probes.records import Baseline, CausalCheck, ConfirmedProbe, ProbeMap, ProbeRow
from codi_int.records import Estimate
from codi_int.sae.captures import Capture, CaptureInfo, layer_file
from codi_int.types import (
    Site,
)
from tests.cli.golden_records import ENVIRONMENT, HASHES

# Accuracy


def accuracy_row(group: str, number: int) -> AccuracyRow:
    return AccuracyRow(
        group=group,
        n=1_300 + number,
        n_correct=1_100 - 3 * number,
        accuracy=0.91234 - 0.01357 * number,
        low=0.89123 - 0.02468 * number,
        high=0.93456 - 0.00579 * number,
        method="Wilson, by cluster",
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
