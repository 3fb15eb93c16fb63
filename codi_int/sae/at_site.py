"""From problems to a saved SAE at one site of a model, or a transcoder between two: capture, train, measure, save."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codi_int.data.problems import problems_sha256
from codi_int.errors import ConfigError
from codi_int.model.hooked import CodiModel
from codi_int.notes import give, sae_notes
from codi_int.progress import Progress, rename_stage
from codi_int.sae.activations import HELD_OUT, TRAIN, Activations, activations
from codi_int.sae.config import Provenance
from codi_int.sae.metrics import SAEMetrics, measure
from codi_int.sae.recipe import SAETrainingConfig
from codi_int.sae.store import save_sae
from codi_int.sae.training import train_sae
from codi_int.sae.transcoding import RidgeComparison, Rows, compare_with_ridge, summary_of
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


@dataclass(frozen=True)
class TrainedAtSite:
    """What was measured of an SAE that was trained."""

    metrics: SAEMetrics
    """on the held-out problems"""
    ridge: RidgeComparison | None = None
    """of a transcoder: ridge regression beside it, on the same problems"""


def train_at_site(
    model: CodiModel,
    site: Site,
    data: TrainingData,
    config: SAETrainingConfig,
    folder: Path,
    target: Site | None = None,
    progress: Progress | None = None,
) -> TrainedAtSite:
    """Train an SAE at `site` and save it with its measures on held-out problems.

    Args:
        model: whose activations.
        site: where.
        data: of which problems.
        config: the recipe.
        folder: where the SAE is saved.
        target: of a transcoder: the site that it rebuilds.
        progress: called with (stage, done, total).

    Returns:
        the measures on the held-out problems; an SAE that explains too little is warned of, see `training_notes`.

    Raises:
        SiteError: a site that the model does not have.
        ConfigError: a target for another architecture than `transcoder`, or none for that; a target that is the site.
    """
    check_sites(config, site, target)

    def rows(problems: Sequence[Problem], name: str, stage: str) -> Activations:
        return activations(
            model,
            problems,
            [site] if target is None else [site, target],
            data=data.name if name == TRAIN else "",
            folder=data.captures / name if data.captures else None,
            progress=rename_stage(progress, stage),
        )

    seen = rows(data.training, TRAIN, "thoughts to train on")
    provenance = Provenance(
        model=model.name, model_sha256=model.sha256, training_data=data.name, data_sha256=problems_sha256(data.training)
    )
    on_epoch = None if progress is None else lambda record: progress("epochs", record.epoch, config.n_epochs)
    x, y = _at(model, seen, site), None if target is None else _at(model, seen, target)
    sae = train_sae(x, config, provenance, on_epoch, y).sae
    # dead on the rows it was trained on, as published; on few held-out rows rare features would look dead
    dead = measure(sae, x.values, None if y is None else y.values).dead_share
    later = rows(data.held_out, HELD_OUT, "held-out thoughts")
    x_held, y_held = _at(model, later, site), None if target is None else _at(model, later, target)
    found = measure(sae, x_held.values, None if y_held is None else y_held.values)
    ridge = None
    if y is not None and y_held is not None:
        train, held_out = Rows(x.values, y.values), Rows(x_held.values, y_held.values)
        ridge = compare_with_ridge(sae, train, held_out, data.held_out)
    sae.annotate(measures={**summary_of(found, ridge), "dead_share_train": dead})
    save_sae(sae, folder)
    trained = TrainedAtSite(found, ridge)
    give(training_notes(site, trained))
    return trained


def check_sites(config: SAETrainingConfig, site: Site, target: Site | None) -> None:
    """ConfigError unless a transcoder, and nothing else, has a target that is not its own site."""
    if config.architecture == "transcoder" and target in (None, site):
        raise ConfigError(
            f"A transcoder that reads {site} needs another site to rebuild.", "Give --to-position 4, or --to-layer 14."
        )
    if config.architecture != "transcoder" and target is not None:
        raise ConfigError(
            f"Architecture {config.architecture!r} rebuilds what it reads, not {target}.",
            "Give --architecture transcoder, or leave --to-layer, --to-position and --to-component out.",
        )


def training_notes(site: Site, found: TrainedAtSite) -> tuple[str, ...]:
    """What is to be said of an SAE once it is trained; what its reconstruction costs is measured elsewhere."""
    # a transcoder may explain little because the target holds little of what it reads: ridge regression tells
    return sae_notes(f"at {site}", found.metrics.explained_variance, None) if found.ridge is None else ()


def _at(model: CodiModel, found: Activations, site: Site) -> SiteActivations:
    """The rows of a site on the model's device."""
    rows = found.at(site)
    return SiteActivations(rows.site, rows.problem_ids, rows.values.to(model.device))
