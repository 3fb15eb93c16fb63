"""From problems to a measured grid of SAEs at some sites of a model: memory, captures, training, splicing, tables."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codi_int.data.problems import problems_sha256
from codi_int.model.hooked import CodiModel
from codi_int.notes import give, grid_notes
from codi_int.progress import Progress, rename_stage
from codi_int.sae.activations import HELD_OUT, TRAIN, Activations, activations
from codi_int.sae.captures import SIDECAR, capture_bytes, open_capture
from codi_int.sae.config import Provenance
from codi_int.sae.grid import SweepGrid, SweepRow, SweepSite
from codi_int.sae.many import GridEpoch, bytes_needed, check_stackable
from codi_int.sae.memory import GIB, check_disk, check_memory, sae_bytes, site_bytes
from codi_int.sae.splice_sweep import splice_rows
from codi_int.sae.sweep import ShapeDone, ShapeTask, check_folder, run_sweep, shape_runner
from codi_int.sae.sweep_table import write_table
from codi_int.sae.training_start import check_batch
from codi_int.types import Problem, Site, SiteActivations
from codi_int.units import UnitRunner


@dataclass(frozen=True)
class SweepPlan:
    """A sweep, in full."""

    sites: tuple[Site, ...]
    """where"""
    grid: SweepGrid
    """which SAEs"""
    training: Sequence[Problem]
    """problems to train on"""
    training_name: str
    """their name"""
    held_out: Sequence[Problem]
    """problems to measure on"""
    held_out_name: str
    """their name"""
    out: Path
    """folder of the SAEs and tables"""
    captures: Path
    """folder of the captures `train` and `held-out`"""
    memory_gib: float = 4.0
    """bound on what one stack of SAEs may hold"""
    splice: bool = False
    """whether the model is run with every SAE in place"""


@dataclass(frozen=True)
class SweepCallbacks:
    """What a sweep calls to say how far it is."""

    stage: Progress
    """called with (stage, done, total) while activations are captured and SAEs spliced"""
    epoch: Callable[[Site, GridEpoch], None]
    """called after every epoch of every stack"""
    saved: Callable[[SweepRow], None]
    """called for every SAE as soon as it is on disk"""


def sweep_sites(
    model: CodiModel,
    plan: SweepPlan,
    callbacks: SweepCallbacks | None = None,
    runner: UnitRunner | None = None,
) -> tuple[SweepRow, ...]:
    """Run a plan; what lies in its folders already is not made again.

    Args:
        model: of which model.
        plan: what is trained, on what.
        callbacks: told how far it is.
        runner: has SAEs trained elsewhere, by workers whose tasks `sweep_runner` does; None for here.

    Returns:
        one row for each SAE; also written to `plan.out`, see `write_table`. Poor ones are warned of, see `sweep_notes`.

    Raises:
        SiteError: a site that the model does not have.
        ConfigError: fewer rows than a batch, more than disk or memory hold, or another sweep in `out`: all of it
            before anything runs.
        DataError: a capture of something else; NaN, inf or constant activations.
        SAEError: a half-written SAE in `out`.
    """
    check_plan(model, plan)
    known = _provenance(model, plan)
    check_folder(plan.out, plan.grid.recipe, known)
    seen, unseen = (_captured(model, plan, name, callbacks) for name in (TRAIN, HELD_OUT))
    rows = run_sweep(
        _sites(model, plan, seen, unseen),
        plan.grid,
        plan.out,
        known,
        memory_gib=plan.memory_gib,
        on_epoch=callbacks.epoch if callbacks else None,
        on_saved=callbacks.saved if callbacks else None,
        runner=runner,
    )
    if plan.splice:
        rows = splice_rows(model, rows, plan.held_out, callbacks.stage if callbacks else None)
        write_table(rows, plan.out)
    give(sweep_notes(rows))
    return rows


def sweep_runner(model: CodiModel, plan: SweepPlan) -> Callable[[ShapeTask], list[ShapeDone]]:
    """What does a `ShapeTask`, in a worker; DataError where the captures of the plan are not where it is."""
    seen, unseen = (
        open_capture(plan.captures / name, model, problems)
        for name, problems in ((TRAIN, plan.training), (HELD_OUT, plan.held_out))
    )

    def site_of(site: Site) -> SweepSite:
        (found,) = _sites(model, replace(plan, sites=(site,)), seen, unseen)
        return found

    return shape_runner(site_of, _provenance(model, plan), plan.memory_gib)


def _provenance(model: CodiModel, plan: SweepPlan) -> Provenance:
    return Provenance(
        model=model.name,
        model_sha256=model.sha256,
        training_data=plan.training_name,
        data_sha256=problems_sha256(plan.training),
    )


def sweep_notes(rows: Sequence[SweepRow]) -> tuple[str, ...]:
    """What is to be said of the SAEs of a sweep: one note for those that explain too little, one for what they cost."""
    spliced = [(row.spliced.accuracy_clean, row.spliced.accuracy_spliced) if row.spliced else None for row in rows]
    return grid_notes(
        [(row.point().name, row.held_out.explained_variance, pair) for row, pair in zip(rows, spliced, strict=True)]
    )


def check_plan(model: CodiModel, plan: SweepPlan) -> None:
    """SiteError or ConfigError for a plan that cannot run; says need and limit."""
    for site in plan.sites:
        model.check_site(site)
    configs = plan.grid.configs()
    for config in configs:
        check_stackable(config, model.d_model, plan.memory_gib)
    check_batch(len(plan.training), plan.grid.recipe.batch_size)
    n_rows, n_saes = len(plan.training) + len(plan.held_out), len(plan.sites) * len(configs)
    stack, words = _stack_need(model, plan)
    check_memory(site_bytes(n_rows, model.d_model) + stack, f"{n_rows:,} rows of one site and {words}", model.device)
    saes, rows = sae_bytes(plan.grid, plan.sites, model.d_model, plan.out), _capture_need(model, plan)
    where = f"{len(plan.sites)} sites" if len(plan.sites) > 1 else "one site"
    check_disk(plan.out, saes + rows, f"The {n_saes:,} SAEs of {where} and their activations")
    # the captures may lie on another disk than the SAEs; where both share one, the sum above is what counts
    check_disk(plan.captures, rows, "The activations")


def _stack_need(model: CodiModel, plan: SweepPlan) -> tuple[int, str]:
    """Memory of the SAEs that are trained together, and which these are: one on a CPU, a stack on a GPU."""
    needs = [bytes_needed(config, model.d_model) for config in plan.grid.configs()]
    if model.device.type == "cpu":
        return max(needs), "one SAE in training"
    return min(sum(needs), int(plan.memory_gib * GIB)), "one stack of SAEs"


def _capture_need(model: CodiModel, plan: SweepPlan) -> int:
    """Disk that the captures take which are not there yet."""
    n_layers, n_positions = len({site.layer for site in plan.sites}), len({site.position for site in plan.sites})
    return sum(
        capture_bytes(n_layers, n_positions, len(problems), model.d_model)
        for name, problems in ((TRAIN, plan.training), (HELD_OUT, plan.held_out))
        if not (plan.captures / name / SIDECAR).exists()
    )


def _captured(model: CodiModel, plan: SweepPlan, name: str, callbacks: SweepCallbacks | None) -> Activations:
    """One of the two captures: opened, gone on with, or made."""
    problems, data = (plan.training, plan.training_name) if name == TRAIN else (plan.held_out, plan.held_out_name)
    return activations(
        model,
        problems,
        plan.sites,
        data=data,
        folder=plan.captures / name,
        progress=rename_stage(callbacks.stage if callbacks else None, f"{name} thoughts"),
    )


def _sites(model: CodiModel, plan: SweepPlan, seen: Activations, unseen: Activations) -> Iterator[SweepSite]:
    """The activations of one site after the other, on the model's device."""

    def rows(where: Activations, site: Site) -> SiteActivations:
        found = where.at(site)
        return SiteActivations(site, found.problem_ids, found.values.to(model.device))

    for site in plan.sites:
        yield SweepSite(rows(seen, site), rows(unseen, site))
