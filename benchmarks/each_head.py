"""Attention heads one by one: the second half of docs/results/heads.md, with head-map.csv, each-head.csv and a picture.

    python benchmarks/each_head.py [--part map|again|results|readers] [--draw]

Two questions about each one of codi-mini's heads.

- map: what is lost when what a head adds at one position is replaced by its mean over the problems? All heads of all
  layers and positions are one family on stories:validation (discrete correction), what is found there is run again
  with the same vectors on stories:confirmation. Part `again` runs those that cost most on all of that split (Holm).
- results: which single heads write the result of a step, and which read it? The patches and the nats of heads.py, a
  head at a time; those that are largest on stories:validation are measured again on stories:confirmation (Holm).
  Part `readers` holds the two that read both results, on stories:confirmation/2, and counts predicted answers.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _common as common
import heads
import torch

import codi_int as ci
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.screens.mapping import run_map, whole_grid
from codi_int.interventions.screens.sides import SelectionPlan
from codi_int.interventions.screens.thought_map import MapCell, MapPlan, ThoughtMap
from codi_int.report.panels import Cells, amount_scale, heatmap, panel_grid
from codi_int.report.style import AMOUNT, PAGE, new_figure, styled, write_figure

ON_FRESH = 20
"""heads of the map that are run again on all fresh stories, by what they cost"""
LIMITS = {"map": 200, "results": (heads.LIMIT, heads.CONFIRMING)}
QUICK_LIMIT = 12
PARTS = ("map", "again", "results", "readers")
READERS = ((3, 2), (5, 1))
"""layer and number of the two heads that part `results` shows to read both results"""
HELD_AT = ((1, 5), (1, heads.ANSWER), (3, heads.ANSWER))
"""step and position at which they are held"""
AGAIN = 12
"""single heads of each kind and step that are measured again"""


@dataclass(frozen=True)
class Single(heads.Cell):
    """One head of one layer at one position."""

    head: int = 0
    """its number"""

    def heads(self, n_heads: int) -> list[tuple[int, int]]:
        """Its layer and its number."""
        return [(self.first, self.head)]


@dataclass(frozen=True)
class Several(heads.Cell):
    """Some heads at one position."""

    chosen: tuple[tuple[int, int], ...] = ()
    """their layers and numbers"""

    def heads(self, n_heads: int) -> list[tuple[int, int]]:
        """Their layers and numbers."""
        return list(self.chosen)


def single_cells(pairs: heads.Pairs) -> list[Single]:
    """Every head at every position that may write the step's result, or read the thought that carries it."""
    last = pairs.model.n_thoughts
    places = [(layer, head) for layer in range(pairs.model.n_layers) for head in pairs.heads]
    later = [*range(heads.CARRIERS[pairs.step] + 1, last + 1), heads.ANSWER]
    kinds = [("writes", p) for p in heads.WRITERS[pairs.step]] + [("reads", p) for p in later]
    return [
        Single(kind=kind, step=pairs.step, first=layer, last=layer, position=position, head=head)
        for kind, position in kinds
        for layer, head in places
    ]


def run_results(quick: bool) -> dict[str, Any]:
    """Rank every single head that may write or read a result, and measure the largest again."""
    model, started = ci.load_model("codi-mini"), time.perf_counter()
    limits = (20, 20) if quick else LIMITS["results"]
    ranking, confirming = (
        ci.load_problems(f"stories:{split}", limit=n)
        for split, n in zip(("validation", "confirmation"), limits, strict=True)
    )
    rows, again = [], []
    for step in (1,) if quick else tuple(heads.CARRIERS):
        pairs = heads.Pairs(model, ranking, step)
        found = heads.measure(pairs, single_cells(pairs)[:: 96 if quick else 1])
        rows += found
        fresh = heads.Pairs(model, confirming, step)
        again += heads.measure(fresh, [cell_of(row) for row in largest(found)])
        print(f"step {step}: {len(found)} single heads, {time.perf_counter() - started:.0f} s", flush=True)
    before = {cell_of(row): row["nats"] for row in rows}
    for row, p in zip(again, adjust([row["p"] for row in again], "holm"), strict=True):
        row |= {"p_holm": p, "nats_ranking": before[cell_of(row)]}
        row["confirmed"] = p is not None and p < 0.05 and row["nats"] > 0
    return {"limits": limits, "rows": rows, "again": again, "seconds": time.perf_counter() - started}


