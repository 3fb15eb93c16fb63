"""Other dictionaries for an SAE's place: the same recipe with another seed, a frozen decoder, or random directions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from codi_int.data.problems import load_problems, problems_sha256
from codi_int.errors import CodiError, SAEError
from codi_int.model.hooked import CodiModel
from codi_int.progress import Progress, rename_stage
from codi_int.sae.activations import activations
from codi_int.sae.base import SAE, check_fits
from codi_int.sae.config import Provenance
from codi_int.sae.recipe import SAETrainingConfig, read_noted, whole_recipe
from codi_int.sae.store import CONFIG_FILE, load_sae, save_sae
from codi_int.sae.training import train_sae
from codi_int.types import Site

FROZEN, RANDOM = "frozen", "random"
TRAIN_AGAIN = "Train one by the same recipe: codi-int sae train --seed."


@dataclass(frozen=True)
class Twin:
    """A dictionary that is wanted beside another one."""

    name: str
    """what pages call it, such as `seed 1`; the name of its folder, with a dash for the blank"""
    kind: str
    """`seed`, `frozen`, `random`, or `given` for an SAE that is there already"""
    seed: int | None = None
    """of its training; None takes the other one's"""
    given: str | None = None
    """name or folder, for `given` and for seeds that are taken"""

    @property
    def folder(self) -> str:
        """Where it is kept."""
        return self.name.replace(" ", "-").replace("/", "-")


def noted_recipe(sae: SAE) -> SAETrainingConfig:
    """The recipe by which an SAE was trained; SAEError where it is not noted."""
    try:
        return read_noted(sae.config.provenance.recipe)
    except CodiError as error:
        raise SAEError(
            f"No recipe is noted with SAE {sae.name}, so no other dictionary can be trained like it.",
            "Give an SAE that codi-int sae train has made (--sae), or name trained dictionaries.",
        ) from error


def get_twins(
    model: CodiModel,
    sae: SAE,
    site: Site,
    wanted: Sequence[Twin],
    folder: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, SAE]:
    """Every dictionary that is wanted, loaded, taken from the folder, or trained on what the SAE was trained on.

    Args:
        model: whose activations.
        sae: the dictionary that they are to be beside.
        site: its site.
        wanted: which.
        folder: where trained ones are kept, each in a folder of its own; one that lies there is not trained again.
        progress: called with (stage, done, total).

    Raises:
        SAEError: for an SAE without a recipe, or whose training data are not at hand; for given ones that do not fit
            the model, or that are to be seeds and were trained otherwise.
    """
    found: dict[str, SAE] = {}
    rows: Callable[[], Tensor] | None = None
    # cheapest errors first: what is given is looked at before anything is trained
    for one in wanted:
        if one.given is not None:
            found[one.name] = load_sae(one.given, device=str(model.device))
            check_fits(found[one.name], model, site)
            if one.kind == "seed":
                check_alike(sae, found[one.name], one.given)
    for one in wanted:
        if one.given is not None:
            continue
        place = None if folder is None else folder / one.folder
        config = _config(sae, one)
        if place is not None and (place / CONFIG_FILE).is_file():
            kept = load_sae(place, device=str(model.device))
            if _same_training(kept, sae, config):
                kept.asked_as = one.name  # as it is called when it has just been trained
                found[one.name] = kept
                continue
        rows = rows or _training_rows(model, sae, site, progress)
        found[one.name] = _train(sae, one, config, rows(), progress)
        if place is not None:
            save_sae(found[one.name], place)
    return {one.name: found[one.name] for one in wanted}


