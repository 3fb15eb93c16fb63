"""Is what is frequent, clean or readable also what matters? docs/results/features.md, "What matters".

    python benchmarks/relevance.py            # measures what is missing, then the page
    python benchmarks/relevance.py --site L3.P3    # the effects of one site's features, kept in runs/relevance
    python benchmarks/relevance.py --page     # the page, from what has been measured

Over features: every feature of three sites ablated on stories:validation. Over sites: the kept map of
docs/results/causal-map, explained variance of docs/results/sae-sites.csv, and a lens and a probe at every site, for
which activations of stories:validation are captured into runs/curves, as benchmarks/specialization_curves.py does.
"""

import csv
import time
from pathlib import Path
from typing import Any

import _common as common
import numpy as np
import specialization_curves as curves
import torch

import codi_int as ci
from codi_int.features.profiles import Profiles
from codi_int.features.relevance import (
    EFFECTS,
    OTHER_HALF,
    FeatureEffects,
    RankCorrelation,
    measure_effects,
    relate_features,
    relate_sites,
)
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.probes.targets import label_problems, parse_target
from codi_int.probes.task import ProbeSettings, prepare_task
from codi_int.sae.activations import Activations, activations
from codi_int.types import Site

PAGE = common.DOCS_RESULTS / "features.md"
RUNS = common.ROOT / "runs" / "relevance"
SITES = tuple(Site(*place) for place in ((3, 3), (10, 5), (14, 3)))
DATA = "stories:validation"
MAP = common.DOCS_RESULTS / "causal-map"


def effects_of(site: Site, rows: curves.Rows, quick: bool) -> tuple[FeatureEffects, Profiles, torch.Tensor]:
    """Effects from the cache, or measured (about a minute of two quiet cores), profiles and activations."""
    problems, model, sae = rows.problems["held-out"], rows.model, ci.load_sae(f"codi-mini/{site}")
    path = root(quick) / f"{site}.npz"
    if not path.is_file():
        started = time.process_time()
        found = measure_effects(FeatureInterventionEngine(model, {site: sae}), problems, site)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, features=found.features, probability=found.probability, accuracy=found.accuracy)
        print(f"{site}: {len(found.features)} features, {time.process_time() - started:.0f} s", flush=True)
    with np.load(path) as kept:
        effects = FeatureEffects(site, tuple(kept["features"].tolist()), kept["probability"], kept["accuracy"])
    return effects, rows.profiles(sae, site, "held-out"), rows.at(site, "held-out")


def root(quick: bool) -> Path:
    return RUNS.with_name("relevance-quick") if quick else RUNS


def over_features(quick: bool) -> dict[str, Any]:
    """Rank correlations at every site, and how its effects are spread."""
    found: dict[str, Any] = {}
    rows = curves.Rows(quick)
    for site in SITES[:1] if quick else SITES:
        effects, profiles, x = effects_of(site, rows, quick)
        sizes = np.abs(effects.probability.mean(0))
        total = effects.probability.mean(0)
        found[str(site)] = {
            "correlations": relate_features(profiles, effects, x).to_dict(),
            "explained_variance": profiles.explained_variance,
            "quantiles": np.quantile(100 * sizes, [0.5, 0.9, 0.99]).tolist(),
            "largest": 100 * float(sizes.max()),
            "share_of_five": float(np.sort(sizes)[-5:].sum() / sizes.sum()),
            "harmful": float((total < 0).mean()),
            "sizes": sizes.tolist(),
        }
    return found


def lens_at_sites(model: Any) -> dict[Site, float]:
    """How often the result of step 2 is among the lens' three tokens, beyond what chance shows, site by site."""
    from codi_int.model.lens import lens_frequencies

    report = lens_frequencies(model, ci.load_problems(DATA), top=3)
    group = next(one for one in report.groups if one.name == "step 2")
    return {Site(cell.layer, cell.position): cell.rate - cell.by_chance for cell in group.cells}


