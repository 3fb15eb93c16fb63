"""The whole map: every feature of every site of codi-mini, and how much of a site its features explain together.

    python benchmarks/whole_map.py [--limit 300]   # all 1,495 stories take one to two hours on one thread
    python benchmarks/whole_map.py --page    # docs/results/whole-map.md from what was measured last

Runs `codi-int screen --layer 0-15 --position 0-6`, which goes on where it was stopped, and reads what it kept. Then, at
every site, two edits of all problems: the activation replaced by its mean, and all features of the SAE put to their
means together (its error stays). What the second does of the first is what the features explain together. Writes
whole_map.json, docs/results/whole-map/sites.csv, the picture, and the tables of docs/results/whole-map.md.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import _common as common
import torch

import codi_int as ci
from codi_int.catalog import sae_of_model
from codi_int.interventions.edits.residual import ReplaceByMean
from codi_int.report.panels import Cells, amount_scale, heatmap, panel_grid
from codi_int.report.style import AMOUNT, PAGE, new_figure, styled, write_figure
from codi_int.types import Site

RUN = "runs/whole-map"
SHOWN = 20


def sites_of(screen: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each site of a screen: how many features, and how many of them change answers."""
    of: dict[str, list[dict[str, Any]]] = {}
    for row in screen["rows"]:
        of.setdefault(row["site"], []).append(row)
    rows = []
    for name, features in of.items():
        site, alive = Site.parse(name), [row for row in features if row["n_touched"]]
        worst = min(alive, key=lambda row: row["estimate"], default=None)
        rows.append(
            {
                "site": name,
                "layer": site.layer,
                "position": site.position,
                "alive": len(alive),
                "change_an_answer": sum(row["n_answer_changed"] > 0 for row in alive),
                "selected": sum(row["selected"] for row in alive),
                "confirmed": sum(row["confirmed"] is True for row in alive),
                "confirmed_nats": sum(row["confirmed_logprob"] is True for row in alive),
                "strongest": None if worst is None else worst["feature"],
                "strongest_estimate": None if worst is None else worst["estimate"],
                "sum_nats": sum(row["logprob"] for row in alive),
            }
        )
    return rows


