"""Which attention heads write and read step results: docs/results/heads.md with its picture, tables and heads.json.

    python benchmarks/heads.py

Heads are asked in sets, all of a position and those of four layers there.
codi-mini, pairs of stories of the same operations whose results of one step differ. Two questions:

- writes: only what the heads add at one position comes from the source. By how many nats does the answer that follows
  from the target's steps with the source's result become likelier, beyond the same patch from a source with a third
  value of the same match class?
- reads: the thought that carries the result comes from the source, and what heads add at one later position (or while
  the answer is written) is held at its clean value. How much of what the thought's patch did is gone?

Sets are ranked on stories:validation, the strongest of them measured again on stories:confirmation (Holm), where the
strongest writers and readers are counted in predicted answers, too.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import _common as common
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import codi_int as ci
from codi_int.data.chains import cluster_problems
from codi_int.interventions.edits.combined import reach_order
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.patching.pairs import find_pairs, third_value_sources
from codi_int.interventions.patching.patch import participants
from codi_int.interventions.patching.predictions import predict_patch
from codi_int.model.chain import ChainState
from codi_int.model.hooks import HookPoint
from codi_int.model.resume import SiteChange, make_resume_point
from codi_int.model.rollout import Grouping, Rollout, group_in_order, usual_opening
from codi_int.model.stack import head_hook
from codi_int.report.panels import Cells, amount_scale, heatmap, panel_grid
from codi_int.report.style import AMOUNT, PAGE, new_figure, styled, write_figure
from codi_int.types import Site

ANSWER = 7
"""stands for "while the answer is written" among the positions"""
CARRIERS = {1: 1, 3: 5}
"""step -> the position after which the thought that carries its result best is fed (docs/results/patch-sites.md, where
no place is shown to carry that of step 2)"""
WRITERS = {1: (0, 1), 3: (1, 3, 5)}
"""positions whose heads are patched"""
LIMIT, CONFIRMING, TOP = 80, 200, 4
HEADS_PAGE = common.DOCS_RESULTS / "heads.md"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """Heads of some layers at one position."""

    kind: str
    """`writes` or `reads`"""
    step: int
    first: int
    """lowest layer"""
    last: int
    """highest layer"""
    position: int
    """0 to 6, or `ANSWER`"""

    def heads(self, n_heads: int) -> list[tuple[int, int]]:
        """Layers and heads."""
        return [(layer, head) for layer in range(self.first, self.last + 1) for head in range(n_heads)]


class Pairs:
    """Pairs of one step with everything that was captured of them, in one batch."""

    def __init__(self, model: ci.CodiModel, problems: Sequence[ci.Problem], step: int) -> None:
        self.model, self.step = model, step
        people = participants(problems, find_pairs(problems, "different", step), step)
        predictions = predict_patch(people.problems, people.sources, step).rows
        thirds = third_value_sources(people.problems, people.sources, step, 1)[0]
        chosen = [i for i, row in enumerate(predictions) if row.informative and people.sources[i] >= 0]
        self.targets = torch.tensor(chosen)
        self.sources = torch.tensor([people.sources[i] for i in chosen])
        self.thirds = torch.tensor([thirds[i] for i in chosen])
        clusters = cluster_problems(people.problems)
        self.clusters = [clusters[i] for i in chosen]
        ids = [model.tokenizer.convert_tokens_to_ids(str(int(predictions[i].answer or 0))) for i in chosen]
        self.predicted = torch.tensor(ids)
        encoded = [tuple(model.encode_question(problem)) for problem in people.problems]
        names = [problem.id for problem in people.problems]
        self._batch = group_in_order(encoded, names, Grouping(len(names), model.config.pad_id, model.device))[0]

    @cached_property
    def rollout(self) -> Rollout:
        """The clean pass, with every head and every block's input."""
        model = self.model
        places = [(layer, p) for layer in range(model.n_layers) for p in range(model.n_thoughts + 1)]
        heads = [Site(*place, f"head:{head}") for place in places for head in range(model.stack.n_heads)]
        thoughts = [Site(None, p, "thought") for p in range(model.n_thoughts + 1)]
        return model.rollout(self._batch, [*heads, *(Site(*place, "resid_pre") for place in places), *thoughts])

    @cached_property
    def opening(self) -> Tensor:
        """What stands before the number of an answer, for every target. [m, tokens]"""
        words = usual_opening(self.rollout.completions)
        return torch.tensor(words).expand(len(self.targets), -1)

    def choices(self, state: ChainState) -> Tensor:
        """Log-probabilities of the number after a state. [m, vocab]"""
        return self.model.teacher_force(state, self.opening)[:, -1].float().log_softmax(-1)

    def patched(self, sites: Sequence[Site], sources: Tensor, held: Sequence[Site] = ()) -> ChainState:
        """After all thoughts, with the sites taken from `sources` and others held at their clean values."""
        captured = self.rollout.captured
        values = {site: captured[site][sources] for site in sites} | {s: captured[s][self.targets] for s in held}
        ordered = sorted(values, key=reach_order)
        changes = [SiteChange(site, torch.zeros_like(values[site]), values[site]) for site in ordered]
        point = make_resume_point(self.model, ordered[0])
        return point.run_on(self.model, self.rollout, self.targets, changes)

    def gain(self, found: Tensor) -> Floats:
        """Nats that the predicted answer has become likelier. [m]"""
        rows = torch.arange(len(self.predicted))
        change = found[rows, self.predicted] - self.clean[rows, self.predicted]
        return change.double().numpy()

    def hits(self, found: Tensor) -> NDArray[np.bool_]:
        """Whether the predicted answer is the one that is given. [m]"""
        return (found.argmax(-1) == self.predicted).numpy()

    @cached_property
    def clean(self) -> Tensor:
        """Log-probabilities without any patch. [m, vocab]"""
        return self.choices(self.rollout.state_at(self.model.n_thoughts, self.targets))

    @property
    def carrier(self) -> Site:
        """The thought that carries the result."""
        return Site(None, CARRIERS[self.step], "thought")

    @cached_property
    def clean_heads(self) -> dict[str, Tensor]:
        """What each head adds while the clean answer is written, by hook name. [m, tokens, d_model]"""
        found: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            return lambda tensor, hook: found.__setitem__(name, tensor.clone())

        names = [f"blocks.{i}.{head_hook(h)}" for i in range(self.model.n_layers) for h in self.heads]
        with self.model.hooks({HookPoint(name, ("answer",)): keep(name) for name in names}):
            self.choices(self.rollout.state_at(self.model.n_thoughts, self.targets))
        return found

    @property
    def heads(self) -> range:
        """All heads of a layer."""
        return range(self.model.stack.n_heads)

    def sites(self, cell: Cell) -> list[Site]:
        """The heads of a cell before the answer."""
        return [Site(layer, cell.position, f"head:{head}") for layer, head in cell.heads(len(self.heads))]

    def with_readers_held(self, cell: Cell) -> Tensor:
        """Log-probabilities with the carrying thought patched and a cell's heads held. [m, vocab]"""
        if cell.position != ANSWER:
            return self.choices(self.patched([self.carrier], self.sources, self.sites(cell)))
        clean = {name: self.clean_heads[name] for name in (hook_of(*one) for one in cell.heads(len(self.heads)))}
        hooks: dict[Any, Any] = {
            HookPoint(name, ("answer",)): lambda tensor, hook, value=value: value for name, value in clean.items()
        }
        state = self.patched([self.carrier], self.sources)
        with self.model.hooks(hooks):
            return self.choices(state)

    def effect(self, cell: Cell) -> Floats:
        """What a cell did, in nats of the predicted answer, pair by pair. [m]"""
        if cell.kind == "writes":
            real, third = (self.choices(self.patched(self.sites(cell), rows)) for rows in (self.sources, self.thirds))
            return self.gain(real) - self.gain(third)
        return self.carried_gain - self.gain(self.with_readers_held(cell))

    @cached_property
    def carried_gain(self) -> Floats:
        """Nats that the carrying thought brings. [m]"""
        return self.gain(self.choices(self.patched([self.carrier], self.sources)))

    def cells(self) -> list[Cell]:
        """All layers together and four by four: of positions that may write, and that may read the carrying thought."""
        top, last = self.model.n_layers - 1, self.model.n_thoughts
        groups = [(0, top), *((first, first + 3) for first in range(0, top, 4))]
        later = [*range(CARRIERS[self.step] + 1, last + 1), ANSWER]
        writes = [Cell("writes", self.step, *group, p) for p in WRITERS[self.step] for group in groups]
        return [*writes, *(Cell("reads", self.step, *group, p) for p in later for group in groups)]


