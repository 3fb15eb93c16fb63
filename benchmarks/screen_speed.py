"""The exact screen of all features at one site beside the hooked re-run that everybody else would write.

    python benchmarks/screen_speed.py

codi-mini, L14.P3, zero ablation of all 512 features on all 1,495 problems of stories:validation. The re-run is timed
on a seeded sample of the features that fire and extrapolated, in three strengths:

  all problems       one hook per feature, the whole model on every problem; the best of several batch sizes
  firing problems    the same, on the problems on which the feature fires (what the exact skip alone gives)
  shared batches     firing problems only, and rows of many features share a batch (no hook library does this)

A screen is timed without its confirmation and with it, the default: what is found is run again on stories:confirmation.
The first re-run is what is done today and what the ratio in the docs refers to. Since it gets faster with the clean
pass, the ratios stand beside those against what the first two took when the engine was first measured (`RECORDED`).
Every answer of the sample is compared with the screen's. The arithmetic floor is the multiplications and additions of
the matrix products that the suffix rows need, divided by the rate of a large float32 product on this machine.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from unittest.mock import patch

import _common as common
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import codi_int as ci
from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.engine.suffix import SuffixRunner
from codi_int.interventions.screens.screen import run_screen
from codi_int.interventions.screens.sides import SelectionPlan
from codi_int.model.hooked import CodiModel
from codi_int.model.hooks import HookContext
from codi_int.types import Number, Problem, Site

SITE = Site(14, 3)
BATCH_SIZES = (64, 128, 256, 512)
RECORDED = {"all problems": 4801.0, "firing problems": 677.0}
"""seconds of a whole screen by the first two re-runs when the engine was first measured (two quiet cores of another
machine, from a sample as here): what a ratio can refer to while the re-run changes with the code"""
PROFILED = 400
"""problems of the profile: the profiler keeps every call"""
CALLS = {
    "matrix products of layers": ("mm", "addmm"),
    "attention": (
        "bmm",
        "baddbmm",
        "baddbmm_",
        "_softmax",
        "masked_fill_",
        "_scaled_dot_product_flash_attention_for_cpu",
    ),
    "norms and elementwise": (
        *("mul", "mul_", "add", "add_", "sub", "neg", "div", "div_", "silu", "silu_", "pow", "mean", "sum", "rsqrt"),
        *("rms_norm", "_fused_rms_norm", "where", "exp", "amax", "maximum", "gt", "ge", "le", "lt", "eq", "ne"),
    ),
    "copies": ("copy_", "cat", "index", "index_select", "gather", "clone", "_to_copy", "index_put_", "embedding"),
}
"""kinds of torch calls in the profile"""
OTHER_CALLS = "views, dispatch and the rest"


def load(limit: int | None) -> tuple[CodiModel, FeatureInterventionEngine, Sequence[Problem]]:
    """The shipped model and SAE, and the problems."""
    model = ci.load_model("codi-mini")
    engine = FeatureInterventionEngine(model, {SITE: ci.load_sae("codi-mini/L14.P3")})
    return model, engine, ci.load_problems("stories:validation", limit=limit)


def flops_per_token(model: CodiModel, length: int) -> int:
    """Matrix products of one token in one block, attention to `length` slots included."""
    stack, inner = model.stack, model.stack.hf.config.intermediate_size
    heads, kv = stack.n_heads * stack.head_dim, stack.n_kv_heads * stack.head_dim
    weights = stack.d_model * (2 * heads + 2 * kv) + 3 * stack.d_model * inner
    return 2 * weights + 4 * heads * length


def suffix_flops(model: CodiModel, context: SiteContext, touched: Tensor, changed: Tensor) -> int:
    """Arithmetic that no exact method that starts at the site can avoid.

    Args:
        touched: [n] how many features fire on each problem.
        changed: [n] how many of those change the answer's tokens, so that it is written again (counted with the
            clean answer's length).
    """
    layer, position = SITE.layer or 0, SITE.position
    thoughts = model.n_thoughts - position
    projection = 4 * model.d_model * model.config.prj_dim
    total = 0
    for index, batch in enumerate(context.clean.batches):
        counts = context.clean.rollouts.at(index).decoded.counts.tolist()
        length = batch.ids.shape[1] + model.n_thoughts
        token = flops_per_token(model, length)
        for row, steps in zip(batch.rows, counts, strict=True):
            answer = steps * (model.n_layers * token + 2 * model.d_model * model.stack.vocab_size)
            rest = (model.n_layers - layer - 1 + thoughts * model.n_layers) * token + thoughts * projection
            total += int(touched[row]) * (rest + answer) + int(changed[row]) * answer
    return total


def timed_screen(engine: FeatureInterventionEngine, problems: Sequence[Problem], rate: float) -> dict[str, object]:
    """A screen of all features, timed by parts, and its share of what the arithmetic alone would take."""
    watch = common.Stopwatch()
    touched, changed = torch.zeros(2, len(problems), dtype=torch.long)
    score = engine.score

    def scored(context: SiteContext, plans: Sequence[ArmPlan], *rest: object) -> list[ArmScores]:
        out = score(context, plans, *rest)  # type: ignore[arg-type]
        for plan, scores in zip(plans, out, strict=True):
            touched[plan.rows] += 1
            changed[plan.rows] += scores.changed.long()
        return out

    started = time.perf_counter()
    with watch.at("clean pass"):
        context = engine.site_context(problems)
    again = watch.around("rows written again", SuffixRunner._write_again)
    timed = watch.around("suffix", scored)
    with patch.object(SuffixRunner, "_write_again", again), patch.object(engine, "score", timed):
        screen = run_screen(engine, problems, selection=SelectionPlan(confirm="none"))
    total = time.perf_counter() - started
    confirming = time_confirmation(engine, problems, total)
    parts = dict(watch.seconds)
    parts["suffix"] -= parts.get("rows written again", 0.0)
    parts["plans and statistics"] = total - sum(parts.values())
    flops = suffix_flops(engine.model, context, touched, changed)
    return {
        "seconds": total,
        "confirmation": confirming,
        "parts_s": parts,
        "counts": asdict(screen.counts),
        "features": len(screen.rows),
        "n_problems": len(problems),
        "suffix_gflop": flops / 1e9,
        "matmul_gflop_per_s": rate / 1e9,
        "floor_s": flops / rate,
        "share_of_floor": flops / rate / parts["suffix"],
    }


def time_confirmation(
    engine: FeatureInterventionEngine, problems: Sequence[Problem], without: float
) -> dict[str, object]:
    """What confirming adds to a screen: telling the stories, one clean pass, and the arms that were selected."""
    watch = common.Stopwatch()
    with watch.at("stories"):
        confirming = ci.load_problems("stories:confirmation", limit=len(problems))
    with watch.at("screen, selections and all"):
        found = run_screen(engine, problems)
    selection = found.selection
    assert selection is not None
    # nothing is run again where nothing was selected
    added = watch.seconds["stories"] + selection.seconds
    return {
        "n_confirming": len(confirming),
        "n_selected": sum(row.confirmation is not None for row in found.rows),
        "n_confirmed": selection.n_confirmed,
        "stories_s": watch.seconds["stories"],
        "run_again_s": selection.seconds,
        "ratio": (without + added) / without,
    }


def screen_part(limit: int | None) -> dict[str, object]:
    """The screen of codi-mini, in this process alone."""
    rate = common.matmul_rate()
    _, engine, problems = load(limit)
    held = common.forget_peak()
    found = timed_screen(engine, problems, rate)
    return {**found, "peak_mib": common.peak_mib(), "held_before_mib": held}


def profile_part(limit: int | None) -> dict[str, object]:
    """Where the suffix of a screen spends its time, by kinds of torch calls; the profiler itself takes time, too."""
    _, engine, problems = load(limit or PROFILED)
    context = engine.site_context(problems)
    alive = (context.latents != 0).any(0).nonzero()[:, 0].tolist()
    plans = engine.plan_all(context, [ci.Ablate(feature) for feature in alive])
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        engine.score(context, plans)
    kind_of = {name: kind for kind, names in CALLS.items() for name in names}
    spent, calls = dict.fromkeys((*CALLS, OTHER_CALLS), 0.0), dict.fromkeys((*CALLS, OTHER_CALLS), 0)
    for event in seen.key_averages():
        kind = kind_of.get(event.key.removeprefix("aten::"), OTHER_CALLS)
        spent[kind] += event.self_cpu_time_total / 1e6
        calls[kind] += event.count
    total = sum(spent.values())
    rows = [{"calls": kind, "count": calls[kind], "share": spent[kind] / total} for kind in spent]
    return {"n_problems": len(problems), "rows": sum(len(plan.rows) for plan in plans), "profile": rows}


class Ablation:
    """A hook that takes each row's feature out: encode, subtract its share of the decoding."""

    def __init__(self, sae: object, feature_of: dict[str, int]) -> None:
        self._sae, self._feature_of = sae, feature_of

    def __call__(self, resid: Tensor, context: HookContext) -> Tensor:
        features = torch.tensor([self._feature_of[name] for name in context.problem_ids], device=resid.device)
        latents = self._sae.encode(resid).dense()  # type: ignore[attr-defined]
        return resid - latents.gather(1, features[:, None]) * self._sae.W_dec[features]  # type: ignore[attr-defined]


