"""`codi-int map`: which layers and positions of the thoughts the answer needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from codi_int.cli import _choices as c
from codi_int.cli import _options as o
from codi_int.cli._console import Report, tell
from codi_int.cli._job import Kept, keep_on_interrupt, run_folder, run_job
from codi_int.cli._numbers import counted
from codi_int.cli._signature import with_options
from codi_int.cli._workers import check_engine, open_workers
from codi_int.errors import ConfigError
from codi_int.interventions.engine.documents import save_document
from codi_int.records import table_row
from codi_int.run_folder import UNITS_NOTE, RunFolder

if TYPE_CHECKING:
    from codi_int.data.problems import Problems
    from codi_int.interventions.screens.thought_map import MapCell, MapPlan, PathSplit, ThoughtMap
    from codi_int.model.hooked import CodiModel
    from codi_int.runs.workers import Bench
    from codi_int.types import Site


@dataclass(frozen=True, kw_only=True)
class MapOptions(o.SelectionOptions, o.EngineOptions, o.RunOptions):
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
    plan: o.Plan = False

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
    from codi_int.cli._map_pages import map_page
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
    if options.plan:
        _show_plan(options)
        return
    check_engine(options, options.out)
    folder = run_folder(options, own=(UNITS_NOTE,))
    run_job(
        lambda report: _run(options, folder, report),
        document=ThoughtMap.to_dict,
        page=map_page,
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def _show_plan(options: MapOptions) -> None:
    from codi_int.cli._plan import show_plan
    from codi_int.runs.plan import RunPlan
    from codi_int.runs.plan_maps import plan_map

    def make(report: Report) -> RunPlan:
        model, problems, plan = _load(options)
        return plan_map(
            model,
            problems,
            plan,
            selection=o.selection_plan(options),
            seed=options.seed,
            progress=report,
        )

    show_plan(options, make, "Without the confirmation of what is found.", own=(UNITS_NOTE,))


def _run(options: MapOptions, folder: RunFolder, report: Report) -> "ThoughtMap":
    from codi_int.data.problems import problems_sha256
    from codi_int.interventions.screens.map_store import MapStore
    from codi_int.interventions.screens.mapping import MapCheckpoint, run_map

    model, problems, plan = _load(options)
    confirmation = o.confirmation_hash(options, problems)
    folder.claim(model=model.sha256, data=problems_sha256(problems), **confirmation)
    store = None if folder.path is None else MapStore(folder.path)
    done = {} if store is None else store.finished()
    if done:
        tell(f"Going on: {counted(len(done), 'unit')} of the map are finished in {options.out}.")

    def kept() -> str:
        return "" if store is None else f"{counted(len(store), 'unit')} of the map are kept in {options.out}"

    with keep_on_interrupt(kept), open_workers(options, folder, "codi_int.cli.map:open_units") as runner:
        return run_map(
            model,
            problems,
            plan,
            seed=options.seed,
            data=options.data,
            progress=report,
            selection=o.selection_plan(options),
            checkpoint=MapCheckpoint(done, None if store is None else store.keep, runner),
        )


def _load(options: MapOptions) -> "tuple[CodiModel, Problems, MapPlan]":
    from codi_int.cli._sites import open_model
    from codi_int.data.problems import load_problems
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
    return model, problems, plan


def open_units(options: MapOptions) -> "Bench":
    """Everything that a worker needs for cells; see `codi_int.runs.workers`."""
    from codi_int.cli._console import begin_worker
    from codi_int.data.problems import problems_sha256
    from codi_int.interventions.screens.map_cells import map_runner
    from codi_int.runs.workers import Bench

    begin_worker()
    model, problems, plan = _load(options)
    inputs = {"model": model.sha256, "data": problems_sha256(problems), **o.confirmation_hash(options, problems)}
    return Bench(map_runner(model, problems, plan, o.selection_plan(options)), inputs)


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
