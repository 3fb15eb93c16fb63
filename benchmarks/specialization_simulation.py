"""Does the rule `tested` keep its false discovery rate, and does it find specialists that are there?

    python benchmarks/specialization_simulation.py [--quick]

Problems, chains and firing are real: codi-mini/L14.P3 on stories:validation, confirmed on stories:confirmation.

1. Shuffled labels: the written steps of every chain go to the problems of another chain, so that nothing that features
   fire on says anything of the steps, while features stay as dependent on each other and on the wording as they are.
   Every selected pair is false. Beside it the same test with problems as units, and both once more on problems whose
   chains are told three times each, a feature firing on all tellings or on none.
2. Planted specialists: half of the features fire at random; the other half fires as often, but on problems of one
   property more, so that the property's share given firing is `base + lift`. Share of planted ones of which that
   property is confirmed, and false ones among what is selected and called.
"""

from collections.abc import Sequence
from dataclasses import replace

import _common as common
import numpy as np
import torch
from numpy.typing import NDArray

import codi_int as ci
from codi_int.data.chains import cluster_problems
from codi_int.features.profiles import Profiles, profile_rows
from codi_int.features.properties import TESTED_KINDS, Property, read_properties
from codi_int.features.specialization import specialization
from codi_int.features.specialization_records import RulePlan
from codi_int.interventions.evidence.enrichment import measure_enrichment
from codi_int.interventions.evidence.grid import step_down
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.types import Problem

SHUFFLES, LIFTS, RATES, PLANTED = 60, (0.1, 0.2, 0.4), (0.02, 0.05, 0.15), 40
TELLINGS = 3
PLAN = RulePlan()


def selected(firing: NDArray[np.bool_], present: NDArray[np.bool_]) -> tuple[int, int]:
    """Pairs tested, and pairs selected at the plan's false discovery rate."""
    found = measure_enrichment(firing, present, PLAN.least_firing, least_present=PLAN.least_present, alpha=PLAN.alpha)
    tested = ~np.isnan(found.p_values)
    adjusted = step_down(found.p_values[tested], found.null_sums)
    return int(tested.sum()), int((adjusted < PLAN.alpha).sum())


def shuffled(profiles: Profiles, shuffles: int, told: int) -> list[dict[str, object]]:
    """Share of shuffles in which anything is selected, by chain and by problem."""
    problems, clusters = profiles.problems, cluster_problems(profiles.problems)
    _, first = np.unique(clusters, return_index=True)
    table = read_properties([problems[i] for i in first.tolist()]).of_kinds(TESTED_KINDS)
    firing = profiles.firing(profiles.alive)
    if told > 1:
        # a third of the chains, each told several times: as many problems as before
        chosen = np.arange(len(first))[::told]
        firing, clusters = np.repeat(firing[first[chosen]], told, axis=0), np.repeat(chosen, told)
        first, places = np.arange(len(chosen)) * told, chosen
    else:
        places = np.arange(len(first))
    rng = np.random.default_rng(0)
    found = {"by chain": [0, 0], "by problem": [0, 0]}
    for _ in range(shuffles):
        order = np.arange(len(table.present))
        order[places] = rng.permutation(places)
        present = table.present[order]
        for unit, (rows, labels) in {
            "by chain": (firing[first], present[clusters[first]]),
            "by problem": (firing, present[clusters]),
        }.items():
            _, number = selected(rows, labels)
            found[unit][0] += number > 0
            found[unit][1] += number
    return [
        {
            "told": told,
            "unit": unit,
            "shuffles": shuffles,
            "with_any": some,
            "share": some / shuffles,
            "selected_per_shuffle": total / shuffles,
        }
        for unit, (some, total) in found.items()
    ]