@torch.no_grad()
def run_readers(quick: bool) -> dict[str, Any]:
    """Predicted answers after the thought's patch, with the two readers held, and with the others of their layers."""
    model, split = ci.load_model("codi-mini"), f"stories:confirmation{'' if quick else '/2'}"
    problems = ci.load_problems(split, limit=20 if quick else LIMITS["results"][1])
    layers = [layer for layer, _ in READERS]
    others = tuple((layer, h) for layer in layers for h in range(model.stack.n_heads) if (layer, h) not in READERS)
    pairs = {step: heads.Pairs(model, problems, step) for step, _ in HELD_AT[: 1 if quick else None]}
    rows = []
    for step, position in HELD_AT[: 1 if quick else None]:
        mine = pairs[step]
        free = mine.hits(mine.choices(mine.patched([mine.carrier], mine.sources)))
        for name, chosen in (("readers", READERS), ("others", others)):
            cell = Several(
                kind="reads",
                step=step,
                first=min(layers),
                last=max(layers),
                position=position,
                chosen=chosen,
            )
            held = mine.hits(mine.with_readers_held(cell))
            effect = ci.compare_paired(free, held, clusters=mine.clusters)
            row = {"step": step, "position": position, "held": name, "heads": chosen, "n": len(held)}
            row |= {"predicted_free": int(free.sum()), "predicted_held": int(held.sum())}
            row |= {"difference": effect.estimate, "low": effect.low, "high": effect.high, "p": effect.p_value}
            rows.append(row)
    for row, p in zip(rows, adjust([row["p"] for row in rows], "holm"), strict=True):
        row["p_holm"] = p
    return {"data": split, "n_problems": len(problems), "rows": rows}