def naive(
    model: CodiModel, context: SiteContext, pairs: Sequence[tuple[int, int]], batch_size: int
) -> tuple[float, list[Number | None]]:
    """Seconds and answers of (feature, problem) pairs by a hook and the whole model."""
    problems = [replace(context.clean.problems[i], id=f"{f}/{i}") for f, i in pairs]
    features = {problem.id: f for problem, (f, _) in zip(problems, pairs, strict=True)}
    started = time.perf_counter()
    with torch.no_grad(), model.hooks({SITE: Ablation(context.sae, features)}):
        answers = model.answer(problems, batch_size=batch_size)
    return time.perf_counter() - started, [completion.answer for completion in answers]


def sample_of(context: SiteContext, size: int) -> list[int]:
    """Features that fire, drawn with a seed."""
    living = (context.latents != 0).any(0).nonzero()[:, 0].tolist()
    return sorted(random.Random(0).sample(living, min(size, len(living))))


def exact_answers(
    engine: FeatureInterventionEngine, context: SiteContext, features: Sequence[int]
) -> list[list[object]]:
    """The screen's answers: for every feature one per problem."""
    plans = [engine.plan(context, ci.Ablate(f)) for f in features]
    out = []
    for plan, scores in zip(plans, engine.score(context, plans), strict=True):
        answers: list[object] = [outcome.answer for outcome in context.clean.outcomes]
        for row, answer in zip(plan.rows.tolist(), scores.answers, strict=True):
            answers[row] = answer
        out.append(answers)
    return out


