"""How the screen grows with features, problems and sites, its peak memory, and how long a single ablation takes.

    python benchmarks/screen_growth.py

codi-mini, zero ablation, stories:validation. Every point is a process of its own. Features are seeded samples of the
512, each containing the smaller one. Where several sites are screened they share one clean pass; the SAE of L14.P3
stands at each of them, for what is measured is time, and an SAE of one shape costs the same whatever it has learnt.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import _common as common

import codi_int as ci
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.screens.screen import run_screen
from codi_int.report.growth import growth_figure
from codi_int.sae import SAE
from codi_int.sae.config import Provenance
from codi_int.types import Site

SITES = tuple(Site(layer, position) for layer in (14, 8) for position in (3, 1, 5, 2))
FEATURE = 449
BASE = {"features": 128, "problems": 300, "sites": 1}
"""what stays as it is while another size varies"""
POINTS = {
    "features": (64, 128, 256, 512),
    "problems": (100, 200, 400, 800, 1495),
    "sites": (1, 2, 4, 8),
}
QUICK_BASE, QUICK_POINTS = {"features": 16, "problems": 32, "sites": 1}, {"features": (16, 32), "sites": (1, 2)}


def anywhere(sae: SAE) -> SAE:
    """The same SAE without a word about the place that it was made for."""
    copy = type(sae)(replace(sae.config, provenance=Provenance()))
    copy.load_state_dict(sae.state_dict())
    return copy.requires_grad_(False)


def screen_point(features: int, problems: int, sites: int) -> dict[str, Any]:
    """One screen in this process alone."""
    model, sae = ci.load_model("codi-mini"), anywhere(ci.load_sae("codi-mini/L14.P3"))
    given = ci.load_problems("stories:validation", limit=problems)
    chosen = random.Random(0).sample(range(sae.d_sae), sae.d_sae)[:features]
    run_screen(FeatureInterventionEngine(model, {SITES[0]: sae}), given[:8], chosen[:8])  # imports what tests need
    before = common.forget_peak()
    watch = common.Stopwatch()
    engine = FeatureInterventionEngine(model, dict.fromkeys(SITES[:sites], sae))
    with watch.at("clean"):
        engine.site_context(given, SITES[0])
    rows = 0
    with watch.at("screen"):
        for site in SITES[:sites]:
            rows += run_screen(engine, given, chosen, site=site).counts.suffix_rows
    return {
        "features": features,
        "problems": problems,
        "sites": sites,
        "seconds": sum(watch.seconds.values()),
        "clean_s": watch.seconds["clean"],
        "suffix_rows": rows,
        "peak_mib": common.peak_mib(),
        "held_before_mib": before,
    }


def median_s(call: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def ablate_part(problems: int, repeats: int) -> dict[str, Any]:
    """`engine.run(Ablate(449))` in this process alone: first with the clean pass, then on a warm engine."""
    started = time.perf_counter()
    model, sae = ci.load_model("codi-mini"), ci.load_sae("codi-mini/L14.P3")
    given = ci.load_problems("stories:validation", limit=problems)
    loaded = time.perf_counter()
    engine = FeatureInterventionEngine(model, {Site(14, 3): sae})
    edit = ci.Ablate(FEATURE)
    engine.run(edit, given)
    first = time.perf_counter()
    context = engine.site_context(given)
    arm_alone = median_s(lambda: engine.score(context, [engine.plan(context, edit)]), repeats)
    return {
        "problems": problems,
        "load_s": loaded - started,
        "first_run_s": first - loaded,
        "warm_run_s": median_s(lambda: engine.run(edit, given), repeats),
        "warm_run_without_controls_s": median_s(lambda: engine.run(edit, given, controls=0), repeats),
        "arm_alone_s": arm_alone,
        "rows_of_the_arm": len(engine.plan(context, edit).rows),
        "peak_mib": common.peak_mib(),
    }


def points(base: dict[str, int], varied: dict[str, Sequence[int]]) -> list[dict[str, Any]]:
    """All screens, one size varied at a time."""
    rows = []
    for name, sizes in varied.items():
        for size in sizes:
            sizes_here = {**base, name: size}
            found = common.part(__file__, "screen", *(f"--{key}={value}" for key, value in sizes_here.items()))
            rows.append({"peer": "codi-int screen", "varies": name, **found})
    return rows


def main() -> None:
    """All points, the table, the JSON and the picture."""
    parser = common.arguments(__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=("screen", "ablate"), help=argparse.SUPPRESS)
    for name in BASE:
        parser.add_argument(f"--{name}", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part == "screen":
        print(json.dumps(screen_point(given.features, given.problems, given.sites)))
        return
    if given.part == "ablate":
        print(json.dumps(ablate_part(given.problems, given.repeats)))
        return
    base, varied = (QUICK_BASE, QUICK_POINTS) if given.quick else (BASE, POINTS)
    rows = points(base, varied)
    columns = {
        "varies": "varies",
        "features": "features",
        "problems": "problems",
        "sites": "sites",
        "suffix_rows": "suffix rows",
        "seconds": "seconds",
        "clean_s": "of these clean pass",
        "peak_mib": "peak MiB",
    }
    common.show(rows, columns)
    ablate = common.part(__file__, "ablate", f"--problems={32 if given.quick else 1495}", f"--repeats={given.repeats}")
    print(f"\nengine.run(Ablate({FEATURE})) at L14.P3\n")
    common.show([{"what": key, "value": value} for key, value in ablate.items()], {"what": "", "value": ""})
    path = common.write("screen_growth", {"base": base, "rows": rows, "ablate": ablate}, given.quick)
    fixed = ", ".join(f"{size} {name}" for name, size in base.items())
    caption = f"codi-mini, zero ablation; sizes that do not vary: {fixed}"
    growth_figure(rows, list(varied), ["seconds", "peak_mib"], path.parent, "screen_growth", caption=caption)


if __name__ == "__main__":
    main()