def readers_table(found: dict[str, Any]) -> str:
    """Predicted answers with and without the readers, as Markdown."""
    heading = ("held", "where", "step", "pairs", "predicted: held", "nothing held", "difference, points", "p (Holm)")
    lines = [f"| {' | '.join(heading)} |", "|" + "---|" * len(heading)]
    for row in found["rows"]:
        where = "the answer" if row["position"] == heads.ANSWER else f"P{row['position']}"
        points = [None if row[name] is None else 100 * row[name] for name in ("difference", "low", "high")]
        cells = [
            ", ".join(f"L{layer}.head:{head}" for layer, head in row["heads"]),
            where,
            row["step"],
            row["n"],
            row["predicted_held"],
            row["predicted_free"],
            interval(*points, digits=1),
            heads.p_words(row["p_holm"]),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def cell_of(row: dict[str, Any]) -> Single:
    """The cell of a row."""
    return Single(**{name: row[name] for name in ("kind", "step", "first", "last", "position", "head")})


def largest(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The largest of each kind."""
    by_kind = [[row for row in rows if row["kind"] == kind and row["nats"] > 0] for kind in ("writes", "reads")]
    return [row for mine in by_kind for row in sorted(mine, key=lambda row: -row["nats"])[:AGAIN]]


def run_mean_map(quick: bool) -> ThoughtMap:
    """Every head of every layer at every position, replaced by its mean: one family, confirmed."""
    model = ci.load_model("codi-mini")
    problems = ci.load_problems("stories:validation", limit=QUICK_LIMIT if quick else LIMITS["map"])
    grids = [whole_grid(model, thoughts=False, component=f"head:{head}") for head in range(model.stack.n_heads)]
    sites = tuple(site for grid in grids for site in grid)
    return run_map(model, problems, MapPlan(sites[:: 48 if quick else 1]), progress=lines_of_progress())


def run_again(rows: Sequence[dict[str, Any]], quick: bool) -> dict[str, Any]:
    """The heads that cost most, on stories that ranked nothing: a family of their own."""
    problems = ci.load_problems("stories:confirmation", limit=QUICK_LIMIT if quick else None)
    best = sorted(rows, key=lambda row: row["nats"])[: 2 if quick else ON_FRESH]
    sites = tuple(ci.Site(row["layer"], row["position"], f"head:{row['head']}") for row in best)
    plan, alone = MapPlan(sites), SelectionPlan(correction="holm", confirm="none")
    found = run_map(ci.load_model("codi-mini"), problems, plan, progress=lines_of_progress(), selection=alone)
    fresh = {one.site: {**map_row(one), **accuracy_of(one)} for one in found.cells}
    return {
        "n_problems": len(problems),
        "n_correct": found.n_correct,
        "rows": [{**fresh[site], "nats_ranking": row["nats"]} for site, row in zip(sites, best, strict=True)],
    }


def accuracy_of(cell: MapCell) -> dict[str, Any]:
    """What a cell did to accuracy, corrected over the family, in fractions."""
    names = ("estimate", "low", "high", "p_adjusted")
    return {f"accuracy_{name}": getattr(cell, name) for name in names}


def lines_of_progress() -> Any:
    """A line every so often."""
    told = [time.perf_counter()]

    def tell(stage: str, done: int, total: int) -> None:
        if time.perf_counter() - told[0] > 60:
            told[0] = time.perf_counter()
            print(stage, done, total, flush=True)

    return tell


def map_row(cell: MapCell) -> dict[str, Any]:
    """A cell of the map as a row of the table."""
    again = cell.confirmation
    return {
        "layer": cell.site.layer,
        "head": int(cell.site.component.split(":")[1]),
        "position": cell.site.position,
        "nats": cell.logprob,
        "low": cell.logprob_low,
        "high": cell.logprob_high,
        "p_adjusted": cell.logprob_p_adjusted,
        "n_broken": cell.n_broken,
        "n_fixed": cell.n_fixed,
        "n_answer_changed": cell.n_answer_changed,
        "selected_accuracy": cell.selected,
        "selected_logprob": cell.selected_logprob,
        "confirmed_nats": again.logprob.value if again else None,
        "confirmed_low": again.logprob.low if again else None,
        "confirmed_high": again.logprob.high if again else None,
        "confirmed_n": again.n if again else None,
        "confirmed_broken": again.n_broken if again else None,
        "confirmed_fixed": again.n_fixed if again else None,
        "confirmed_accuracy": bool(again and again.confirmed),
        "confirmed_logprob": bool(again and again.confirmed_logprob),
    }


def head_name(row: dict[str, Any]) -> str:
    """A row's head, such as `L5.P1.head:2`."""
    layer, position = row.get("layer", row.get("first")), row["position"]
    return f"L{layer}.{'answer' if position == heads.ANSWER else f'P{position}'}.head:{row['head']}"


def share_words(found: dict[str, Any]) -> str:
    """How the effects of the map are spread, in sentences."""
    rows, n = found["rows"], found["n_problems"]
    flipping = sum(bool(row["n_broken"] or row["n_fixed"]) for row in rows)
    chosen, sure = (
        [sum(row[f"{what}_{measure}"] for row in rows) for measure in ("accuracy", "logprob")]
        for what in ("selected", "confirmed")
    )
    return (
        f"{len(rows)} heads at positions (of {found['n_cells']}; nothing later reads the others) on the first {n} "
        f"problems of `stories:validation`. {flipping} flip any answer. {chosen[0]} are found to change accuracy, "
        f"{sure[0]} of these are confirmed; {chosen[1]} are found to change the log-probability of the clean answer, "
        f"{sure[1]} of these are confirmed, on the first {n} of `stories:confirmation`."
    )


def interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """A number with its interval."""
    if value is None:
        return "-"
    shown = f"{value:+.{digits}f}"
    return shown if low is None or high is None else f"{shown} ({low:+.{digits}f} to {high:+.{digits}f})"


def again_table(rows: Sequence[dict[str, Any]]) -> str:
    """The heads that cost most, on fresh stories, as Markdown."""
    heading = ("head", "nats where ranked", "nats", "p (Holm)", "broken", "fixed", "accuracy, points", "p (Holm)")
    lines = [f"| {' | '.join(heading)} |", "|" + "---|" * len(heading)]
    for row in rows:
        points = [
            None if row[f"accuracy_{k}"] is None else 100 * row[f"accuracy_{k}"] for k in ("estimate", "low", "high")
        ]
        cells = [
            head_name(row),
            f"{row['nats_ranking']:+.3f}",
            interval(row["nats"], row["low"], row["high"]),
            heads.p_words(row["p_adjusted"]),
            row["n_broken"],
            row["n_fixed"],
            interval(*points, digits=2),
            heads.p_words(row["accuracy_p_adjusted"]),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def results_table(rows: Sequence[dict[str, Any]]) -> str:
    """Single heads that were measured again, as Markdown; those that are confirmed first."""
    lines = [
        "| head | step | pairs | nats | 95% interval | p (Holm) | nats where ranked | confirmed |",
        "|" + "---|" * 8,
    ]
    for row in sorted(rows, key=lambda row: (not row["confirmed"], -row["nats"])):
        span = "too few carry it" if row["low"] is None else f"{row['low']:+.3f} to {row['high']:+.3f}"
        cells = [head_name(row), row["step"], row["n"], f"{row['nats']:+.3f}", span, heads.p_words(row["p_holm"])]
        cells += [f"{row['nats_ranking']:+.3f}", "yes" if row["confirmed"] else "no"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


@styled
def draw_map(found: dict[str, Any]) -> Any:
    """Nats that each head's mean costs, a panel for each head."""
    caption = (
        f"codi-mini, the first {found['n_problems']} problems of stories:validation: the mean loss of the clean "
        "answer's log-probability, in nats, when what one head adds at one position is replaced by its mean. Hatched: "
        "nothing later reads it."
    )
    numbers = sorted({row["head"] for row in found["rows"]})
    figure = new_figure(PAGE, 3.6, "What single heads are worth", caption)
    tables = [[[lost_at(found["rows"], layer, p, head) for p in range(7)] for layer in range(16)] for head in numbers]
    norm = amount_scale(tables)
    axes = panel_grid(figure, len(numbers), len(numbers), sharey=True)
    for head, ax, table in zip(numbers, axes, tables, strict=False):
        names = [str(layer) for layer in range(16)]
        image = heatmap(ax, Cells(table, rows=names, columns=[str(p) for p in range(7)]), norm=norm, cmap=AMOUNT)
        ax.set_title(f"head {head}")
        ax.set_xlabel("position")
    axes[0].set_ylabel("layer")
    figure.colorbar(image, ax=list(axes), shrink=0.9, pad=0.02, aspect=25)
    return figure


def lost_at(rows: Sequence[dict[str, Any]], layer: int, position: int, head: int) -> float | None:
    """Nats lost at a place; None where nothing later reads it."""
    found = [row for row in rows if (row["layer"], row["position"], row["head"]) == (layer, position, head)]
    return max(-found[0]["nats"], 0.0) if found else None


def fill(part: str, found: dict[str, Any]) -> None:
    """Put one part into the page, and its table and picture beside it."""
    if part == "map":
        common.fill_page(heads.HEADS_PAGE, "each-counts", share_words(found), code=False)
        common.write_table(found["rows"], common.DOCS_RESULTS / "head-map.csv")
        write_figure(draw_map(found), common.IMAGES, "head-map")
        return
    if part == "again":
        count = (
            f"On all {found['n_problems']:,} stories, {found['n_correct']:,} of them right with every head as it is:"
        )
        common.fill_page(heads.HEADS_PAGE, "each-again", f"{count}\n\n{again_table(found['rows'])}", code=False)
        return
    if part == "readers":
        common.fill_page(heads.HEADS_PAGE, "each-readers", readers_table(found), code=False)
        return
    for kind in ("writes", "reads"):
        again = [row for row in found["again"] if row["kind"] == kind]
        common.fill_page(heads.HEADS_PAGE, f"each-{kind}", results_table(again), code=False)
    sure, ranking, confirming = sum(row["confirmed"] for row in found["again"]), *found["limits"]
    text = (
        f"{len(found['rows'])} single heads were ranked on the first {ranking} problems of `stories:validation`; "
        f"{len(found['again'])} of them were measured again on the first {confirming} of `stories:confirmation`, and "
        f"{sure} are confirmed there (one family, Holm, 5 %)."
    )
    common.fill_page(heads.HEADS_PAGE, "each-results", text, code=False)
    common.write_table(found["rows"], common.DOCS_RESULTS / "each-head.csv")


def kept_file(part: str, quick: bool = False) -> Path:
    """Where a part is kept."""
    return (common.QUICK if quick else common.RESULTS) / f"each_head_{part}.json"


def run_part(part: str, quick: bool) -> dict[str, Any]:
    """Measure one part and keep it."""
    started = time.process_time()
    if part == "map":
        found = run_mean_map(quick)
        rows = [map_row(one) for one in found.cells if one.has_path]
        out: dict[str, Any] = {"n_problems": found.n_problems, "n_cells": len(found.cells), "rows": rows}
    elif part == "again":
        out = run_again(json.loads(kept_file("map", quick).read_text())["rows"], quick)
    elif part == "readers":
        out = run_readers(quick)
    else:
        out = run_results(quick)
    common.write(f"each_head_{part}", {**out, "processor_seconds": time.process_time() - started}, quick)
    return out


def main() -> None:
    """Measure, or take what was kept, and fill the page."""
    parser = common.arguments(__doc__)
    parser.add_argument("--part", choices=PARTS, help="one of them; default all")
    parser.add_argument("--draw", action="store_true", help="from the kept results, without measuring")
    options = parser.parse_args()
    for part in (options.part,) if options.part else PARTS:
        found = json.loads(kept_file(part).read_text()) if options.draw else run_part(part, options.quick)
        if not options.quick:
            fill(part, found)


if __name__ == "__main__":
    main()
