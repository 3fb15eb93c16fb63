"""Where the results of steps are: patches of four layers and of every thought, from another value and the same.

    python benchmarks/patch_sites.py
    python benchmarks/patch_sites.py --step 1    # one step, kept in build/patch_sites; the next run goes on from there

codi-mini, the first 200 problems of stories:validation, pairs as `codi-int patch --auto both` finds them, and in every
cell sources with a third value of the same match class as controls. One row per site and step. All cells are one
family: exact sign flips of predicted answers after and before, corrected by the discrete false discovery rate; the
difference to the controls, paired by problem, by Holm.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

import _common as common
import numpy as np
from numpy.typing import NDArray

import codi_int as ci
from codi_int.data.answers import is_right
from codi_int.data.chains import cluster_problems
from codi_int.data.problems import problems_sha256
from codi_int.interventions.evidence.clusters import read_clusters
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.family import Member, find
from codi_int.interventions.patching.pairs import KINDS, find_pairs, third_value_sources
from codi_int.interventions.patching.patch import Participants, pair_clusters, participants, patch_edit
from codi_int.interventions.patching.predicted_run import edited_outcomes
from codi_int.interventions.patching.prediction_scores import score_prediction
from codi_int.interventions.patching.predictions import Predictions, predict_patch
from codi_int.report.panels import Cells, amount_scale, heatmap, panel_grid
from codi_int.report.style import AMOUNT, PAGE, new_figure, styled, write_figure
from codi_int.types import Outcome, Site

LIMIT, STEPS, LAYERS, POSITIONS = 200, (1, 2, 3), (3, 7, 11, 15), (1, 2, 3, 4, 5, 6)
DRAWS = 5
"""control sources in every cell"""
THOUGHTS = tuple(Site(None, position, "thought") for position in range(6))
"""the vector that is fed after each position; the one after the last is read by nobody"""
KEPT = common.ROOT / "build" / "patch_sites"
"""finished steps, until all of them are; not looked at by --quick"""


def all_sites(layers: Sequence[int], positions: Sequence[int]) -> list[Site]:
    """Thoughts, and residuals from which something can still reach the answer."""
    residual = [Site(layer, p) for p in positions for layer in layers if (layer, p) != (15, 6)]
    return [*(site for site in THOUGHTS if site.position in positions or site.position == 0), *residual]


def changed(people: Participants, clean: Sequence[Outcome], after: Sequence[Outcome]) -> dict[str, bool]:
    """Target -> whether its answer became another one."""
    return {
        b.problem_id: b.answer is None or a.answer is None or not is_right(b.answer, a.answer)
        for a, b, source in zip(clean, after, people.sources, strict=True)
        if source >= 0
    }


def hits_of(predictions: Predictions, outcomes: Sequence[Outcome]) -> NDArray[np.float64]:
    """1 where an informative problem got the predicted answer. [n]"""
    pairs = zip(predictions.rows, outcomes, strict=True)
    return np.array([float(row.informative and is_right(o.answer, row.answer)) for row, o in pairs])


def step_rows(
    engine: ci.FeatureInterventionEngine, problems: Sequence[ci.Problem], step: int
) -> tuple[list[dict[str, Any]], list[Member]]:
    """Every site for the result of one step, and their tests."""
    members: list[Member] = []
    after: dict[str, dict[Site, dict[str, bool]]] = {}
    rows = []
    for kind in KINDS:
        people = participants(problems, find_pairs(problems, kind, step), step)
        predictions = predict_patch(people.problems, people.sources, step)
        groups = read_clusters(cluster_problems(people.problems), len(people.problems))
        thirds = third_value_sources(people.problems, people.sources, step, DRAWS) if kind == "different" else ()
        after[kind] = {}
        for site in engine.sites:
            clean = engine.site_context(people.problems, site).clean.outcomes
            edits = [patch_edit([site], sources) for sources in (people.sources, *thirds)]
            outcomes, *controls = edited_outcomes(engine, people.problems, edits, site)
            after[kind][site] = changed(people, clean, outcomes)
            if kind == "different":
                test = score_prediction(predictions, clean, outcomes, controls, clusters=pair_clusters(people))
                before, hits = (hits_of(predictions, some) for some in (clean, outcomes))
                members.append(Member.of(test.p_value, hits - before, groups))
                assert test.controls is not None
                difference = test.controls.difference
                assert difference is not None
                rows.append(
                    {
                        "step": step,
                        "site": str(site),
                        "layer": site.layer,
                        "position": site.position,
                        "n": test.n_tested,
                        "hits": test.n_hits,
                        "hits_clean": test.n_hits_clean,
                        "share": test.hit_rate,
                        "low": test.low,
                        "high": test.high,
                        "p": test.p_value,
                        "copies": test.became["the source's"],
                        "as_before": test.became["as before"],
                        "controls": float(np.mean(test.controls.hit_rates)),
                        "difference": difference.value,
                        "difference_low": difference.low,
                        "difference_high": difference.high,
                        "difference_p": difference.p_value,
                    }
                )
    for row, site in zip(rows, engine.sites, strict=True):
        same, different = after["same"][site], after["different"][site]
        both = sorted(set(same) & set(different))
        row |= {
            "n_both": len(both),
            "changed_same": sum(same[p] for p in both),
            "changed_different": sum(different[p] for p in both),
        }
        print(row["step"], row["site"], f"{row['hits']} of {row['n']}", flush=True)
    return rows, members


def kept_step(
    engine: ci.FeatureInterventionEngine, problems: Sequence[ci.Problem], step: int
) -> tuple[list[dict[str, Any]], list[Member]]:
    """`step_rows`, from `KEPT` where the same weights and problems have been measured."""
    path, of = KEPT / f"step-{step}.json", {"model": engine.model.sha256, "data": problems_sha256(problems)}
    kept = json.loads(path.read_text()) if path.exists() else {}
    if kept.get("of") != of:
        started = time.perf_counter()
        rows, members = step_rows(engine, problems, step)
        tests = [{"p": one.p_value, "places": one.places.tolist(), "sums": one.sums.tolist()} for one in members]
        kept = {"of": of, "rows": rows, "tests": tests, "seconds": time.perf_counter() - started}
        KEPT.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(kept))
    print(f"step {step}: {kept['seconds']:.0f} s", flush=True)
    return kept["rows"], [Member(one["p"], np.array(one["places"]), np.array(one["sums"])) for one in kept["tests"]]


@styled
def draw(rows: Sequence[dict[str, Any]], limit: int) -> Any:
    """Share of predicted answers, one panel per step, layers upwards, the fed thoughts on top."""
    steps, positions = ordered(rows, "step"), ordered(rows, "position")
    layers = [*ordered([row for row in rows if row["layer"] is not None], "layer"), None]
    found = {(row["step"], row["layer"], row["position"]): row for row in rows}
    tables = [
        [[100 * found[s, i, p]["share"] if (s, i, p) in found else None for p in positions] for i in layers]
        for s in steps
    ]
    caption = (
        f"codi-mini, the first {limit} problems of stories:validation: the activation there comes from a problem whose "
        "result of that step is another one. Dot: more often than before the patch (exact, discrete false discovery "
        "rate over all cells) and than with sources of a third value (paired, Holm). Hatched: not patched."
    )
    figure = new_figure(PAGE, 1.5 + 0.2 * len(layers), "How often the answer becomes the predicted one", caption)
    norm, names = amount_scale(tables), [*(str(layer) for layer in layers[:-1]), "thought fed next"]
    axes = panel_grid(figure, len(steps), 3, sharey=True)
    for axis, step, table in zip(axes, steps, tables, strict=True):
        dots = [
            (i, j) for i, layer in enumerate(layers) for j, p in enumerate(positions) if true_at(found, step, layer, p)
        ]
        cells = Cells(table, rows=names, columns=[str(p) for p in positions], marked=dots)
        image = heatmap(axis, cells, norm=norm, cmap=AMOUNT)
        axis.set_title(f"result of step {step}")
        axis.set_xlabel("position")
    axes[0].set_ylabel("layer")
    figure.colorbar(image, ax=axes, shrink=0.9, pad=0.02, aspect=30).set_label("predicted answers, %")
    return figure


def ordered(rows: Sequence[dict[str, Any]], key: str) -> list[Any]:
    """The values of a column, each once."""
    return sorted({row[key] for row in rows})


def true_at(found: dict[tuple[Any, ...], dict[str, Any]], *place: Any) -> bool:
    """Whether predictions come true in a cell, corrected for all cells."""
    row = found.get(place)
    return row is not None and bool(row["true"])


def main() -> None:
    """Patch everywhere, print the sites at which predictions come true, write all."""
    parser = common.arguments(__doc__)
    parser.add_argument("--step", type=int, choices=STEPS, help="only measure this one, and keep it")
    given = parser.parse_args()
    quick = given.quick
    sites = all_sites((9,), (1, 3)) if quick else all_sites(LAYERS, POSITIONS)
    problems = ci.load_problems("stories:validation", limit=60 if quick else LIMIT)
    engine = ci.FeatureInterventionEngine(ci.load_model("codi-mini"), dict.fromkeys(sites))
    if given.step is not None:
        kept_step(engine, problems, given.step)
        return
    steps = [step_rows(engine, problems, STEPS[0])] if quick else [kept_step(engine, problems, n) for n in STEPS]
    rows, members = [row for some, _ in steps for row in some], [one for _, some in steps for one in some]
    family, paired = find(members), adjust([row["difference_p"] for row in rows], "holm")
    for row, p_value, is_found, q in zip(rows, family.p_adjusted, family.found, paired, strict=True):
        exceeds = q is not None and q < 0.05 and row["difference"] > 0
        row |= {"p_adjusted": p_value, "found": is_found, "difference_p_adjusted": q}
        row["true"] = is_found and row["hits"] > row["hits_clean"] and exceeds
    best = sorted(rows, key=lambda row: -row["share"])
    columns = {
        "step": "step",
        "site": "site",
        "n": "pairs",
        "hits": "predicted",
        "share": "share",
        "low": "low",
        "high": "high",
        "p_adjusted": "p (family)",
        "controls": "controls",
        "difference": "- controls",
        "difference_low": "low",
        "difference_high": "high",
        "difference_p_adjusted": "p (Holm)",
        "hits_clean": "before",
        "copies": "copied",
        "as_before": "as before",
        "changed_same": "changed, same value",
        "changed_different": "changed, other value",
        "n_both": "of",
    }
    common.show(best[:24], columns)
    above = int(np.sum([row["found"] and row["hits"] > row["hits_clean"] for row in rows]))
    true = int(np.sum([row["true"] for row in rows]))
    print(
        f"{above} of {len(rows)} (site, step) cells have predictions come true at 5% false discoveries, "
        f"{true} of them beyond sources with a third value"
    )
    path = common.write("patch_sites", {"n_problems": len(problems), "rows": rows}, quick)
    write_figure(draw(rows, len(problems)), path.parent if quick else common.IMAGES, "patch-sites")


if __name__ == "__main__":
    main()