def naive_part(limit: int | None, size: int, batch_sizes: Sequence[int]) -> dict[str, object]:
    """The three kinds of re-run on a sample of features, and how their answers compare."""
    model, engine, problems = load(limit)
    context = engine.site_context(problems)
    features, n = sample_of(context, size), len(problems)
    everyone = range(n)
    naive(model, context, [(features[0], i) for i in everyone][:128], 128)  # warm up
    tried = {b: naive(model, context, [(features[0], i) for i in everyone], b)[0] for b in batch_sizes}
    best = min(tried, key=lambda b: tried[b])
    firing = {f: engine.plan(context, ci.Ablate(f)).rows.tolist() for f in features}
    exact = exact_answers(engine, context, features)
    spent: dict[str, list[float]] = {"all problems": [], "firing problems": [], "shared batches": []}
    equal = 0
    for f, truth in zip(features, exact, strict=True):
        seconds, answers = naive(model, context, [(f, i) for i in everyone], best)
        spent["all problems"].append(seconds)
        equal += sum(a == t for a, t in zip(answers, truth, strict=True))
        spent["firing problems"].append(naive(model, context, [(f, i) for i in firing[f]], best)[0])
    shared = [(f, i) for f in features for i in firing[f]]
    spent["shared batches"].append(naive(model, context, shared, best)[0])
    rows_in_all = int((context.latents != 0).sum())
    return {
        "features": features,
        "rows": len(shared),
        "rows_in_all": rows_in_all,
        "batch_size": best,
        "seconds_by_batch_size": tried,
        "seconds": spent,
        "median_s_per_feature": {kind: statistics.median(some) for kind, some in spent.items()},
        "answers_compared": n * len(features),
        "answers_equal": equal,
    }


