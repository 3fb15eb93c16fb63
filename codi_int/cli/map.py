"""`codi-int map`: which layers and positions of the thoughts the answer needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import RenderableType

from codi_int.cli import _choices as c
from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._fitting import Column, FittedTable, Page, table
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._numbers import counted, fixed, interval_text, nats, p_text, percentage, points
from codi_int.cli._selection_pages import (
    conclusion_words,
    confirmation_table,
    confirmation_title,
    family_words,
    selected_rows,
)
from codi_int.cli._signature import with_options
from codi_int.cli._tables import later_words, note_lines
from codi_int.errors import ConfigError
from codi_int.interventions.engine.documents import save_document
from codi_int.records import table_row
from codi_int.run_folder import RunFolder

if TYPE_CHECKING:
    from codi_int.interventions.screens.thought_map import MapCell, PathSplit, ThoughtMap
    from codi_int.model.hooked import CodiModel
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


@dataclass(frozen=True, kw_only=True)
class MapOptions(o.SelectionOptions, o.RunOptions):
    """Which cells the map has, and what is replaced in each."""

    reinitialize: o.Reinitialize = None
    layers: o.AllLayers = ()
    positions: o.AllPositions = ()
    component: o.Component = "resid_post"
    thoughts: Annotated[
        bool | None,
        o.where(
            "--thoughts/--no-thoughts",
            help="A row for the projected thoughts.  [default: without --layer and --component]",
        ),
    ] = None
    mode: Annotated[c.MapMode, o.what(help="What takes a residual's place; mean is over the problems.")] = "mean"
    cumulative: Annotated[bool, o.what("--cumulative", help="Replace a position and all later ones together.")] = False
    direction: Annotated[c.Direction, o.what(help="What --cumulative replaces; upto: thoughts 1 to the position.")] = (
        "onwards"
    )
    propagate: Annotated[
        c.Propagate, o.what(metavar="PATH", help="both, cache or recurrence; split tells the two apart.")
    ] = "both"
    later: Annotated[
        c.MapLater | None,
        o.what(
            help="Other positions of the layer: as they go; later ones silent; later ones clean; all silent but this "
            "one; or free, mean and only side by side.  [default: each; free with --cumulative and cut paths]"
        ),
    ] = None

    @property
    def condition(self) -> str:
        """What the map is run with."""
        other = self.cumulative or self.propagate != "both"
        return self.later or ("free" if other else "each")


@with_options
def map_thoughts(options: MapOptions) -> None:
    """Replace the residual at each layer and position by its mean over the problems and see what becomes of answers.

    A place that others can stand in for looks idle alone: beside what it costs alone stands what it costs where later
    positions of its layer are silent, and where all others are. Cells that are found are run again on problems that
    selected nothing. Every cell runs all problems: the whole map of codi-mini takes minutes, so try --limit 100 first.

    Example: codi-int map --layer 14 --position 3
    """
    from codi_int.interventions.screens.thought_map import MapPlan, ThoughtMap
    from codi_int.types import Site

    # said before anything is loaded: the settings alone can be wrong
    MapPlan(
        sites=(Site(0, 0),),
        kind=options.mode,
        propagate=options.propagate,
        cumulative=options.cumulative,
        direction=options.direction,
        later=options.condition,
    )
    o.selection_plan(options)
    if options.direction != "onwards" and not options.cumulative:
        raise ConfigError(f"--direction {options.direction} says what --cumulative replaces.", "Add --cumulative.")
    folder = run_folder(options)
    run_job(
        lambda report: _run(options, folder, report),
        document=ThoughtMap.to_dict,
        page=map_page,
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def _run(options: MapOptions, folder: RunFolder, report: Report) -> "ThoughtMap":
    from codi_int.cli._sites import open_model
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.interventions.screens.mapping import run_map
    from codi_int.interventions.screens.thought_map import MapPlan

    problems = load_problems(options.data, options.limit)
    model = open_model(options.model, options.device, options.reinitialize)
    plan = MapPlan(
        sites=_sites(options, model),
        kind=options.mode,
        propagate=options.propagate,
        cumulative=options.cumulative,
        direction=options.direction,
        memory_budget=options.memory_budget,
        later=options.condition,
    )
    confirmation = o.confirmation_hash(options, problems)
    folder.claim(model=model.sha256, data=problems_sha256(problems), **confirmation)
    return run_map(
        model,
        problems,
        plan,
        seed=options.seed,
        data=options.data,
        progress=report,
        selection=o.selection_plan(options),
    )


def _sites(options: MapOptions, model: "CodiModel") -> "tuple[Site, ...]":
    """The cells asked for; SiteError where the model does not have one."""
    from codi_int.interventions.screens.mapping import whole_grid
    from codi_int.types import Site

    for layer in options.layers or (0,):
        model.check_site(Site(layer, 0, options.component))
    for position in options.positions:
        model.check_site(Site(0, position))
    # fed thoughts belong to no layer: whoever names layers or a component does not mean them, unless --thoughts says so
    alone = not options.layers and options.component == "resid_post"
    thoughts = alone if options.thoughts is None else options.thoughts
    return tuple(
        site
        for site in whole_grid(model, thoughts, options.component)
        if (site.layer is None or not options.layers or site.layer in options.layers)
        and (not options.positions or site.position in options.positions)
    )


def _keep(found: "ThoughtMap", out: Path) -> Kept:
    document = found.to_dict()
    return Kept(save_document(out, "map", document, _tables_of(found)), [(document, out)])


def _tables_of(found: "ThoughtMap") -> dict[str, list[dict[str, Any]]]:
    """A row for each cell and each split, with sites in one word."""
    tables: dict[str, Sequence[MapCell] | Sequence[PathSplit]] = {"map": found.cells, "splits": found.splits}
    if found.contexts:
        tables["contexts"] = found.contexts
    return {name: [table_row(row) for row in rows] for name, rows in tables.items()}


def map_page(found: "ThoughtMap") -> Page:
    """Layers downwards, positions to the right: accuracy and nats for every path, and how they add up."""
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
        parts += ["", *_side_by_side(found)]
    if found.splits:
        parts += ["", *_split(found)]
    parts += ["", *_confirmed(found), *(Text(line, style="bold") for line in _verdict(found))]
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


def _side_by_side(found: "ThoughtMap") -> list[RenderableType]:
    """The same replacement in each condition, with what was right before it; the cells that lose most in any."""
    everywhere: dict[Site, list[MapCell]] = {}
    for cell in (*found.cells, *found.contexts):
        if cell.has_path:
            everywhere.setdefault(cell.site, []).append(cell)
    ordered = sorted(everywhere.items(), key=lambda item: min(cell.estimate or 0.0 for cell in item[1]))[:SHOWN]
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


def _split(found: "ThoughtMap") -> list[RenderableType]:
    """The cells with most to lose: what goes by which path, in nats."""
    nats_of = {(cell.site, cell.propagate): cell.logprob for cell in found.cells}
    # by the effect of both paths together: a cell that moves nothing has nothing to split
    ordered = sorted(found.splits, key=lambda s: -abs(nats_of[s.site, "both"] or 0.0))[:SHOWN]
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
    words = Text(f"Departures from the sum of the paths: {family} No departure shown is not additivity.")
    rows = selected_rows(found.splits)
    if not rows:
        return ["", words]
    title = Text(f"departures, {confirmation_title(found.split_selection)}", style="bold")
    return ["", words, "", title, confirmation_table(rows, [(str(one.site),) for one in rows], ["cell"])]


def _confirmed(found: "ThoughtMap") -> list[RenderableType]:
    """The selected cells that lose most, as they came out where nothing was selected."""
    rows = selected_rows((*found.cells, *found.contexts))
    if found.selection is None or not rows:
        return []
    shown = sorted(rows, key=lambda cell: cell.confirmation_estimate or 0.0)[:SHOWN]
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