def hook_of(layer: int, head: int) -> str:
    """The hook of one head's part."""
    return f"blocks.{layer}.{head_hook(head)}"


@torch.no_grad()
def measure(pairs: Pairs, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A row for each cell: the mean, its interval and p-value."""
    rows = []
    for cell in cells:
        found = ci.estimate_mean(pairs.effect(cell), clusters=pairs.clusters)
        row = {"n": len(pairs.targets), "nats": found.value, "low": found.low, "high": found.high, "p": found.p_value}
        rows.append({**vars(cell), **row})
    return rows


def strongest(rows: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The cells of a kind with the largest means."""
    able = [row for row in rows if row["kind"] == kind and row["nats"] > 0]
    return sorted(able, key=lambda row: -row["nats"])[:TOP]


def cell_of(row: dict[str, Any]) -> Cell:
    """The cell of a row."""
    return Cell(row["kind"], row["step"], row["first"], row["last"], row["position"])


@torch.no_grad()
def together(pairs: Pairs, writers: Cell, readers: Cell) -> list[dict[str, Any]]:
    """Predicted answers with the strongest set patched, and with the strongest readers held; against their controls."""
    heads = pairs.sites(writers)
    written, third = (pairs.hits(pairs.choices(pairs.patched(heads, rows))) for rows in (pairs.sources, pairs.thirds))
    thought = pairs.hits(pairs.choices(pairs.patched([pairs.carrier], pairs.sources)))
    held = pairs.hits(pairs.with_readers_held(readers))
    rows = []
    for what, hits, control, base in (
        (f"{name_of(vars(writers))}", written, "the same from a source with a third value", third),
        (f"the thought, with {name_of(vars(readers))} held", held, "the thought, nothing held", thought),
    ):
        effect = ci.compare_paired(base, hits, clusters=pairs.clusters)
        counts = {"predicted": int(hits.sum()), "predicted_control": int(base.sum())}
        before = int(pairs.hits(pairs.clean).sum())
        row = {"step": pairs.step, "patched": what, "control": control, "n": len(hits), **counts, "before": before}
        rows.append({**row, "difference": effect.estimate, "low": effect.low, "high": effect.high, "p": effect.p_value})
    return rows


@styled
def draw(rows: Sequence[dict[str, Any]], n: int) -> Any:
    """Nats by layers and position; a panel for each step and kind."""
    steps = sorted({row["step"] for row in rows})
    caption = (
        f"codi-mini, pairs among the first {n} problems of stories:validation, means in nats of the predicted answer. "
        "Above: what heads, taken from the source, do beyond a source with a third value. Below: what is lost of the "
        "carrying thought's effect where heads are held at their clean values; A: while the answer is written. "
        "Hatched: not asked. What is confirmed stands in the tables."
    )
    figure = new_figure(PAGE, 4.2, "Heads that write (above) and read (below) the result of a step", caption)
    axes = panel_grid(figure, 2 * len(steps), len(steps), sharey=True)
    groups = sorted({(row["first"], row["last"]) for row in rows}, key=lambda group: (group[1] - group[0] > 3, group))
    names = [f"{first}-{last}" if last - first == 3 else "all" for first, last in groups]
    for at, (kind, step) in enumerate((kind, step) for kind in ("writes", "reads") for step in steps):
        mine = {
            ((r["first"], r["last"]), r["position"]): r["nats"] for r in rows if (r["kind"], r["step"]) == (kind, step)
        }
        table = [[mine.get((group, p)) for p in range(ANSWER + 1)] for group in groups]
        shown = [[None if value is None else max(value, 0.0) for value in line] for line in table]
        cells = Cells(shown, rows=names, columns=[*map(str, range(ANSWER)), "A"])
        # each panel has its own scale: what is written and what is read are nats of different things
        image = heatmap(axes[at], cells, norm=amount_scale([shown]), cmap=AMOUNT)
        axes[at].set_title(f"result of step {step}: {kind}")
        figure.colorbar(image, ax=axes[at], shrink=0.9, pad=0.02, aspect=25)
    return figure


def table_of(rows: Sequence[dict[str, Any]], confirmed: bool) -> str:
    """A Markdown table of cells."""
    more = ["p (Holm)", "nats where ranked", "confirmed"] if confirmed else []
    lines = ["| " + " | ".join(["heads", "step", "pairs", "nats", "95% interval", *more]) + " |"]
    lines.append("|" + "---|" * (5 + len(more)))
    for row in rows:
        interval = "too few carry it" if row["low"] is None else f"{row['low']:+.3f} to {row['high']:+.3f}"
        words = [name_of(row), str(row["step"]), str(row["n"]), f"{row['nats']:+.3f}", interval]
        if confirmed:
            words += [p_words(row["p_holm"]), f"{row['nats_ranking']:+.3f}", "yes" if row["confirmed"] else "no"]
        lines.append("| " + " | ".join(words) + " |")
    return "\n".join(lines)


def fill(out: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Put the tables into the page."""
    for kind in ("writes", "reads"):
        again = [row for row in out["again"] if row["kind"] == kind]
        common.fill_page(HEADS_PAGE, kind, table_of(again, True), code=False)
    lines = [
        "| patched | step | pairs | predicted | control | predicted there | before | difference, points | p (Holm) |"
    ]
    lines.append("|" + "---|" * 9)
    for row in out["together"]:
        shown = f"{100 * row['difference']:+.1f} ({100 * row['low']:+.1f} to {100 * row['high']:+.1f})"
        words = (row["patched"], row["step"], row["n"], row["predicted"], row["control"], row["predicted_control"])
        lines.append(f"| {' | '.join(map(str, words))} | {row['before']} | {shown} | {p_words(row['p_holm'])} |")
    common.fill_page(HEADS_PAGE, "together", "\n".join(lines), code=False)
    sure = sum(row["confirmed"] for row in out["again"])
    text = (
        f"{len(rows)} sets were ranked on the first {out['limits'][0]} problems of `stories:validation`; "
        f"{len(out['again'])} of them were measured again on the first {out['limits'][1]} of `stories:confirmation`, "
        f"and {sure} are confirmed there (one family, Holm, 5 %)."
    )
    common.fill_page(HEADS_PAGE, "counts", text, code=False)


def name_of(row: Mapping[str, Any]) -> str:
    """A cell in words."""
    where = "the answer" if row["position"] == ANSWER else f"P{row['position']}"
    return f"all heads of layers {row['first']}-{row['last']} at {where}"


def p_words(p: float | None) -> str:
    """A p-value, or a dash where there is none."""
    return "-" if p is None else "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def main() -> None:
    """Rank, confirm, count predicted answers, write."""
    quick = common.arguments(__doc__).parse_args().quick
    started, model = time.perf_counter(), ci.load_model("codi-mini")
    limits = (20, 20) if quick else (LIMIT, CONFIRMING)
    ranking, confirming = (
        ci.load_problems(f"stories:{split}", limit=n)
        for split, n in zip(("validation", "confirmation"), limits, strict=True)
    )
    rows, again, joint = [], [], []
    for step in (1,) if quick else tuple(CARRIERS):
        pairs = Pairs(model, ranking, step)
        found = measure(pairs, pairs.cells()[:: 8 if quick else 1])
        rows += found
        print(f"step {step}: {len(found)} sets, {time.perf_counter() - started:.0f} s", flush=True)
        best = {kind: [cell_of(row) for row in strongest(found, kind)] for kind in ("writes", "reads")}
        fresh = Pairs(model, confirming, step)
        again += measure(fresh, [*best["writes"], *best["reads"]])
        if best["writes"] and best["reads"]:
            joint += together(fresh, best["writes"][0], best["reads"][0])
    for row, p in zip(again, adjust([row["p"] for row in again], "holm"), strict=True):
        before = next(one for one in rows if cell_of(one) == cell_of(row))
        row |= {
            "p_holm": p,
            "nats_ranking": before["nats"],
            "confirmed": p is not None and p < 0.05 and row["nats"] > 0,
        }
    for row, p in zip(joint, adjust([row["p"] for row in joint], "holm"), strict=True):
        row["p_holm"] = p
    out = {"limits": limits, "again": again, "together": joint, "seconds": time.perf_counter() - started}
    path = common.write("heads", out, quick)
    write_figure(draw(rows, limits[0]), path.parent if quick else common.IMAGES, "heads")
    common.write_table(rows, (path.parent if quick else common.DOCS_RESULTS) / "heads.csv")
    if not quick:
        fill(out, rows)


if __name__ == "__main__":
    main()