def check_alike(sae: SAE, other: SAE, name: str) -> None:
    """SAEError unless two dictionaries differ in their seed alone: data, recipe, size and k are one."""
    own, theirs = sae.config.provenance, other.config.provenance
    pairs: dict[str, tuple[object, object]] = {
        "d_sae": (sae.d_sae, other.d_sae),
        "k": (sae.config.k, other.config.k),
        "rule": (sae.config.rule, other.config.rule),
        "architecture": (sae.config.architecture, other.config.architecture),
        "training data": (_short(own.data_sha256), _short(theirs.data_sha256)),
    }
    for what, (mine, its) in pairs.items():
        if mine != its:
            raise SAEError(f"{name} is no other seed of {sae.name}: its {what} is {its}, not {mine}.", TRAIN_AGAIN)
    recipes = [whole_recipe(one.recipe) for one in (own, theirs)]
    differing = [key for key in {**recipes[0], **recipes[1]} if recipes[0].get(key) != recipes[1].get(key)]
    if other_settings := sorted(set(differing) - {"seed"}):
        key = other_settings[0]
        raise SAEError(
            f"{name} is no other seed of {sae.name}: its recipe has {key} {recipes[1].get(key)}, "
            f"not {recipes[0].get(key)}.",
            TRAIN_AGAIN,
        )
    if sae.sha256 == other.sha256:
        raise SAEError(f"{name} is {sae.name} itself.", "Name a dictionary that was trained with another seed.")


def match_norm(sae: SAE, like: SAE, x: Tensor) -> None:
    """Scale the decoder rows of `sae`, in place: what a firing feature adds becomes as long as in `like`, on mean."""
    own, wanted = (_mean_contribution(one, x) for one in (sae, like))
    with torch.no_grad():
        sae.W_dec.mul_(wanted / max(own, 1e-12))


def _short(sha256: str | None) -> str | None:
    return None if sha256 is None else sha256[:12]


def _config(sae: SAE, one: Twin) -> SAETrainingConfig:
    own = noted_recipe(sae)
    seed = own.seed if one.seed is None else one.seed
    freeze = {FROZEN: "decoder", RANDOM: "all"}.get(one.kind, own.freeze)
    try:
        return replace(own, seed=seed, freeze=freeze)
    except CodiError as error:
        raise SAEError(f"There is no {one.name} dictionary like {sae.name}: {error.rule}", error.remedy) from error


def _same_training(kept: SAE, sae: SAE, config: SAETrainingConfig) -> bool:
    """Whether a kept dictionary is what training would give now."""
    known, own = kept.config.provenance, sae.config.provenance
    recipe: Mapping[str, object] = known.recipe
    same_data = (known.data_sha256, known.model_sha256) == (own.data_sha256, own.model_sha256)
    return bool(recipe) and read_noted(recipe) == config and same_data


def _training_rows(model: CodiModel, sae: SAE, site: Site, progress: Progress | None) -> Callable[[], Tensor]:
    """The rows that the SAE was trained on, thought about once."""
    known = sae.config.provenance
    name = known.training_data
    if not name:
        raise SAEError(
            f"SAE {sae.name} does not say what it was trained on.", "Give one that codi-int sae train has made (--sae)."
        )
    problems = load_problems(name)
    if known.data_sha256 not in (None, problems_sha256(problems)):
        raise SAEError(
            f"{name} is not what SAE {sae.name} was trained on: its hash is {problems_sha256(problems)[:12]}, "
            f"not {_short(known.data_sha256)}.",
            "Train an SAE on what there is now: codi-int sae train, and give it (--sae).",
        )
    stage = rename_stage(progress, "thoughts to train on")
    values = activations(model, problems, [site], data=name, progress=stage).at(site).values.to(model.device)
    return lambda: values


def _train(sae: SAE, one: Twin, config: SAETrainingConfig, x: Tensor, progress: Progress | None) -> SAE:
    own = sae.config.provenance
    known = Provenance(
        site=own.site,
        model=own.model,
        model_sha256=own.model_sha256,
        training_data=own.training_data,
        data_sha256=own.data_sha256,
        seed=config.seed,
        recipe=asdict(config),
    )
    stage = f"train {one.name}"
    on_epoch = None if progress is None else lambda record: progress(stage, record.epoch, config.n_epochs)
    trained = train_sae(x, config, known, on_epoch).sae
    if one.kind == RANDOM:
        match_norm(trained, sae, x)
    trained.asked_as = one.name
    return trained


@torch.no_grad()
def _mean_contribution(sae: SAE, x: Tensor) -> float:
    latents = sae.encode(x)
    lengths = latents.values.abs() * sae.W_dec.norm(dim=1)[latents.indices]
    fires = latents.values != 0
    return float(lengths[fires].double().mean()) if bool(fires.any()) else 0.0
