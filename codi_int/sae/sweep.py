"""A grid of TopK SAEs over sites, k, d_sae and seeds: trained in stacks, measured, saved, and resumed after a kill."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from codi_int.errors import ConfigError, OutputError, SAEError
from codi_int.files import read_json_object, write_json
from codi_int.records import differing_key
from codi_int.sae.base import SAE
from codi_int.sae.compare import decoder_structure
from codi_int.sae.config import Provenance
from codi_int.sae.grid import SweepGrid, SweepRow, SweepSite, sae_folder
from codi_int.sae.many import GridEpoch, SAEJob, train_many
from codi_int.sae.memory import check_disk, sae_bytes
from codi_int.sae.metrics import measure
from codi_int.sae.recipe import SAETrainingConfig
from codi_int.sae.store import CONFIG_FILE, load_sae, save_sae
from codi_int.sae.sweep_table import write_table
from codi_int.sae.training_start import TrainedSAE
from codi_int.types import Site
from codi_int.units import Unit, UnitRunner

__all__ = ["SweepGrid", "SweepRow", "SweepSite", "run_sweep", "sae_folder"]

SETTINGS = "sweep.json"
SCHEMA = "codi-int/sweep@1"


def run_sweep(
    sites: Iterable[SweepSite],
    grid: SweepGrid,
    out: str | Path,
    provenance: Provenance | None = None,
    memory_gib: float = 4.0,
    on_epoch: Callable[[Site, GridEpoch], None] | None = None,
    on_saved: Callable[[SweepRow], None] | None = None,
    runner: UnitRunner | None = None,
) -> tuple[SweepRow, ...]:
    """Train the grid at every site; SAEs that are already in `out` are read, not trained again.

    Args:
        sites: may be a generator, so that the activations of one site at a time are in memory. The disk is then
            looked at site by site, else for all at the start.
        provenance: model and data, noted with every SAE.
        memory_gib: see `train_many`.
        on_epoch: called with the site and the epoch of each stack.
        on_saved: called for every SAE as soon as it is on disk.
        runner: has SAEs trained elsewhere, by workers whose tasks `shape_runner` does; None for here.

    Returns:
        one row for each SAE; also written to `out`, see `write_table`.

    Raises:
        ConfigError: the SAEs do not fit on the disk or in the budget (before anything is trained), or `out` holds
            another sweep.
        SAEError: a half-written or broken SAE in `out`.
    """
    out, known = Path(out), provenance or Provenance()
    # a list is checked whole before anything is trained; a generator only site by site, as it cannot be looked through
    if isinstance(sites, Sequence) and sites:
        check_sae_disk(out, grid, [site.train.site for site in sites], sites[0].train.values.shape[1])
    claim_folder(out, grid.recipe, known)
    rows: list[SweepRow] = []
    if runner is not None:
        rows = _spread(sites, grid, out, runner, on_saved)
        write_table(rows, out)
        return tuple(rows)
    for site in sites:
        check_sae_disk(out, grid, [site.train.site], site.train.values.shape[1])
        rows += _sweep_site(
            site,
            grid,
            out=out,
            known=known,
            memory_gib=memory_gib,
            on_epoch=on_epoch,
            on_saved=on_saved,
        )
    write_table(rows, out)
    return tuple(rows)


def _sweep_site(
    site: SweepSite,
    grid: SweepGrid,
    out: Path,
    known: Provenance,
    memory_gib: float,
    on_epoch: Callable[[Site, GridEpoch], None] | None,
    on_saved: Callable[[SweepRow], None] | None,
) -> list[SweepRow]:
    """The grid at one site."""
    name = site.train.site
    configs = grid.configs()
    # a row or None for every config, in the grid's order; filled in as SAEs are saved, so the order survives a resume
    found = {config: _finished(site, config, out) for config in configs}
    missing = [config for config in configs if found[config] is None]

    def save(shape: ShapeDone) -> None:
        found[shape.config] = _saved(shape, out, on_saved)

    callback = None if on_epoch is None else lambda epoch: on_epoch(name, epoch)
    _train(site, missing, known, memory_gib, on_epoch=callback, take=save)
    return [row for row in found.values() if row is not None]


@dataclass(frozen=True)
class ShapeTask:
    """SAEs of one site and one size: what is trained as one stack on a GPU, so it is one stack wherever it runs."""

    site: Site
    """where"""
    configs: tuple[SAETrainingConfig, ...]
    """which"""


@dataclass(frozen=True)
class ShapeDone:
    """An SAE that was trained and measured, and is not yet on disk."""

    config: SAETrainingConfig
    """its recipe"""
    sae: SAE
    """with its weights"""
    row: SweepRow
    """what was measured; its folder is still to be given"""


def shape_runner(
    site_of: Callable[[Site], SweepSite], provenance: Provenance, memory_gib: float = 4.0
) -> Callable[[ShapeTask], list[ShapeDone]]:
    """What does a `ShapeTask`, in a worker that can read the captures.

    Args:
        site_of: the activations of a site.
        provenance: see `run_sweep`.
        memory_gib: see `train_many`.
    """

    def do(task: ShapeTask) -> list[ShapeDone]:
        done: list[ShapeDone] = []
        _train(site_of(task.site), task.configs, provenance, memory_gib, on_epoch=None, take=done.append)
        return done

    return do


def _spread(
    sites: Iterable[SweepSite],
    grid: SweepGrid,
    out: Path,
    runner: UnitRunner,
    on_saved: Callable[[SweepRow], None] | None,
) -> list[SweepRow]:
    """The grid at all sites on workers; only this process writes."""
    configs, units = grid.configs(), []
    found: dict[tuple[Site, SAETrainingConfig], SweepRow | None] = {}
    for site in sites:
        name = site.train.site
        check_sae_disk(out, grid, [name], site.train.values.shape[1])
        found |= {(name, config): _finished(site, config, out) for config in configs}
        for d_sae in dict.fromkeys(config.d_sae for config in configs):
            missing = tuple(c for c in configs if c.d_sae == d_sae and found[name, c] is None)
            if missing:
                units.append(Unit(f"{name} d_sae {d_sae}", ShapeTask(name, missing)))

    def keep(unit: Unit, done: list[ShapeDone]) -> None:
        for shape in done:
            found[unit.task.site, shape.config] = _saved(shape, out, on_saved)

    runner(units, keep)
    return [row for row in found.values() if row is not None]


def _train(
    site: SweepSite,
    configs: Sequence[SAETrainingConfig],
    known: Provenance,
    memory_gib: float,
    on_epoch: Callable[[GridEpoch], None] | None,
    take: Callable[[ShapeDone], None],
) -> None:
    """Train some SAEs of a site and measure each as soon as it is trained."""
    jobs = [SAEJob(site.train.values, config, replace(known, site=site.train.site)) for config in configs]

    def trained(number: int, one: TrainedSAE) -> None:
        take(ShapeDone(configs[number], one.sae, _measured(site, configs[number], Path(), one)))

    train_many(jobs, memory_gib=memory_gib, on_epoch=on_epoch, on_trained=trained)


def _saved(shape: ShapeDone, out: Path, on_saved: Callable[[SweepRow], None] | None) -> SweepRow:
    row = replace(shape.row, folder=sae_folder(out, shape.row.site, shape.config))
    # measured before it is saved, so that its own config says how good it is
    shape.sae.annotate(measures={**row.held_out.summary(), "dead_share_train": row.dead_share_train})
    save_sae(shape.sae, row.folder)
    if on_saved:
        on_saved(row)
    return row


def _measured(site: SweepSite, config: SAETrainingConfig, folder: Path, trained: TrainedSAE) -> SweepRow:
    seen, held_out = measure(trained.sae, site.train.values), measure(trained.sae, site.held_out.values)
    structure = decoder_structure(trained.sae) if trained.sae.d_sae > 1 else None
    return SweepRow(
        site=site.train.site,
        k=config.k or 0,
        d_sae=config.d_sae,
        seed=config.seed,
        dead_share_train=seen.dead_share,
        held_out=held_out,
        structure=structure,
        folder=folder,
    )


def _finished(site: SweepSite, config: SAETrainingConfig, out: Path) -> SweepRow | None:
    """The row of an SAE that an earlier run has saved; None where there is none."""
    folder = sae_folder(out, site.train.site, config)
    if not folder.exists():
        return None
    if not (folder / CONFIG_FILE).exists():
        raise SAEError(f"{folder} is half-written: {CONFIG_FILE} is missing.", "Delete it and run the sweep again.")
    sae = load_sae(folder, device=str(site.train.values.device))
    # through JSON, as the saved recipe went: tuples come back as lists
    if json.loads(json.dumps(asdict(config))) != dict(sae.config.provenance.recipe):
        raise ConfigError(f"{folder} was trained by another recipe.", "Give another folder, or delete this one.")
    return _measured(site, config, folder, TrainedSAE(sae, ()))


def check_sae_disk(out: Path, grid: SweepGrid, sites: Sequence[Site], d_in: int) -> None:
    """ConfigError where the SAEs that are still missing take more disk than is free; says need and limit."""
    n_saes, where = len(sites) * len(grid.configs()), f"{len(sites)} sites" if len(sites) > 1 else "one site"
    check_disk(out, sae_bytes(grid, sites, d_in, out), f"The {n_saes} SAEs of {where}")


def claim_folder(out: Path, recipe: SAETrainingConfig, known: Provenance) -> None:
    """Note in `out` what its sweep is; errors as for `check_folder`."""
    if not check_folder(out, recipe, known):
        write_json(out / SETTINGS, sweep_settings(recipe, known), indent=2, allow_nan=True, durable=True)


def check_folder(out: Path, recipe: SAETrainingConfig, known: Provenance) -> bool:
    """Whether `out` holds this sweep already.

    Other sites, k, d_sae and seeds may join a sweep later; another recipe, model or data may not.

    Raises:
        ConfigError: `out` holds another sweep.
        OutputError: its note of the sweep cannot be read.
    """
    own = sweep_settings(recipe, known)
    if not (out / SETTINGS).exists():
        return False
    remedy = "Delete it, or give another folder."
    found = read_json_object(out / SETTINGS, error=OutputError, remedy=remedy, finite=False)
    if found != own:
        name = differing_key(own, found)
        raise ConfigError(
            f"{out} holds a sweep with {name} {_short(found.get(name))}, not {_short(own.get(name))}.",
            "Give another folder, or the settings of that sweep.",
        )
    return True


def sweep_settings(recipe: SAETrainingConfig, known: Provenance) -> dict[str, object]:
    """What all SAEs of a sweep share."""
    # d_sae, k and seed vary within a sweep and may be added to; they are in the folders' names
    shared = {key: value for key, value in asdict(recipe).items() if key not in ("d_sae", "k", "seed")}
    names = ("model", "model_sha256", "training_data", "data_sha256")
    settings = {"schema": SCHEMA, **{name: getattr(known, name) for name in names}, **shared}
    return dict(json.loads(json.dumps(settings)))


def _short(value: object) -> str:
    """A value in a message; hashes by their beginning."""
    text = str(value)
    return text[:12] if len(text) == 64 else text
