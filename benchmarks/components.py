"""Every component of every layer at every position: the suffix path against plain hooks through the whole model.

    python benchmarks/components.py

codi-mini, the first eight problems of stories:validation. A cell replaces one component at one layer and position by
its mean over the problems; the engine runs it once from the site on (`suffix`) and once as a hook in the whole model
(`naive`). Answers and log-probabilities are compared cell by cell, in docs/results/heads.md. Heads are summed and held
against `attn_out` at all of these places, too. One thread.
"""

import _common as common

import codi_int as ci
from codi_int.interventions.screens.mapping import run_map, whole_grid
from codi_int.interventions.screens.sides import SelectionPlan
from codi_int.interventions.screens.thought_map import MapCell, MapPlan
from codi_int.sites import LAYER_COMPONENTS
from codi_int.types import Site

PAGE = common.DOCS_RESULTS / "heads.md"
LIMIT, QUICK_LIMIT = 8, 3
ALONE = SelectionPlan(confirm="none")


def agreement(fast: tuple[MapCell, ...], slow: tuple[MapCell, ...]) -> dict[str, float | int]:
    """How far two runs of the same cells differ."""
    both = [(a, b) for a, b in zip(fast, slow, strict=True) if a.has_path]
    same = [(a.n_broken, a.n_fixed, a.n_answer_changed) == (b.n_broken, b.n_fixed, b.n_answer_changed) for a, b in both]
    return {
        "cells": len(both),
        "answers_differ": len(same) - sum(same),
        "most_nats": max(abs((a.logprob or 0.0) - (b.logprob or 0.0)) for a, b in both),
    }


def heads_against_attn_out(model: ci.CodiModel, problems: ci.Problems) -> float:
    """Largest difference between the sum of all heads and `attn_out`, at every layer and position."""
    places = [(layer, position) for layer in range(model.n_layers) for position in range(model.n_thoughts + 1)]
    heads = [f"head:{head}" for head in range(model.stack.n_heads)]
    batch = model.think(problems, [Site(*place, name) for place in places for name in (*heads, "attn_out")])
    differences = [
        sum(batch.at(Site(*place, head)).values for head in heads) - batch.at(Site(*place, "attn_out")).values
        for place in places
    ]
    return max(float(difference.abs().max()) for difference in differences)


def main() -> None:
    quick = common.arguments(__doc__).parse_args().quick
    problems = ci.load_problems("stories:validation", QUICK_LIMIT if quick else LIMIT)
    model = ci.load_model("codi-mini")
    names = [*LAYER_COMPONENTS, *(f"head:{head}" for head in range(model.stack.n_heads))]
    lines = ["| component | cells | answers differ | largest difference, nats |", "|---|---|---|---|"]
    rows = []
    for name in names:
        grid = whole_grid(model, thoughts=False, component=name)
        plan = MapPlan(grid[:: 16 if quick else 1])
        fast, slow = (run_map(model, problems, plan, method=m, selection=ALONE).cells for m in ("suffix", "naive"))
        row = {"component": name, **agreement(fast, slow)}
        lines.append(f"| {name} | {row['cells']} | {row['answers_differ']} | {row['most_nats']:.1e} |")
        print(lines[-1], flush=True)
        rows.append(row)
    difference = heads_against_attn_out(model, problems)
    lines.append(f"\nThe sum of all heads against `attn_out`, largest difference at any place: {difference:.1e}.")
    print(lines[-1])
    common.write("components", {"n_problems": len(problems), "rows": rows, "heads": difference}, quick)
    if not quick:
        common.fill_page(PAGE, "components", "\n".join(lines), code=False)


if __name__ == "__main__":
    main()
