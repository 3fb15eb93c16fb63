"""The page of a map: what each cell costs, layers downwards, positions to the right."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType

from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed, interval_text, nats, p_text, percentage, points
from codi_int.cli._selection_pages import (
    additivity_words,
    conclusion_words,
    confirmation_table,
    confirmation_title,
    family_words,
    selected_rows,
)
from codi_int.cli._tables import later_words, note_lines

if TYPE_CHECKING:
    from codi_int.interventions.screens.thought_map import MapCell, ThoughtMap
    from codi_int.types import Site

SHOWN = 12
CONDITIONS = {"free": "alone", "mean": "later silent", "clean": "later clean", "only": "only this one"}
GIVEN = {
    "free": "Alone, with other positions left free. ",
    "mean": "Given that later positions of the layer say nothing: ",
    "clean": "Given that later positions of the layer stay as they were: ",
    "only": "Given that no other position of the layer says anything: ",
}
THOUGHTS = "thought"


def map_page(found: "ThoughtMap", shown: int = SHOWN) -> Page:
    """Layers downwards, positions to the right: accuracy and nats for every path, and how they add up.

    Args:
        found: the map.
        shown: rows at most of what names single cells below the grids.
    """
    parts: list[RenderableType] = [_head(found)]
    # one pair of grids for each path, in the order in which they were run
    for path in dict.fromkeys(cell.propagate for cell in found.cells):
        cells = [cell for cell in found.cells if cell.propagate == path]
        paths = "" if found.propagate == "both" else f", by {'both paths' if path == 'both' else f'the {path} alone'}"
        paths += "" if found.later == "free" else f" ({CONDITIONS[cells[0].later]})"
        parts += ["", Text(f"change of accuracy, points; layers by positions{paths}", style="bold")]
        parts += [_grid(cells, _accuracy), ""]
        parts += [Text(f"change of the clean answer's log-probability, nats{paths}", style="bold")]
        parts += [_grid(cells, _logprob)]
    for later in dict.fromkeys(cell.later for cell in found.contexts):
        title = f"change of accuracy, points; layers by positions ({CONDITIONS[later]})"
        parts += ["", Text(title, style="bold")]
        parts += [_grid([cell for cell in found.contexts if cell.later == later], _accuracy)]
    if found.contexts:
        parts += ["", *_side_by_side(found, shown)]
    if found.splits:
        parts += ["", *_split(found, shown)]
    parts += ["", *_confirmed(found, shown), *(Text(line, style="bold") for line in _verdict(found))]
    parts += note_lines(found.notes)
    return Page(*parts, "", _footer(found))


def _head(found: "ThoughtMap") -> Text:
    component = found.cells[0].site.component
    part = "residual" if component == "resid_post" else component
    reach = {
        None: f"the {part} at one layer and position",
        "onwards": f"a position's {part} and all later ones'",
        "upto": f"the {part}{'s' * (part == 'residual')} of thoughts 1 to a position",
    }[found.direction]
    text = Text(f"{found.kind} in place of {reach}, {found.model}", style="bold")
    right = f"{counted(found.n_problems, 'problem')} of {found.data}, {found.n_correct:,} right"
    later = later_words(found.later)
    return text.append(f"\n{right} · propagate {found.propagate}{later} · seed {found.seed}", style="not bold")


def _side_by_side(found: "ThoughtMap", most: int) -> list[RenderableType]:
    """The same replacement in each condition, with what was right before it; the cells that lose most in any."""
    everywhere: dict[Site, list[MapCell]] = {}
    for cell in (*found.cells, *found.contexts):
        if cell.has_path:
            everywhere.setdefault(cell.site, []).append(cell)
    ordered = sorted(everywhere.items(), key=lambda item: min(cell.estimate or 0.0 for cell in item[1]))[:most]
    laters = list(dict.fromkeys(cell.later for cell in (*found.cells, *found.contexts)))
    headings = [
        heading
        for later in laters
        for heading in (
            CONDITIONS[later],
            Column("interval", rank=1, name=f"interval, {CONDITIONS[later]}"),
            Column("right before", rank=2, name=f"right before, {CONDITIONS[later]}"),
        )
    ]
    out = table("accuracy, points", *headings)
    for site, cells in ordered:
        words = []
        for cell in cells:
            before = percentage((cell.n_correct_before or 0) / found.n_problems)
            words += [_accuracy(cell), interval_text(cell.low, cell.high, points), f"{before} %"]
        out.add_row(str(site), *words)
    left = len(everywhere) - len(ordered)
    more = [Text(f"and {counted(left, 'cell')} that lose less; --json has them all", style="dim")] if left else []
    title = Text("the same cells side by side", style="bold")
    return [title, out, *more]


def _grid(cells: "Sequence[MapCell]", show: "Callable[[MapCell], str]") -> FittedTable:
    positions = sorted({cell.site.position for cell in cells})
    # every position matters as much as its neighbour: a grid that is too wide goes on below itself
    out = table("layer", *("<bot>" if p == 0 else str(p) for p in positions), foldable=True)
    of = {(cell.site.layer, cell.site.position): cell for cell in cells}
    for layer in dict.fromkeys(cell.site.layer for cell in cells):
        row = [show(of[layer, p]) if (layer, p) in of else "" for p in positions]
        out.add_row(THOUGHTS if layer is None else str(layer), *row)
    return out


def _accuracy(cell: "MapCell") -> str:
    return "no path" if cell.estimate is None else points(cell.estimate) + _star(cell.selected, cell.confirmed)


def _logprob(cell: "MapCell") -> str:
    return (
        "no path"
        if cell.logprob is None
        else fixed(cell.logprob, 3, "+") + _star(cell.selected_logprob, cell.confirmed_logprob)
    )


def _star(selected: bool, confirmed: bool | None) -> str:
    # a blank, not nothing, where there is no star: columns are flush right, and digits would no longer line up
    return "*" if selected and confirmed is not False else " "


def _split(found: "ThoughtMap", most: int) -> list[RenderableType]:
    """The cells with most to lose: what goes by which path, in nats."""
    nats_of = {(cell.site, cell.propagate): cell.logprob for cell in found.cells}
    # by the effect of both paths together: a cell that moves nothing has nothing to split
    ordered = sorted(found.splits, key=lambda s: -abs(nats_of[s.site, "both"] or 0.0))[:most]
    out = table(
        "nats",
        Column("both paths", rank=2, name="nats by both paths"),
        "cache",
        "recurrence",
        "both - (cache + recurrence)",
        Column("interval", rank=1, name="interval of the difference"),
        "p (family)",
    )
    for one in ordered:
        both, cache, recurrence = (nats(nats_of[one.site, path] or 0.0) for path in ("both", "cache", "recurrence"))
        rest = one.logprob
        out.add_row(
            str(one.site),
            both,
            cache,
            recurrence,
            nats(rest.estimate),
            interval_text(rest.low, rest.high, nats),
            p_text(rest.p_adjusted),
        )
    left = len(found.splits) - len(ordered)
    more = [Text(f"and {counted(left, 'cell')} with smaller effects; --json has them all", style="dim")] if left else []
    return [out, *more, *_departures(found)]


def _departures(found: "ThoughtMap") -> list[RenderableType]:
    """Cells whose paths do not add up in accuracy: how many were found, and how those came out elsewhere."""
    if found.split_selection is None:
        return []
    family = family_words(found.split_selection, "cell", "cells")
    adding = additivity_words(found.splits, found.split_selection)
    words = Text(f"Departures from the sum of the paths: {family} {adding}")
    rows = selected_rows(found.splits)
    if not rows:
        return ["", words]
    title = Text(f"departures, {confirmation_title(found.split_selection)}", style="bold")
    return ["", words, "", title, confirmation_table(rows, [(str(one.site),) for one in rows], ["cell"])]


def _confirmed(found: "ThoughtMap", most: int) -> list[RenderableType]:
    """The selected cells that lose most, as they came out where nothing was selected."""
    rows = selected_rows((*found.cells, *found.contexts))
    if found.selection is None or not rows:
        return []
    shown = sorted(rows, key=lambda cell: cell.confirmation_estimate or 0.0)[:most]
    several = found.propagate == "split"
    given = bool(found.contexts)
    names = [
        (str(cell.site), *([cell.propagate] if several else []), *([CONDITIONS[cell.later]] if given else []))
        for cell in shown
    ]
    left = len(rows) - len(shown)
    more = [Text(f"and {counted(left, 'cell')} more; --json has them all", style="dim")] if left else []
    title = Text(confirmation_title(found.selection), style="bold")
    headings = ["cell", *(["path"] if several else []), *(["given"] if given else [])]
    return [title, confirmation_table(shown, names, headings), *more, ""]


def _verdict(found: "ThoughtMap") -> list[str]:
    # cells without a path were never tested, and counting them would make the share of findings smaller than it is
    open_cells = [cell for cell in found.cells if cell.has_path]
    closed = len(found.cells) - len(open_cells)
    what = " (each by each path)" if found.propagate == "split" else ""
    what = " (each in three conditions)" if found.contexts else what
    text = f"{counted(len(open_cells), 'cell')}{what}."
    if closed:
        text += (
            f" From {counted(closed, 'cell')} no path leads to the answer: nothing later reads "
            f"{'it' if closed == 1 else 'them'}."
        )
    if found.selection is None:
        return [text]
    family = family_words(found.selection, "cell", "cells")
    star = "*: found, and confirmed where anything confirms."
    # of the free map alone nothing is said: that is what a map is where nothing is named
    given = "" if found.later == "free" else GIVEN[found.cells[0].later]
    first = f"{given}{conclusion_words(open_cells, found.selection)}"
    others = [
        GIVEN[later]
        + conclusion_words(
            [cell for cell in found.contexts if cell.later == later and cell.has_path], found.selection, brief=True
        )
        for later in dict.fromkeys(cell.later for cell in found.contexts)
    ]
    return [f"{text} {family} {star}", first, *others]


def _footer(found: "ThoughtMap") -> Text:
    c, env = found.counts, found.environment
    work = f"{counted(c.suffix_rows, 'row')} run from the site on, {c.rerun:,} twice"
    return Text(f"{work} · {fixed(env.seconds, 1)} s on {counted(env.threads, 'thread')}", style="dim")
