"""What a page says of probes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType

from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed, interval_text, p_text, points, significant
from codi_int.cli._tables import note_lines

if TYPE_CHECKING:
    from codi_int.probes.records import CausalCheck, ProbeMap, ProbeRow

SHOWN = 10


def probe_page(found: "ProbeMap") -> Page:
    """Baselines, the most selective sites, the map, and what became of the best one elsewhere."""
    head = Text(f"{found.target} read from {found.source} of {found.model}", style="bold")
    have = f"{found.n:,} of {counted(found.n_problems, 'problem')}" if found.n < found.n_problems else ""
    about = f"{have or counted(found.n, 'problem')} of {found.data} · {found.measure} by {found.method}"
    head.append(f"\n{about} · seed {found.seed}", style="not bold")
    if found.classes:
        pairs = zip(found.classes, found.class_counts, strict=True)
        head.append("\n" + ", ".join(f"{name} {count:,}" for name, count in pairs), style="not bold")
    parts: list[RenderableType] = [head, "", _baselines(found), "", _sites(found)]
    whole = [row for row in found.rows if row.k is None]
    if len(whole) > 1:
        parts += ["", _grid(found, "score"), "", _grid(found, "selectivity")]
    parts += ["", *(Text(words, style="bold") for words in _conclusions(found))]
    parts += [] if found.causal is None else ["", *_causal(found.causal)]
    env = found.environment
    method = f"{counted(found.folds, 'fold')} that share none of {found.n_clusters:,} calculations; control task: a "
    method += f"random label for each {found.control_types}, {counted(found.control_draws, 'draw')}; intervals: "
    method += f"bootstrap by cluster\n{fixed(env.seconds, 1)} s on {counted(env.threads, 'thread')}"
    return Page(*parts, *note_lines(found.notes), "", Text(method, style="dim"))


def _baselines(found: "ProbeMap") -> FittedTable:
    out = table("without the site", "score", Column("95% interval", rank=1))
    for one in found.baselines:
        alone = one.low == one.high
        out.add_row(one.name, fixed(one.score, 3), "" if alone else interval_text(one.low, one.high, _three))
    return out


def _sites(found: "ProbeMap") -> FittedTable:
    """The most selective rows."""
    rows = sorted(found.rows, key=lambda row: -row.selectivity)
    sparse = any(row.k is not None for row in rows)
    title = f"the {SHOWN} most selective" if len(rows) > SHOWN else "most selective first"
    out = table(
        title,
        *([Column("latents", rank=1)] if sparse else []),
        "score",
        Column("95% interval", rank=2),
        "control",
        "selectivity",
        Column("95% interval", rank=1, name="interval of the selectivity"),
        Column("score - words", rank=3),
        Column("95% interval", rank=4, name="interval of score - words"),
        Column("penalty", rank=5),
    )
    for row in rows[:SHOWN]:
        out.add_row(
            str(row.site),
            *([f"{row.n_dimensions:,}" if row.k is None else f"{row.k:,}"] if sparse else []),
            fixed(row.score, 3),
            interval_text(row.low, row.high, _three),
            fixed(row.control, 3),
            _signed(row.selectivity),
            interval_text(row.selectivity_low, row.selectivity_high, _signed),
            _signed(row.over_words),
            interval_text(row.over_words_low, row.over_words_high, _signed),
            significant(row.penalty),
        )
    return out


def _grid(found: "ProbeMap", what: str) -> FittedTable:
    """Layers downwards, positions to the right."""
    values = {(row.site.layer, row.site.position): getattr(row, what) for row in found.rows if row.k is None}
    positions = sorted({position for _, position in values})
    out = table(f"{what} at", *("<bot>" if p == 0 else f"P{p}" for p in positions), foldable=True)
    for layer in sorted({layer for layer, _ in values}, key=lambda layer: -1 if layer is None else layer):
        cells = [values.get((layer, position)) for position in positions]
        name = "thought" if layer is None else f"layer {layer}"
        out.add_row(name, *("" if cell is None else fixed(cell, 2) for cell in cells))
    return out


def _conclusions(found: "ProbeMap") -> Iterator[str]:
    """What the numbers come to, in sentences."""
    whole = [row for row in found.rows if row.k is None]
    best = max(whole, key=lambda row: row.selectivity)
    over = sum(row.selectivity_low > 0 for row in whole)
    beyond = sum(row.over_words_low > 0 for row in whole)
    sites = counted(len(whole), "site")
    yield f"Selective (interval above 0): {over:,} of {sites}. Above the words of the question: {beyond:,} of {sites}."
    yield from _sparse(found, best)
    if found.confirmed is None:
        return
    c = found.confirmed
    where = f"{c.site}, the most selective of them, on {counted(c.n, 'problem')} of {c.data} with other calculations"
    numbers = f"{fixed(c.score, 3)} ({interval_text(c.low, c.high, _three)}), control {fixed(c.control, 3)}"
    interval = interval_text(c.selectivity_low, c.selectivity_high, _signed)
    yield f"{where}: {numbers}, selectivity {_signed(c.selectivity)} ({interval})."


def _sparse(found: "ProbeMap", best: "ProbeRow") -> Iterator[str]:
    """How much of the best site's score few latents have."""
    few = [row for row in found.rows if row.k is not None and row.site == best.site]
    if few:
        named = ", ".join(f"{row.k:,}: {fixed(row.score, 3)}" for row in few)
        yield f"At {best.site} by the number of latents: {named}, all {best.n_dimensions:,}: {fixed(best.score, 3)}."


def _causal(check: "CausalCheck") -> list[RenderableType]:
    title = Text(f"Without the probe's {counted(check.n_directions, 'direction')} at {check.site}", style="bold")
    title.append(f"\n{counted(check.n, 'problem')} of {check.data}", style="not bold")
    draws = counted(check.draws, "random subspace")
    out = table(
        "change, points",
        "without them",
        Column("95% interval", rank=2),
        Column("p", rank=2),
        f"{draws} (mean)",
        "difference",
        Column("95% interval", rank=1, name="interval of the difference"),
        "p",
    )
    pairs = (
        ("accuracy", check.accuracy, check.control_accuracy, check.beyond_accuracy),
        ("probability of the clean answer", check.probability, check.control_probability, check.beyond_probability),
    )
    for name, own, control, beyond in pairs:
        out.add_row(
            name,
            points(own.value),
            interval_text(own.low, own.high, points),
            p_text(own.p_value),
            points(control),
            points(beyond.value),
            interval_text(beyond.low, beyond.high, points),
            p_text(beyond.p_value),
        )
    flips = f"{check.n_broken:,} broken, {check.n_fixed:,} fixed; removed: norm {significant(check.norm)} "
    flips += f"(random {significant(check.control_norm)})"
    low, high = check.beyond_probability.low, check.beyond_probability.high
    than = "by these directions than by random ones that vary as the residual does."
    if high is not None and high < 0:
        verdict = f"The answers lose more {than}"
    elif low is not None and low > 0:
        verdict = f"The answers lose less {than}"
    else:
        verdict = f"It is not shown that the answers lose more {than}"
    rank = f"Rank of the change among theirs, by the probability: p = {p_text(check.rank_p)}."
    return [title, out, Text(flips, style="dim"), Text(verdict), Text(rank, style="dim")]


def _three(value: float) -> str:
    return fixed(value, 3)


def _signed(value: float) -> str:
    return fixed(value, 3, "+")
