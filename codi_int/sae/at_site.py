"""From problems to a saved SAE at one site of a model: capture, train, measure, save."""

from collections.abc import Callable, Sequence
from pathlib import Path

from codi_int.data.problems import problems_sha256
from codi_int.model.hooked import CodiModel
from codi_int.sae.config import Provenance
from codi_int.sae.metrics import SAEMetrics, measure
from codi_int.sae.recipe import SAETrainingConfig
from codi_int.sae.store import save_sae
from codi_int.sae.training import train_sae
from codi_int.types import Problem, Site, SiteActivations


def train_at_site(
    model: CodiModel,
    site: Site,
    training: Sequence[Problem],
    held_out: Sequence[Problem],
    config: SAETrainingConfig,
    folder: Path,
    data_name: str = "",
    progress: Callable[[str, int, int], None] | None = None,
) -> SAEMetrics:
    """Train an SAE on the activations of `training` at `site` and save it with its measures on `held_out`.

    Args:
        progress: called with (stage, done, total).

    Returns:
        the measures on `held_out`.
    """
    rows = capture(model, site, training, "thoughts to train on", progress)
    provenance = Provenance(
        model=model.name, model_sha256=model.sha256, training_data=data_name, data_sha256=problems_sha256(training)
    )
    on_epoch = None if progress is None else lambda record: progress("epochs", record.epoch, config.epochs)
    sae = train_sae(rows, config, provenance, on_epoch).sae
    found = measure(sae, capture(model, site, held_out, "held-out thoughts", progress).values)
    sae.annotate(measures=found.summary())
    save_sae(sae, folder)
    return found


def capture(
    model: CodiModel,
    site: Site,
    problems: Sequence[Problem],
    stage: str,
    progress: Callable[[str, int, int], None] | None = None,
) -> SiteActivations:
    """The activations of some problems at one site."""
    done = 0

    def tell(n: int) -> None:
        nonlocal done
        done += n
        if progress:
            progress(stage, done, len(problems))

    return model.think(problems, capture=[site], progress=tell).at(site)