def selected_of(screen: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each feature selected by its accuracy, and how alike its direction and its namesake's a layer below.

    All dictionaries were trained with one seed, so a number may stand for one direction in several layers.
    """
    keys = ("site", "feature", "n_touched", "estimate", "confirmed", "confirmation_p_adjusted")
    keys += ("confirmation_estimate", "confirmation_low", "confirmation_high")
    rows = [{key: row[key] for key in keys} for row in screen["rows"] if row["selected"]]
    for row in rows:
        site = Site.parse(row["site"])
        below = None if not site.layer else Site(site.layer - 1, site.position)
        own, other = (
            None if where is None else ci.load_sae(sae_of_model("codi-mini", str(where))).W_dec[row["feature"]]
            for where in (site, below)
        )
        row["cosine_below"] = None if other is None else float(torch.cosine_similarity(own, other, dim=0))
    return sorted(rows, key=lambda row: row["confirmation_estimate"])


def explain(rows: Sequence[dict[str, Any]], limit: int) -> None:
    """Add to each site what replacing it does, and what putting all of its features to their means does."""
    model, problems = ci.load_model("codi-mini"), ci.load_problems("stories:validation", limit=limit)
    saes = {Site.parse(row["site"]): ci.load_sae(sae_of_model("codi-mini", row["site"])) for row in rows}
    engine = ci.FeatureInterventionEngine(model, saes)
    for row in rows:
        site = Site.parse(row["site"])
        edits = {"site": ReplaceByMean(), "features": ci.Ablate(tuple(range(saes[site].d_sae)), mode="mean")}
        for name, edit in edits.items():
            effect = engine.run(edit, problems, site=site, controls=None).effect
            row |= {f"{name}_points": 100 * effect.estimate, f"{name}_nats": effect.logprob.estimate}
        whole = row["site_nats"]
        # of a site that does next to nothing a share would be a quotient of rounding errors
        row["explained"] = row["features_nats"] / whole if whole < -0.01 else None
        print(row["site"], f"{row['site_points']:+.1f} {row['features_points']:+.1f} points", flush=True)


@styled
def draw(rows: Sequence[dict[str, Any]], n: int) -> Any:
    """Four panels over layers and positions: what features do, one by one and together, and what the site does."""
    caption = (
        f"codi-mini, {n} problems of stories:validation, one site at a time with all later positions left free. "
        "Points lost: of accuracy, with the one feature ablated that costs most. Nats lost: of the clean answer, where "
        "the activation, or all features of its SAE together, are put to their means. Hatched: nothing later reads it."
    )
    figure = new_figure(PAGE, 4.6, "What every site of the thoughts does, and how many of its features", caption)
    axes = panel_grid(figure, 4, 4, sharey=True)
    layers, positions = (sorted({row[key] for row in rows}) for key in ("layer", "position"))
    panels = (
        ("change_an_answer", "features that change\nan answer", 1),
        ("strongest_estimate", "points lost:\nits strongest feature", -100),
        ("site_nats", "nats lost: the site", -1),
        ("features_nats", "nats lost: its features", -1),
    )
    for axis, (key, title, sign) in zip(axes, panels, strict=True):
        of = {(row["layer"], row["position"]): max(0.0, sign * float(row[key])) for row in rows}
        table = [[of.get((layer, p)) for p in positions] for layer in layers]
        cells = Cells(table, rows=[str(layer) for layer in layers], columns=[str(p) for p in positions])
        image = heatmap(axis, cells, norm=amount_scale([table]), cmap=AMOUNT)
        axis.set_title(title)
        axis.set_xlabel("position")
        figure.colorbar(image, ax=axis, shrink=0.9, pad=0.03, aspect=25)
    axes[0].set_ylabel("layer")
    return figure


def tables(rows: Sequence[dict[str, Any]], selected: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The page's tables, by their markers: the sites that do most, and layers and positions as wholes."""
    most = sorted(rows, key=lambda row: row["site_nats"])[:SHOWN]
    head = ("site", "living features", "change an answer", "strongest", "its points")
    head += ("the site, points", "all features, points", "the site, nats", "all features, nats")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in most:
        counts = f"{row['alive']} | {row['change_an_answer']} | {row['strongest']}"
        points = f"{100 * row['strongest_estimate']:+.1f} | {row['site_points']:+.1f} | {row['features_points']:+.1f}"
        lines.append(f"| {row['site']} | {counts} | {points} | {row['site_nats']:+.2f} | {row['features_nats']:+.2f} |")
    found = {"sites": "\n".join(lines)}
    head = ("feature", "touches", "points, selecting", "points, confirmed", "95 % interval", "p (Holm)", "cosine below")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in selected:
        low, high = 100 * row["confirmation_low"], 100 * row["confirmation_high"]
        confirmed = f"{100 * row['confirmation_estimate']:+.2f} | {low:+.2f} to {high:+.2f}"
        alike = "-" if row["cosine_below"] is None else f"{row['cosine_below']:.2f}"
        cells = (f"{row['site']}/{row['feature']}", f"{row['n_touched']:,}", f"{100 * row['estimate']:+.2f}", confirmed)
        lines.append("| " + " | ".join((*cells, f"{row['confirmation_p_adjusted']:.2g}", alike)) + " |")
    found["selected"] = "\n".join(lines)
    for key in ("position", "layer"):
        lines = [f"| {key} | sites | living features | change an answer | share |", "|---|---|---|---|---|"]
        for value in sorted({row[key] for row in rows}):
            own = [row for row in rows if row[key] == value]
            alive, change = (sum(row[name] for row in own) for name in ("alive", "change_an_answer"))
            lines.append(f"| {value} | {len(own)} | {alive:,} | {change:,} | {100 * change / alive:.1f} % |")
        found[f"{key}s"] = "\n".join(lines)
    return found


def measure(limit: int, quick: bool) -> dict[str, Any]:
    """Screen all sites, and measure each as a whole."""
    started = time.perf_counter()
    where = ("7,14", "1,3") if quick else ("0-15", "0-6")
    out = f"{RUN}-quick" if quick else RUN
    words = ("screen", "--layer", where[0], "--position", where[1], "--limit", str(limit))
    print(common.run_command(*words, "--out", out))
    screen = json.loads((common.ROOT / out / "screen.json").read_text())
    rows = sites_of(screen)
    explain(rows, limit)
    totals = {key: sum(row[key] for row in rows) for key in ("alive", "change_an_answer", "selected", "confirmed")}
    print(totals)
    seconds = {"all": time.perf_counter() - started, "screen": screen["environment"]["seconds"]}
    kept = {"selection": screen["selection"], "selected": selected_of(screen), "rows": rows}
    return {"n_problems": limit, "totals": totals, **kept, "seconds": seconds}


def main() -> None:
    """Screen, measure the sites, write."""
    parser = common.arguments(__doc__)
    parser.add_argument("--limit", type=int, default=1495, help="problems of stories:validation (default: all)")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    given = parser.parse_args()
    if given.page:
        found = json.loads((common.RESULTS / "whole_map.json").read_text())
        images, folder = common.IMAGES, common.DOCS_RESULTS / "whole-map"
    else:
        found = measure(12 if given.quick else given.limit, given.quick)
        path = common.write("whole_map", found, given.quick)
        images, folder = (path.parent,) * 2 if given.quick else (common.IMAGES, common.DOCS_RESULTS / "whole-map")
    rows = found["rows"]
    write_figure(draw(rows, found["n_problems"]), images, "whole-map")
    common.write_table(sorted(rows, key=lambda row: (row["layer"], row["position"])), folder / "sites.csv")
    if not given.quick:
        for name, table in tables(rows, found["selected"]).items():
            common.fill_page(common.DOCS_RESULTS / "whole-map.md", name, table, code=False)


if __name__ == "__main__":
    main()
