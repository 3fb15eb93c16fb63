"""A grid of TopK SAEs over sites, k, d_sae and seeds: trained in stacks, measured, saved, and resumed after a kill."""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path

from codi_int.errors import ConfigError, SAEError
from codi_int.sae.compare import decoder_structure
from codi_int.sae.config import Provenance
from codi_int.sae.grid import SweepGrid, SweepRow, SweepSite, sae_folder
from codi_int.sae.many import GridEpoch, SAEJob, train_many
from codi_int.sae.metrics import measure
from codi_int.sae.recipe import SAETrainingConfig
from codi_int.sae.store import CONFIG_FILE, load_sae, save_sae
from codi_int.sae.sweep_table import write_table
from codi_int.sae.training import TrainedSAE
from codi_int.types import Site

__all__ = ["SweepGrid", "SweepRow", "SweepSite", "check_disk", "run_sweep", "sae_folder"]


def run_sweep(
    sites: Iterable[SweepSite],
    grid: SweepGrid,
    out: str | Path,
    provenance: Provenance | None = None,
    products: str = "float32",
    memory_gib: float = 4.0,
    on_epoch: Callable[[Site, GridEpoch], None] | None = None,
    on_saved: Callable[[SweepRow], None] | None = None,
) -> tuple[SweepRow, ...]:
    """Train the grid at every site; SAEs that are already in `out` are read, not trained again.

    Args:
        sites: may be a generator, so that the activations of one site at a time are in memory.
        provenance: model and data, noted with every SAE.
        products, memory_gib: see `train_many`.
        on_epoch: called with the site and news of each stack.
        on_saved: called for every SAE as soon as it is on disk.

    Returns:
        one row for each SAE; also written to `out`, see `write_table`.

    Raises:
        ConfigError: the SAEs do not fit on the disk or in the budget (before anything is trained), or `out` holds
            another sweep's SAE under the same name.
        SAEError: a half-written or broken SAE in `out`.
    """
    out = Path(out)
    rows: list[SweepRow] = []
    for site in sites:
        check_disk(out, grid, site.train.values.shape[1])
        rows += _sweep_site(site, grid, out, provenance or Provenance(), products, memory_gib, on_epoch, on_saved)
    write_table(rows, out)
    return tuple(rows)


def _sweep_site(
    site: SweepSite,
    grid: SweepGrid,
    out: Path,
    known: Provenance,
    products: str,
    memory_gib: float,
    on_epoch: Callable[[Site, GridEpoch], None] | None,
    on_saved: Callable[[SweepRow], None] | None,
) -> list[SweepRow]:
    """The grid at one site."""
    name = site.train.site
    configs = grid.configs()
    found = {config: _finished(site, config, out) for config in configs}
    missing = [config for config in configs if found[config] is None]
    jobs = [SAEJob(site.train.values, config, replace(known, site=name)) for config in missing]

    def save(number: int, trained: TrainedSAE) -> None:
        config, sae = missing[number], trained.sae
        row = _measured(site, config, sae_folder(out, name, config), trained)
        sae.annotate(measures={**row.held_out.summary(), "dead_share_train": row.dead_share_train})
        save_sae(sae, row.folder)
        found[config] = row
        if on_saved:
            on_saved(row)

    tell = None if on_epoch is None else lambda news: on_epoch(name, news)
    train_many(jobs, products, memory_gib, tell, save)
    return [row for row in found.values() if row is not None]


def _measured(site: SweepSite, config: SAETrainingConfig, folder: Path, trained: TrainedSAE) -> SweepRow:
    seen, held_out = measure(trained.sae, site.train.values), measure(trained.sae, site.held_out.values)
    structure = decoder_structure(trained.sae) if trained.sae.d_sae > 1 else None
    return SweepRow(
        site.train.site, config.k or 0, config.d_sae, config.seed, seen.dead_share, held_out, structure, folder
    )


def _finished(site: SweepSite, config: SAETrainingConfig, out: Path) -> SweepRow | None:
    """The row of an SAE that an earlier run has saved; None where there is none."""
    folder = sae_folder(out, site.train.site, config)
    if not folder.exists():
        return None
    if not (folder / CONFIG_FILE).exists():
        raise SAEError(f"{folder} is half-written: {CONFIG_FILE} is missing.", "Delete it and run the sweep again.")
    sae = load_sae(folder)
    if json.loads(json.dumps(asdict(config))) != dict(sae.config.provenance.recipe):
        raise ConfigError(f"{folder} was trained by another recipe.", "Give another folder, or delete this one.")
    return _measured(site, config, folder, TrainedSAE(sae, ()))


def check_disk(out: Path, grid: SweepGrid, d_in: int) -> None:
    """ConfigError where the SAEs of one site take more disk than is free; says need and limit."""
    need = sum(4 * (2 * d_in + 1) * config.d_sae for config in grid.configs())
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if need > free:
        raise ConfigError(
            f"The SAEs of one site take {need / 2**30:.2f} GiB; {free / 2**30:.2f} GiB are free at {there}.",
            "Free some disk, choose another folder, or train a smaller grid.",
        )
