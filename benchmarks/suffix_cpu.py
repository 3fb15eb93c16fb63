"""CPU seconds of the suffix alone: a median and a frequent feature with their controls, and a group of a screen.

    python benchmarks/suffix_cpu.py [--limit 600]

codi-mini, L14.P3, zero ablation. Processor time of one thread, so that two checkouts can be compared in alternation
(PYTHONPATH=CHECKOUT) on a machine that has other work. Prints, and keeps nothing.
"""

import argparse
import time

import torch

import codi_int as ci
from codi_int.interventions.engine.controls import feature_stats, matched_features
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.screens.groups import group_by_rows
from codi_int.types import Site

SITE = Site(14, 3)


def main() -> None:
    """One line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=600, help="problems of stories:validation (default 600)")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many (default 3)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sae = ci.load_sae("codi-mini/L14.P3")
    engine = FeatureInterventionEngine(ci.load_model("codi-mini"), {SITE: sae})
    context = engine.site_context(ci.load_problems("stories:validation", limit=given.limit))
    n_fired = (context.latents != 0).sum(0)
    alive = n_fired.nonzero()[:, 0].tolist()
    stats = feature_stats(context.latents, sae.W_dec.detach().float().norm(dim=1))
    by_rate = sorted(alive, key=lambda feature: int(n_fired[feature]))
    with_controls = {
        f"ablate {feature} and its controls": [feature, *(c for (c,) in matched_features(stats, [feature]))]
        for feature in (by_rate[len(by_rate) // 2], by_rate[-1])
    }
    group = next(iter(group_by_rows(alive, lambda feature: int(n_fired[feature]))))
    for what, features in {**with_controls, "a group of a screen": group}.items():
        plans = engine.plan_all(context, [ci.Ablate(feature) for feature in features])
        times = []
        for _ in range(given.repeats):
            started = time.process_time()
            engine.score(context, plans)
            times.append(time.process_time() - started)
        rows = sum(len(plan.rows) for plan in plans)
        print(f"{what}: {rows:,} rows, {min(times):.2f} s, {1e3 * min(times) / rows:.2f} ms a row", flush=True)


if __name__ == "__main__":
    main()
