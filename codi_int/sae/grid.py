"""The records of a sweep: which SAEs, the activations of a site, and one measured SAE."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from codi_int.errors import ConfigError
from codi_int.sae.compare import DecoderStructure, GridPoint
from codi_int.sae.metrics import SAEMetrics
from codi_int.sae.recipe import SAETrainingConfig
from codi_int.sae.spliced import SplicedMetrics
from codi_int.types import Site, SiteActivations


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
        # built once here, so that an impossible combination shows before anything is trained
        self.configs()

    def configs(self) -> tuple[SAETrainingConfig, ...]:
        """One recipe for each SAE at a site."""
        return tuple(
            replace(self.recipe, d_sae=d_sae, k=k, seed=seed)
            for d_sae in self.d_saes
            for k in self.ks
            for seed in self.seeds
        )


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
    structure: DecoderStructure | None
    """how much the decoder rows resemble each other; None with one feature"""
    folder: Path
    """where it is saved"""
    spliced: SplicedMetrics | None = None
    """what it costs the model, where that was measured"""

    def point(self) -> GridPoint:
        """What the Pareto front looks at; the dead share is that on training rows, as published."""
        name = f"{self.site} d={self.d_sae} K={self.k}"
        return GridPoint(
            name=name,
            k=self.k,
            d_sae=self.d_sae,
            explained_variance=self.held_out.explained_variance,
            dead_share=self.dead_share_train,
        )


def sae_folder(out: Path, site: Site, config: SAETrainingConfig) -> Path:
    """Where one SAE of a sweep lies."""
    return out / str(site) / f"d{config.d_sae}_k{config.k}_s{config.seed}"