def over_sites(quick: bool) -> list[RankCorrelation]:
    """Rank correlations over the 112 sites."""
    model, problems = ci.load_model("codi-mini"), ci.load_problems(DATA, 200 if quick else None)
    sites = [Site(layer, position) for layer in range(model.n_layers) for position in range(model.n_thoughts + 1)]
    place = common.ROOT / "runs" / ("curves-quick" if quick else "curves") / "held-out"
    rows = activations(model, problems, sites, data=DATA, folder=place)
    kept = {row["site"]: row for row in read_csv(common.DOCS_RESULTS / "sae-sites.csv")}
    cells = {row["site"]: row for row in read_csv(MAP / "map.csv") if row["propagate"] == "both"}
    probed = probes(rows, problems, sites)
    lens = lens_at_sites(model)
    nothing = float("nan")
    measures = {
        "variance of the activations": [float(rows.at(site).values.double().var(0).sum()) for site in sites],
        "explained variance of the SAE": [float(kept[str(site)]["explained_variance_per_dimension"]) for site in sites],
        "lens: result of step 2": [lens.get(site, nothing) for site in sites],
        "probe: result of step 2 (R²)": [probed[site] for site in sites],
        "layer": [float(site.layer or 0) for site in sites],
    }
    effects = {
        # the last position of the last layer has no cell: nothing reads it
        "probability": [float(cells[str(site)]["probability"]) if str(site) in cells else nothing for site in sites],
        "accuracy": [float(cells[str(site)]["estimate"]) if str(site) in cells else nothing for site in sites],
    }
    return list(relate_sites(measures, effects, [site.layer or 0 for site in sites]))


def probes(rows: Activations, problems: Any, sites: list[Site]) -> dict[Site, float]:
    """R² of the result of step 2 at every site, by ridge on other calculations."""
    labels = label_problems(parse_target("result:2"), problems, None, 5)
    task = prepare_task(labels, problems, ProbeSettings(control_draws=1))
    values = {site: rows.at(site).values[labels.rows].double().numpy() for site in sites}
    return {site: task.score(values[site])[0].value for site in sites}


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def features_table(found: dict[str, Any]) -> list[str]:
    lines = []
    for effect in EFFECTS:
        lines += ["", f"| {effect} | {' | '.join(found)} |", "|---|" + "---|" * len(found)]
        names = list(dict.fromkeys(row["measure"] for one in found.values() for row in one["correlations"]["rows"]))
        for name in names:
            cells = []
            for one in found.values():
                rows = one["correlations"]["rows"]
                row = next(row for row in rows if row["measure"] == name and row["effect"] == effect)
                cells.append(cell(row["value"], row["low"], row["high"]))
            lines.append(f"| {'*' + name + '*' if name == OTHER_HALF else name} | {' | '.join(cells)} |")
    return lines[1:]


def cell(value: float, low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def spread_table(found: dict[str, Any]) -> list[str]:
    lines = ["| site | EV | features | median | 90 % | 99 % | largest | in the five largest | negative |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for site, one in found.items():
        n, (half, nine, most) = one["correlations"]["n_features"], one["quantiles"]
        lines.append(
            f"| {site} | {one['explained_variance']:.3f} | {n} | {half:.4f} | {nine:.3f} | "
            f"{most:.2f} | {one['largest']:.2f} | {100 * one['share_of_five']:.0f} % | {100 * one['harmful']:.0f} % |"
        )
    return lines


def sites_table(rows: list[RankCorrelation]) -> list[str]:
    effects = list(dict.fromkeys(row.effect for row in rows))
    lines = [f"| over sites | n | {' | '.join(effects)} |", "|---|---|" + "---|" * len(effects)]
    for measure in dict.fromkeys(row.measure for row in rows):
        these = {row.effect: row for row in rows if row.measure == measure}
        shown = [cell(these[effect].value, these[effect].low, these[effect].high) for effect in effects]
        lines.append(f"| {measure} | {these[effects[0]].n} | {' | '.join(shown)} |")
    return lines


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--site", help="measure the effects at this site alone; no page")
    parser.add_argument("--page", action="store_true", help="measure no effects")
    options = parser.parse_args()
    if options.site:
        effects_of(Site.parse(options.site), curves.Rows(options.quick), options.quick)
        return
    features, sites = over_features(options.quick), over_sites(options.quick)
    common.write(
        "relevance",
        {"features": features, "sites": [vars(row) | {"coefficient": vars(row.coefficient)} for row in sites]},
        options.quick,
    )
    tables = {"matters": features_table(features), "spread": spread_table(features), "sites": sites_table(sites)}
    for name, lines in tables.items():
        print("\n".join(lines), "\n")
        if not options.quick:
            common.fill_page(PAGE, f"relevance {name}", "\n".join(lines), code=False)


if __name__ == "__main__":
    main()
