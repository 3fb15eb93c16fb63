"""Specialists of ten sites by three rules, and the best pair of each swapped: docs/results/features.md.

    python benchmarks/swaps.py                  # what is missing, then the page
    python benchmarks/swaps.py --site L10.P1    # one site, kept in runs/swaps
    python benchmarks/swaps.py --page           # the page, from what has been run

The pairs are those of `codi-int features pairs`, the swaps those of `codi-int swap --pairs`, one after the other in one
process that shares the clean pass. Activations are read from runs/curves, where specialization_curves.py puts them.
"""

import json
from typing import Any

import _common as common
import specialization_curves as curves

import codi_int as ci
from codi_int.features.pairs import swap_pairs
from codi_int.features.rule_table import compare_rules
from codi_int.interventions.edits.basic import Swap
from codi_int.interventions.engine.clean import CleanPasses
from codi_int.interventions.engine.controls import Controls
from codi_int.interventions.patching.predicted_run import run_predicted
from codi_int.interventions.patching.predictions import parse_claim, predict_answers
from codi_int.records import flatten
from codi_int.types import Site

PAGE = common.DOCS_RESULTS / "features.md"
RUNS = common.ROOT / "runs" / "swaps"
PLACES = ((3, 3), (6, 1), (6, 3), (6, 5), (10, 1), (10, 3), (10, 5), (14, 1), (14, 3), (14, 5))
SITES = tuple(Site(*place) for place in PLACES)
DATA = curves.DATA["held-out"]
CONTROLS = 6


def run_site(site: Site, rows: curves.Rows, passes: CleanPasses, quick: bool) -> dict[str, Any]:
    """The three rules at a site, its best pair, and what became of the swap."""
    sae = ci.load_sae(f"codi-mini/{site}")
    profiles = {name: rows.profiles(sae, site, name) for name in ("held-out", "confirm")}
    rules = compare_rules(profiles["held-out"], profiles["confirm"], band=curves.BAND)
    pairs = swap_pairs(profiles["held-out"], rules.tested)
    found: dict[str, Any] = {
        "site": str(site),
        "n_problems": profiles["held-out"].n_problems,
        "cells": [flatten(cell) for cell in rules.cells],
        "n_pairs": pairs.n_pairs,
        "pair": flatten(pairs.rows[0]) if pairs.rows else None,
        "swap": None,
    }
    if pairs.rows and pairs.rows[0].has_power:
        best, problems = pairs.rows[0], rows.problems["held-out"]
        engine = ci.FeatureInterventionEngine(rows.model, {site: sae})
        engine.share(passes)
        result = run_predicted(
            engine,
            Swap(best.feature, best.other),
            problems,
            predict_answers(parse_claim(best.claim), problems),
            controls=Controls(features=3 if quick else CONTROLS),
            data=DATA,
        )
        found["swap"] = {"prediction": flatten(result.prediction), "effect": flatten(result.effect)}
    return found


def rules_table(found: list[dict[str, Any]]) -> list[str]:
    """Specialized of n, rule by rule, over all alive features and in the common band."""
    heads = [f"{rule}{where}" for where in ("", ", band") for rule in ("published", "ties counted", "tested")]
    lines = [f"| site | {' | '.join(heads)} |", "|---|" + "---|" * 6]
    for one in found:
        cells = [f"{cell['n_specialized']} of {cell['n']}" for cell in one["cells"]]
        lines.append(f"| {one['site']} | {' | '.join(cells)} |")
    return lines


def swaps_table(found: list[dict[str, Any]]) -> list[str]:
    """The best pair of each site and what its swap did."""
    lines = [
        "| site | pairs | best | should | tell | power | predicted | of the controls | difference | broken, fixed |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|---|---|")
    for one in found:
        pair, swap = one["pair"], one["swap"]
        if pair is None:
            lines.append(f"| {one['site']} | {one['n_pairs']} | none | | | | | | | |")
            continue
        start = (
            f"| {one['site']} | {one['n_pairs']} | {pair['feature']}, {pair['other']} | {pair['claim']} | "
            f"{pair['n_informative']} | {100 * pair['power']:.0f} % "
        )
        if swap is None:
            lines.append(f"{start}| not run: {pair['problems_needed'] or 'no number of'} problems needed | | | |")
            continue
        told, effect = swap["prediction"], swap["effect"]
        controls = told["controls"] or {}
        rates, difference = controls.get("hit_rates") or [], controls.get("difference")
        beside = f"{100 * sum(rates) / len(rates):.1f} %" if rates else "-"
        apart = "-" if not difference else interval(difference)
        lines.append(
            f"{start}| {told['n_hits']} of {told['n_tested']} | {beside} | {apart} | "
            f"{effect['n_broken']}, {effect['n_fixed']} |"
        )
    return lines


def interval(estimate: dict[str, Any]) -> str:
    value = estimate.get("value", estimate.get("estimate"))
    return f"{100 * value:+.1f} ({100 * estimate['low']:+.1f} to {100 * estimate['high']:+.1f})"


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--site", help="this site alone; no page")
    parser.add_argument("--page", action="store_true", help="run nothing")
    options = parser.parse_args()
    folder = RUNS.with_name("swaps-quick") if options.quick else RUNS
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (
        [] if options.page else [Site.parse(options.site)] if options.site else SITES[: 2 if options.quick else None]
    )
    missing = [site for site in wanted if not (folder / f"{site}.json").is_file()]
    rows, passes = curves.Rows(options.quick) if missing else None, CleanPasses()
    for site in missing:
        assert rows is not None
        text = json.dumps(run_site(site, rows, passes, options.quick))
        (folder / f"{site}.json").write_text(text)
        print(f"{site}: {text[-300:]}", flush=True)
    if options.site:
        return
    found = [json.loads(path.read_text()) for site in SITES if (path := folder / f"{site}.json").is_file()]
    for name, lines in (("rules of ten sites", rules_table(found)), ("swaps of ten sites", swaps_table(found))):
        print("\n".join(lines), "\n")
        if not options.quick:
            common.fill_page(PAGE, name, "\n".join(lines), code=False)
    common.write("swaps", {"sites": found}, options.quick)


if __name__ == "__main__":
    main()
