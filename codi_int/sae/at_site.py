"""From problems to a saved SAE at one site of a model: capture, train, measure, save."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codi_int.data.problems import problems_sha256
from codi_int.model.hooked import CodiModel
from codi_int.notes import give, sae_notes
from codi_int.progress import Progress, rename_stage
from codi_int.sae.activations import HELD_OUT, TRAIN, activations
from codi_int.sae.config import Provenance
from codi_int.sae.metrics import SAEMetrics, measure
from codi_int.sae.recipe import SAETrainingConfig
from codi_int.sae.store import save_sae
from codi_int.sae.training import train_sae
from codi_int.types import Problem, Site, SiteActivations


@dataclass(frozen=True)
class TrainingData:
    """What an SAE is trained and measured on."""

    training: Sequence[Problem]
    """problems to train on"""
    held_out: Sequence[Problem]
    """problems to measure on"""
    name: str = ""
    """of the former, for the SAE's provenance"""
    captures: Path | None = None
    """a folder whose captures `train` and `held-out` are read, and made where missing; None keeps them in memory"""


def train_at_site(
    model: CodiModel,
    site: Site,
    data: TrainingData,
    config: SAETrainingConfig,
    folder: Path,
    progress: Progress | None = None,
) -> SAEMetrics:
    """Train an SAE at `site` and save it with its measures on held-out problems.

    Args:
        model: whose activations.
        site: where.
        data: of which problems.
        config: the recipe.
        folder: where the SAE is saved.
        progress: called with (stage, done, total).

    Returns:
        the measures on the held-out problems; an SAE that explains too little is warned of, see `training_notes`.
    """

    def rows(problems: Sequence[Problem], name: str, stage: str) -> SiteActivations:
        found = activations(
            model,
            problems,
            [site],
            data=data.name if name == TRAIN else "",
            folder=data.captures / name if data.captures else None,
            progress=rename_stage(progress, stage),
        )
        return found.at(site)

    seen = rows(data.training, TRAIN, "thoughts to train on")
    provenance = Provenance(
        model=model.name, model_sha256=model.sha256, training_data=data.name, data_sha256=problems_sha256(data.training)
    )
    on_epoch = None if progress is None else lambda record: progress("epochs", record.epoch, config.n_epochs)
    sae = train_sae(_on(model, seen), config, provenance, on_epoch).sae
    # dead on the rows it was trained on, as published; on few held-out rows rare features would look dead
    dead = measure(sae, seen.values.to(model.device)).dead_share
    found = measure(sae, _on(model, rows(data.held_out, HELD_OUT, "held-out thoughts")).values)
    sae.annotate(measures={**found.summary(), "dead_share_train": dead})
    save_sae(sae, folder)
    give(training_notes(site, found))
    return found


def training_notes(site: Site, found: SAEMetrics) -> tuple[str, ...]:
    """What is to be said of an SAE once it is trained; what its reconstruction costs is measured elsewhere."""
    return sae_notes(f"at {site}", found.explained_variance, None)


def _on(model: CodiModel, rows: SiteActivations) -> SiteActivations:
    """The same rows on the model's device."""
    return SiteActivations(rows.site, rows.problem_ids, rows.values.to(model.device))
