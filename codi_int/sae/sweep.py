"""A grid of TopK SAEs over sites, k, d_sae and seeds: trained in stacks, measured, saved, and resumed after a kill."""

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from codi_int.errors import ConfigError, SAEError
from codi_int.sae.compare import GridPoint
from codi_int.sae.config import Provenance
from codi_int.sae.many import GridEpoch, SAEJob, train_many
from codi_int.sae.metrics import SAEMetrics, measure
from codi_int.sae.recipe import SAETrainingConfig
from codi_int.sae.store import CONFIG_FILE, load_sae, save_sae
from codi_int.sae.training import TrainedSAE
from codi_int.types import Site, SiteActivations

TABLE = "grid"


@dataclass(frozen=True)
class SweepGrid:
    """Which SAEs: every combination, with one recipe for the rest."""

    ks: tuple[int, ...]
    """features kept"""
    d_saes: tuple[int, ...]
    """sizes of the dictionary"""
    seeds: tuple[int, ...] = (0,)
    """seeds"""
    recipe: SAETrainingConfig = field(default_factory=lambda: SAETrainingConfig(d_sae=1, k=1))
    """everything else; its own d_sae, k and seed are not used"""

    def __post_init__(self) -> None:
        for name in ("ks", "d_saes", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ConfigError(f"{name} {values} must be distinct and not empty.", f"Give such as {name}=(5, 10).")
        self.configs()

    def configs(self) -> tuple[SAETrainingConfig, ...]:
        """One recipe for each SAE at a site."""
        return tuple(
            replace(self.recipe, d_sae=d_sae, k=k, seed=seed)
            for d_sae in self.d_saes for k in self.ks for seed in self.seeds
        )  # fmt: skip


@dataclass(frozen=True)
class SweepSite:
    """Activations of one site."""

    train: SiteActivations
    """rows to train on"""
    held_out: SiteActivations
    """rows to measure on"""


@dataclass(frozen=True)
class SweepRow:
    """One SAE of the grid, measured."""

    site: Site
    """where"""
    k: int
    """features kept"""
    d_sae: int
    """features"""
    seed: int
    """seed"""
    dead_share_train: float
    """share of features that fire on no training row"""
    held_out: SAEMetrics
    """everything else, on held-out rows"""
    folder: Path
    """where it is saved"""

    def point(self) -> GridPoint:
        """What the Pareto front looks at; the dead share is that on training rows, as published."""
        name = f"{self.site} d={self.d_sae} K={self.k}"
        return GridPoint(name, self.k, self.d_sae, self.held_out.explained_variance, self.dead_share_train)


def sae_folder(out: Path, site: Site, config: SAETrainingConfig) -> Path:
    """Where one SAE of a sweep lies."""
    return out / str(site) / f"d{config.d_sae}_k{config.k}_s{config.seed}"


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
        one row for each SAE; also written to `out` as `grid.csv` and `grid.json`.

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
    return SweepRow(site.train.site, config.k or 0, config.d_sae, config.seed, seen.dead_share, held_out, folder)


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


def write_table(rows: Sequence[SweepRow], out: Path) -> None:
    """All rows as `grid.csv` and `grid.json`."""
    table = [
        {
            "site": str(row.site),
            "d_sae": row.d_sae,
            "k": row.k,
            "seed": row.seed,
            "dead_share_train": row.dead_share_train,
            **row.held_out.summary(),
            "folder": str(row.folder.relative_to(out)),
        }
        for row in rows
    ]
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{TABLE}.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    with (out / f"{TABLE}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(table[0]) if table else ["site"])
        writer.writeheader()
        writer.writerows(table)