def plant(
    problems: Sequence[Problem], truths: Sequence[Property | None], lift: float, rate: float, seed: int
) -> Profiles:
    """Features that fire on a share `rate` of problems: at random, or more on those of a property."""
    rng = np.random.default_rng(seed)
    table = read_properties(problems)
    place = {one: j for j, one in enumerate(table.properties)}
    fires = np.zeros((len(problems), len(truths)), dtype=np.float32)
    for i, truth in enumerate(truths):
        chance = np.full(len(problems), rate)
        if truth is not None and truth in place:
            has = table.present[:, place[truth]]
            base = has.mean()
            share = min(base + lift, 0.98)
            # P(fires | has) = share * rate / base, and the rest of the rate where it has not
            chance = np.where(has, share * rate / base, (1 - share) * rate / (1 - base)).clip(max=1.0)
        fires[:, i] = rng.random(len(problems)) < chance
    sae = TopKSAE(SAEConfig(d_in=len(truths), d_sae=len(truths), k=len(truths), rule="abs"))
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(len(truths)))
        sae.W_dec.copy_(torch.eye(len(truths)))
    found = profile_rows(sae, torch.from_numpy(fires))
    return replace(found, problems=problems, data="planted", site=ci.Site(14, 3), by_feature={})


def planted(sets: Sequence[Sequence[Problem]], lift: float, rate: float) -> dict[str, object]:
    """How many planted features are found, and how many others."""
    choices = [
        Property("operation", "division"),
        Property("operation of step", "step 1: multiplication"),
        Property("pattern", "multiplication then addition"),
        Property("value", "12"),
        Property("value", "30"),
    ]
    truths: list[Property | None] = [choices[i % len(choices)] for i in range(PLANTED)] + [None] * PLANTED
    both = [plant(problems, truths, lift, rate=rate, seed=seed) for seed, problems in enumerate(sets)]
    found = specialization(both[0], "tested", both[1], PLAN)
    named = sum(
        any((one.kind, one.name) == (truth.kind, truth.name) for one in row.confirmed)
        for row in found.rows
        if (truth := truths[row.feature]) is not None
    )
    false_pairs = sum(len(row.properties) for row in found.rows if truths[row.feature] is None)
    false_features = sum(row.specialized for row in found.rows if truths[row.feature] is None)
    called = sum(row.specialized for row in found.rows)
    return {
        "lift": lift,
        "rate": rate,
        "planted": PLANTED,
        "named": named,
        "called": called,
        "false_called": false_features,
        "selected": found.n_selected,
        "false_selected": false_pairs,
    }


def main() -> None:
    """Simulate, print, keep."""
    options = common.arguments(__doc__).parse_args()
    shuffles = 4 if options.quick else SHUFFLES
    limit = 300 if options.quick else None
    problems = ci.load_problems("stories:validation", limit=limit)
    others = ci.load_problems("stories:confirmation", limit=limit)
    model = ci.load_model("codi-mini")
    profiles = ci.profile_features("codi-mini/L14.P3", model, problems, answers=False)
    null = [row for told in (1, TELLINGS) for row in shuffled(profiles, shuffles, told)]
    print(f"{'labels shuffled':24}{'shuffles':>9}{'with any':>9}{'pairs a shuffle':>17}")
    for row in null:
        name = f"{row['unit']}, told {row['told']} x"
        print(f"{name:24}{row['shuffles']:>9}{row['with_any']:>9}{row['selected_per_shuffle']:>17.2f}")
    rows = [planted((problems, others), lift, rate) for lift in LIFTS for rate in RATES]
    print(f"\n{'lift':>5}{'fires on':>10}{'named':>12}{'others called':>15}{'false selected':>16}")
    for row in rows:
        false = f"{row['false_selected']} of {row['selected']}"
        named = f"{row['named']} of {row['planted']}"
        print(f"{row['lift']:>5}{row['rate']:>10}{named:>12}{row['false_called']:>15}{false:>16}")
    common.write("specialization_simulation", {"problems": len(problems), "null": null, "planted": rows}, options.quick)


if __name__ == "__main__":
    main()
