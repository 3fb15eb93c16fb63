"""The tables of a dashboard: a row for each feature, what it does in each context, its partners under other seeds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from codi_int.cli._dashboard_sources import Dictionary
from codi_int.cli._map_pages import CONDITIONS
from codi_int.cli._numbers import amount, fixed, interval_text, nats, p_text, percentage, points
from codi_int.interventions.screens.screen import Screen
from codi_int.interventions.screens.thought_map import ThoughtMap
from codi_int.report.html.blocks import Cell, Filter, TableBlock
from codi_int.types import Result

if TYPE_CHECKING:
    from codi_int.features.dashboard import FeatureCard

REPORT = "report.html"
BASIC = ("feature", "state", "fires, %", "n", "mean", "reads as")
RULES = ("specialist by", "published", "n (published)", "tested", "n (tested)")
CAUSAL = ("accuracy", "p (family)", "nats", "conclusion", "confirmed")
WORDS = {"feature", "state", "reads as", "specialist by", "published", "tested", "conclusion", "confirmed", "context"}
WORDS |= {"dictionary", "same feature", "site", "page"}
"""columns that are flush left"""
SPECIALIST = ("both", "published", "tested", "none")
CAPTION = {
    "rules": "n (rule): problems, by the tested rule chains, that the rule looked at.",
    "causal": "accuracy (points), nats: change by ablation, from the screen; where confirmed, on the problems that "
    "confirm.",
}


def table_of(headings: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str = "") -> TableBlock:
    """A table whose columns of words are flush left."""
    text = frozenset(i for i, name in enumerate(headings) if name in WORDS)
    return TableBlock(headings, rows, text, caption=caption)


def feature_headings(rules: bool, causal: bool) -> tuple[str, ...]:
    """Of the table of features: what the rules call them and what ablating them did, where either is known."""
    return (*BASIC, *(RULES if rules else ()), *(CAUSAL if causal else ()))


def feature_filters(headings: Sequence[str]) -> tuple[Filter, ...]:
    """What may be asked of the rows of such a table."""
    options = {
        "state": ("alive", "dead"),
        "fires, %": (),
        "specialist by": SPECIALIST,
        "conclusion": ("changed", "equivalent", "unresolved", "untested"),
        "confirmed": ("yes", "no", "not selected"),
    }
    return tuple(Filter(headings.index(name), name, found) for name, found in options.items() if name in headings)


def feature_caption(rules: bool, causal: bool) -> str:
    """Below it."""
    return " ".join(words for words, shown in ((CAPTION["rules"], rules), (CAPTION["causal"], causal)) if shown)


def feature_row(card: "FeatureCard", link: str, rules: bool, causal: bool) -> list[Cell]:
    """An alive feature."""
    p = card.profile
    cells = ["alive", percentage(p.firing_rate), f"{p.n_firing:,}", amount(p.mean_activation), " ".join(p.reads_as)]
    if rules:
        cells += [specialist_by(card), *(cell for name in ("published", "tested") for cell in _called(card, name))]
    if causal:
        cells += _effect(card)
    return [Cell(str(p.feature), link), *map(Cell, cells)]


def dead_row(feature: int, n_columns: int) -> list[Cell]:
    """A feature that never fires, of which nothing else is known."""
    cells = [str(feature), "dead", percentage(0.0), "0"]
    return [*map(Cell, cells), *(Cell("-") for _ in range(n_columns - len(cells)))]


def specialist_by(card: "FeatureCard") -> str:
    """Which of the two rules call it a specialist."""
    found = [name for name in ("published", "tested") if (row := card.rules.get(name)) and row.specialized]
    return "both" if len(found) == 2 else found[0] if found else "none"


def _called(card: "FeatureCard", rule: str) -> tuple[str, str]:
    row = card.rules.get(rule)
    if row is None:
        return "-", "-"
    return (row.label if row.specialized else row.type), f"{row.n_active:,}"


def _effect(card: "FeatureCard") -> list[str]:
    causal = card.profile.causal
    if causal is None:
        return ["-"] * len(CAUSAL)
    return [
        points(causal.accuracy),
        p_text(causal.p_adjusted),
        nats(causal.logprob),
        causal.conclusion or "-",
        confirmed_words(causal.confirmed),
    ]


def confirmed_words(confirmed: bool | None) -> str:
    """Of what was confirmed, or was not to be."""
    return "not selected" if confirmed is None else "yes" if confirmed else "no"


CONTEXT = ("context", "accuracy", "interval", "p (family)", "nats", "conclusion", "confirmed")


def context_rows(one: Dictionary) -> Mapping[int, list[list[Cell]]]:
    """Feature to a row for each screen of it, and for each run that edited it alone."""
    out: dict[int, list[list[Cell]]] = {}
    for run in one.screens:
        screen = run.found
        assert isinstance(screen, Screen)
        words = f"{screen.kind} alone" if screen.later == "free" else f"{screen.kind}, {CONDITIONS[screen.later]}"
        for row in screen.rows:
            if row.site == one.site and row.n_touched:
                cells = _measured(row, row.p_adjusted, row.confirmed)
                out.setdefault(row.feature, []).append([Cell(words, f"{REPORT}#{run.key}"), *map(Cell, cells)])
    for run in one.edits:
        result = run.found
        assert isinstance(result, Result)
        done, effect = result.experiment, result.effect
        words = f"{done.label or done.kind}, {CONDITIONS[done.later]}"
        logprob = "-" if effect.logprob is None else nats(effect.logprob.estimate)
        interval = interval_text(effect.low, effect.high, points)
        cells = [points(effect.estimate), interval, p_text(effect.p_value), logprob, effect.conclusion or "-", "-"]
        for feature in done.features:
            out.setdefault(feature, []).append([Cell(words, f"{REPORT}#{run.key}"), *map(Cell, cells)])
    return out


def _measured(row: Any, p_value: float | None, confirmed: bool | None) -> list[str]:
    """A row of a screen; what was selected as it came out where nothing was selected."""
    again = row.confirmation
    accuracy = row.effect.accuracy if again is None else again.accuracy
    return [
        points(accuracy.value),
        interval_text(accuracy.low, accuracy.high, points),
        p_text(p_value),
        nats(row.effect.logprob.value),
        row.effect.conclusion or "-",
        confirmed_words(confirmed if row.selected else None),
    ]


def site_table(one: Dictionary) -> TableBlock | None:
    """The site as a whole in each context, where a map of it was given."""
    rows = []
    for run in one.maps:
        found = run.found
        assert isinstance(found, ThoughtMap)
        for cell in (*found.cells, *found.contexts):
            if cell.site == one.site and cell.effect is not None:
                before = percentage((cell.n_correct_before or 0) / found.n_problems)
                path = "" if cell.propagate == "both" else f", by the {cell.propagate} alone"
                words = Cell(f"{found.kind}, {CONDITIONS[cell.later]}{path}", f"{REPORT}#{run.key}")
                measured = _measured(cell, cell.p_adjusted, cell.confirmed)
                rows.append([words, *map(Cell, measured), Cell(f"{before} %")])
    caption = f"{one.site} as a whole: its residual replaced, so that it says nothing of its problem"
    return table_of((*CONTEXT, "right before"), rows, caption) if rows else None


SEEDS = ("dictionary", "partner", "cosine", "both fire", "same feature", "accuracy", "partner's", "prob.", "its prob.")


def seed_rows(one: Dictionary) -> Mapping[int, list[list[Cell]]]:
    """Feature to its partner in each dictionary of another seed."""
    out: dict[int, list[list[Cell]]] = {}
    for found in one.seeds:
        for row in found.rows:
            cells = [
                row.dictionary,
                str(row.partner),
                fixed(row.cosine, 2),
                f"{percentage(row.overlap, 0)} %",
                "yes" if row.matched else "no",
                points(row.accuracy),
                points(row.accuracy_partner),
                points(row.probability),
                points(row.probability_partner),
            ]
            out.setdefault(row.feature, []).append([Cell(cell) for cell in cells])
    return out
