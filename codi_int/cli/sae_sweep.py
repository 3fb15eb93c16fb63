"""`codi-int sae sweep`: a grid of TopK SAEs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from codi_int.cli import _options as o
from codi_int.cli._console import progress
from codi_int.cli._job import Kept, keep_on_interrupt, run_folder, run_job
from codi_int.cli._signature import with_options
from codi_int.cli._workers import check_engine, open_workers

if TYPE_CHECKING:
    from codi_int.cli._progress import Shown
    from codi_int.runs.workers import Bench
    from codi_int.sae.grid import SweepRow
    from codi_int.sae.many import GridEpoch
    from codi_int.sae.site_sweep import SweepCallbacks, SweepPlan
    from codi_int.types import Site

STAGE = "SAE epochs"
"""how the training of the SAEs is called while it runs"""


@dataclass(frozen=True, kw_only=True)
class SweepOptions(o.EngineOptions, o.TrainingOptions):
    """The grid and where it goes."""

    out: Annotated[Path, o.output(metavar="FOLDER", help="Folder of SAEs, tables and figures.")]
    force: o.Force = False
    layers: o.Layers = (14,)
    positions: o.Positions = (3,)
    component: o.Component = "resid_post"
    k: Annotated[
        tuple[int, ...],
        o.what("--k", metavar="N", help="Features kept per row: 16, or 5,10,20."),
        partial(o.whole_numbers, option="--k"),
    ] = (5, 10, 20, 100)
    features: Annotated[
        tuple[int, ...],
        o.what(metavar="N", help="Sizes of the dictionary: 512, or 512,1024."),
        partial(o.whole_numbers, option="--features"),
    ] = (512, 1024, 2048)
    seeds: Annotated[
        tuple[int, ...],
        o.evidence("--seed", metavar="N", help="Of weights and order: 0, or 0-2."),
        partial(o.whole_numbers, option="--seed"),
    ] = (0,)
    splice: Annotated[
        bool, o.evidence("--splice/--no-splice", help="Run the model with every SAE spliced in, too.")
    ] = False
    memory_gib: Annotated[float, o.where(parser=o.number("--memory-gib"), metavar="GIB", help="Per stack.")] = 4.0


@with_options
def sweep(options: SweepOptions) -> None:
    """Train and measure every combination of layers, positions, k, features and seeds; the default is a published grid.

    A stopped sweep goes on where it was, and a larger grid takes up a smaller one in the same folder.

    Example: codi-int sae sweep --k 5,10,20,100 --features 512,1024 --seed 0,1 --out runs/sweep
    """
    from codi_int.cli._sae_pages import sweep_page
    from codi_int.data.problems import problems_sha256
    from codi_int.model.loading import load_model
    from codi_int.sae.site_sweep import sweep_sites
    from codi_int.sae.store import CONFIG_FILE
    from codi_int.sae.sweep import SETTINGS
    from codi_int.sae.sweep_table import TABLE

    check_engine(options, options.out)
    plan = sweep_plan(options)
    folders = _folders(plan)
    folder = run_folder(
        options,
        free=("splice",),
        growing=("layers", "positions", "k", "features", "seeds"),
        own=(f"{TABLE}.json", SETTINGS),
    )
    # counted before the run makes more of them: what an earlier run has finished is not trained again
    epochs = plan.grid.recipe.n_epochs * sum(not folder.exists() for folder in folders)

    def kept() -> str:
        # asked of the disk: after Ctrl-C what counts is what is there
        done = sum((folder / CONFIG_FILE).exists() for folder in folders)
        return f"{done} of {len(folders)} SAEs are kept in {plan.out}"

    def work(bars: "_SweepProgress") -> "Sequence[SweepRow]":
        model = load_model(options.model, device=options.device)
        folder.claim(model=model.sha256, data=problems_sha256(plan.training), held_out=problems_sha256(plan.held_out))
        workers = open_workers(options, folder, "codi_int.cli.sae_sweep:open_units")
        with keep_on_interrupt(kept), workers as runner:
            return sweep_sites(model, plan, _callbacks(bars), runner)

    run_job(
        work,
        document=lambda rows: sweep_document(options, plan, rows),
        page=lambda rows: sweep_page(plan, rows, options.model),
        as_json=options.as_json,
        out=folder,
        keep=lambda rows, out: _keep(plan),
        watch=lambda: _sweep_progress(epochs, plan.grid.recipe.n_epochs, options.engine != "local"),
    )


def sweep_plan(options: SweepOptions) -> "SweepPlan":
    """The plan, with all that can be checked without a model."""
    from codi_int.data.problems import load_problems
    from codi_int.sae.grid import SweepGrid
    from codi_int.sae.recipe_files import read_recipe
    from codi_int.sae.site_sweep import SweepPlan

    # the grid sets size and k of each SAE; here they need only fit each other, for the recipe checks itself
    given = {
        "d_sae": max(options.features),
        "k": min(options.k),
        "seed": 0,
        "epochs": options.epochs,
        "products": options.products,
    }
    recipe = read_recipe(options.recipe, {}, given)
    return SweepPlan(
        sites=o.sites_of(options.layers, options.positions, options.component),
        grid=SweepGrid(options.k, options.features, options.seeds, recipe),
        training=load_problems(options.data, options.limit),
        training_name=options.data,
        held_out=load_problems(options.held_out, options.limit),
        held_out_name=options.held_out,
        out=options.out,
        captures=options.captures or options.out / "activations",
        memory_gib=options.memory_gib,
        splice=options.splice,
    )


def open_units(options: SweepOptions) -> "Bench":
    """Everything that a worker needs for SAEs of one site and size; see `codi_int.runs.workers`."""
    from codi_int.cli._console import begin_worker
    from codi_int.data.problems import problems_sha256
    from codi_int.model.loading import load_model
    from codi_int.runs.workers import Bench
    from codi_int.sae.site_sweep import sweep_runner

    begin_worker()
    plan, model = sweep_plan(options), load_model(options.model, device=options.device)
    data = {"data": problems_sha256(plan.training), "held_out": problems_sha256(plan.held_out)}
    return Bench(sweep_runner(model, plan), {"model": model.sha256, **data})


def _folders(plan: "SweepPlan") -> list[Path]:
    """Where the SAEs lie or will lie."""
    from codi_int.sae.grid import sae_folder

    return [sae_folder(plan.out, site, config) for site in plan.sites for config in plan.grid.configs()]


def _callbacks(bars: "_SweepProgress") -> "SweepCallbacks":
    from codi_int.sae.site_sweep import SweepCallbacks

    return SweepCallbacks(bars.stage, bars.epoch, bars.saved)


def _keep(plan: "SweepPlan") -> Kept:
    """Draw the figures of the table; the run has written the rest, row by row."""
    from codi_int.report.figures import sweep_figures
    from codi_int.sae.store import CONFIG_FILE, WEIGHTS_FILE
    from codi_int.sae.sweep import SETTINGS
    from codi_int.sae.sweep_table import FREQUENCIES, TABLE

    figures = [path.name for path in sweep_figures(plan.out, plan.out)]
    tables = (f"{TABLE}.json", f"{TABLE}.csv", FREQUENCIES)
    folders = [folder.relative_to(plan.out) for folder in _folders(plan)]
    saes = [str(folder / name) for folder in folders for name in (CONFIG_FILE, WEIGHTS_FILE)]
    return Kept(
        (*tables, *(name for name in figures if name.endswith(".png"))), files=(*tables, SETTINGS, *figures, *saes)
    )


def sweep_document(options: SweepOptions, plan: "SweepPlan", rows: "Sequence[SweepRow]") -> dict[str, object]:
    """The table with what a reader must know about it."""
    from codi_int.sae.site_sweep import sweep_notes
    from codi_int.sae.sweep import SCHEMA
    from codi_int.sae.sweep_table import table_rows

    return {
        "schema": SCHEMA,
        "model": options.model,
        "training_data": plan.training_name,
        "n_train": len(plan.training),
        "held_out": plan.held_out_name,
        "n_held_out": len(plan.held_out),
        "epochs": plan.grid.recipe.epochs,
        "rows": table_rows(rows, plan.out),
        "notes": list(sweep_notes(rows)),
    }


class _SweepProgress:
    """Turns a sweep's callbacks into (stage, done, total, words) for what shows them."""

    def __init__(self, n_epochs: int, each: int, elsewhere: bool, shown: "Shown") -> None:
        """
        Args:
            n_epochs: epochs of all SAEs that are to be trained, summed.
            each: epochs of one of them.
            elsewhere: whether workers train them.
            shown: bars or lines.
        """
        self._shown, self._each, self._elsewhere = shown, each, elsewhere
        self._n_epochs, self._epochs, self._saved = n_epochs, 0, 0

    def stage(self, stage: str, done: int, total: int) -> None:
        """Called by captures and splicing."""
        self._shown.show(stage, done, total, "")

    def epoch(self, site: "Site", finished: "GridEpoch") -> None:
        """Called by a stack in training."""
        # a stack trains many SAEs at once, so one call stands for one epoch of each of them
        self._epochs += len(finished.records)
        losses = sorted(record.mse for record in finished.records)
        # the spread over the stack: a single mean would hide the one that diverges
        mse = f"{losses[0]:.4g}" if len(losses) == 1 else f"{losses[0]:.4g} to {losses[-1]:.4g}"
        words = f"{site}, epoch {finished.records[0].epoch}, mse {mse}, {self._saved} SAEs done"
        self._shown.show(STAGE, self._epochs, self._n_epochs, words)

    def saved(self, row: "SweepRow") -> None:
        """One SAE is on the disk."""
        self._saved += 1
        if self._elsewhere:  # workers do not tell of their epochs
            self._epochs += self._each
            self._shown.show(STAGE, self._epochs, self._n_epochs, f"{self._saved} SAEs done")


@contextmanager
def _sweep_progress(n_epochs: int, each: int, elsewhere: bool) -> Iterator[_SweepProgress]:
    """Bars on a terminal, lines elsewhere."""
    with progress() as shown:
        yield _SweepProgress(n_epochs, each, elsewhere, shown)