def extrapolated(screen: dict, rerun: dict) -> list[dict[str, object]]:
    """Seconds of a whole screen by each kind of re-run. All problems: by features; the others: by rows."""
    seconds = rerun["seconds"]
    per_row = {kind: sum(seconds[kind]) / rerun["rows"] for kind in ("firing problems", "shared batches")}
    whole = {
        "all problems": statistics.mean(seconds["all problems"]) * screen["features"],
        "firing problems": per_row["firing problems"] * rerun["rows_in_all"],
        "shared batches": per_row["shared batches"] * rerun["rows_in_all"],
    }
    spent = screen["seconds"]
    rows: list[dict[str, object]] = [{"how": "codi-int screen", "seconds": spent, "ratio": 1.0, "recorded_ratio": 1.0}]
    for kind, value in whole.items():
        recorded = RECORDED.get(kind)
        rows.append(
            {
                "how": f"hooked re-run, {kind}",
                "seconds": value,
                "ratio": value / spent,
                "recorded_s": recorded,
                "recorded_ratio": None if recorded is None else recorded / spent,
            }
        )
    return rows


def report(screen: dict, rerun: dict, rows: list[dict[str, object]]) -> None:
    """The tables of the screen and the re-runs."""
    counts, confirming = screen["counts"], screen["confirmation"]
    print(f"\n{screen['features']} features x {screen['n_problems']} problems at {SITE}\n")
    common.show(
        rows,
        {
            "how": "how",
            "seconds": "seconds",
            "ratio": "times the screen's",
            "recorded_s": "recorded",
            "recorded_ratio": "recorded, times the screen's",
        },
    )
    print(
        f"\nre-runs: measured on {len(rerun['features'])} features, extrapolated; batches of {rerun['batch_size']}; "
        f"{rerun['answers_equal']:,} of {rerun['answers_compared']:,} answers equal the screen's\n"
    )
    common.show(
        [{"part": name, "s": value} for name, value in screen["parts_s"].items()], {"part": "part", "s": "seconds"}
    )
    print(
        f"\nconfirmation on {confirming['n_confirming']:,} stories: {confirming['stories_s']:.1f} s to tell them, "
        f"{confirming['run_again_s']:.1f} s to run {confirming['n_selected']} of {screen['features']} features again; "
        f"a screen takes {confirming['ratio']:.2f} times its time without"
    )
    skipped = counts["skipped"] / counts["pairs"]
    print(
        f"\npairs {counts['pairs']:,}, skipped {skipped:.1%}, suffix rows {counts['suffix_rows']:,}, "
        f"written again {counts['decoded']:,}, re-run slowly {counts['rerun']:,}"
    )
    print(f"peak memory {screen['peak_mib']:,.0f} MiB ({screen['held_before_mib']:,.0f} held before the clean pass)")
    print(
        f"arithmetic floor of the suffix {screen['floor_s']:.1f} s at {screen['matmul_gflop_per_s']:.0f} GFLOP/s: "
        f"the suffix reaches {screen['share_of_floor']:.0%} of it"
    )


def main() -> None:
    """Both parts in processes of their own, then the table."""
    parser = common.arguments(__doc__)
    parser.add_argument("--sample", type=int, default=6, help="features that are re-run (default 6)")
    parser.add_argument("--limit", type=int, help="problems; default all")
    parser.add_argument("--part", choices=("screen", "naive", "profile"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    limit, sample = (64, 2) if given.quick else (given.limit, given.sample)
    if given.part == "screen":
        print(json.dumps(screen_part(limit)))
        return
    if given.part == "naive":
        print(json.dumps(naive_part(limit, sample, BATCH_SIZES[:2] if given.quick else BATCH_SIZES)))
        return
    if given.part == "profile":
        print(json.dumps(profile_part(limit)))
        return
    options = ["--quick"] if given.quick else ["--sample", sample, *(["--limit", limit] if limit else [])]
    screen = common.part(__file__, "screen", *options)
    rerun = common.part(__file__, "naive", *options)
    rows = extrapolated(screen, rerun)
    report(screen, rerun, rows)
    profiled = common.part(__file__, "profile", *options)
    print(f"\nwhere the suffix spends its time ({profiled['n_problems']:,} problems, {profiled['rows']:,} rows)")
    common.show(profiled["profile"], {"calls": "torch calls", "count": "count", "share": "share"})
    document = {"site": str(SITE), "table": rows, "screen": screen, "rerun": rerun, "profile": profiled}
    common.write("screen_speed", document, given.quick)


if __name__ == "__main__":
    main()
