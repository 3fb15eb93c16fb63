"""What is at hand: models, SAEs and data, with sizes, where they lie and how good they are. Loads none of it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codi_int import catalog
from codi_int.errors import ConfigError
from codi_int.model.presets import PRESETS

CARD = "card.json"
"""beside a model's weights: how often it is right, as `codi-int eval` measured it"""


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be loaded without a network."""

    name: str
    """what `--model` takes"""
    folder: str
    """where it lies"""
    bytes: int
    """on the disk, its SAEs left out"""
    n_layers: int
    """blocks; 0 where its files do not say"""
    d_model: int
    """width of the residual; 0 where its files do not say"""
    n_thoughts: int
    """continuous thoughts"""
    accuracy: float | None
    """share of right answers; None where nobody measured"""
    measured_on: str | None
    """the problems that this is a share of"""
    n_problems: int | None
    """how many these are"""


@dataclass(frozen=True)
class SAEEntry:
    """An SAE on the disk."""

    name: str
    """what `--sae` takes"""
    folder: str
    """where it lies"""
    bytes: int
    """on the disk"""
    site: str | None
    """where it was trained; None where it does not say"""
    model: str | None
    """on which model"""
    architecture: str | None
    """in SAELens' words"""
    d_sae: int | None
    """features"""
    k: int | None
    """features kept per row"""
    explained_variance: float | None
    """on the held-out rows of its training; None where nobody measured"""
    dead_share: float | None
    """share of features that fire on none of these rows"""


@dataclass(frozen=True)
class DataEntry:
    """Problems that have a name."""

    name: str
    """what `--data` takes"""
    source: str
    """`generated`, or the repository on the hub"""
    n_problems: int | None
    """how many; None where only the data set itself knows, or where it has no end"""
    at_hand: bool
    """whether it can be had without a network"""


@dataclass(frozen=True)
class Inventory:
    """All of it."""

    models: tuple[ModelEntry, ...]
    """shipped, downloaded, and in the folders that were named"""
    saes: tuple[SAEEntry, ...]
    """shipped, those of these models, and in the folders that were named"""
    data: tuple[DataEntry, ...]
    """every name that `--data` takes"""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": "codi-int/list@1", **asdict(self)}


def take_inventory(models: Sequence[str] = (), saes: Sequence[str] = ()) -> Inventory:
    """What comes with the package, what the hub's cache holds, and what lies in some folders.

    Args:
        models: folders of models.
        saes: SAEs, or folders with a folder for each site.

    Raises:
        ConfigError: a folder that does not exist or holds nothing of the kind.
    """
    named = [_model(name, catalog.model_folder(name)) for name in dict.fromkeys((*catalog.shipped_models(), *models))]
    cached = [_model(name, folder) for name, folder in _downloaded() if name not in models]
    found = dict.fromkeys(catalog.shipped_saes())
    for name in models:
        found |= dict.fromkeys(map(str, catalog.saes_below(Path(name).expanduser() / "sae")))
    for name in saes:
        found |= dict.fromkeys(_saes_in(name))
    return Inventory((*named, *cached), tuple(map(_sae, found)), tuple(_data()))


def _model(name: str, folder: Path) -> ModelEntry:
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        raise ConfigError(f"--model {name} holds no weights.", "Give the folder of a model: its weights, config.json.")
    shape, card = catalog.shape_of_model(str(folder)), catalog.read_quietly(folder / CARD)
    return ModelEntry(
        name=name,
        folder=str(folder),
        bytes=sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        **asdict(shape),
        accuracy=_number(card, "accuracy"),
        measured_on=card.get("data"),
        n_problems=card.get("n"),
    )


def _saes_in(name: str) -> list[str]:
    """The SAEs that a name stands for."""
    if catalog.is_sae(name):
        return [name]
    inside = [str(path) for path in catalog.saes_below(Path(name).expanduser())]
    if not inside:
        raise ConfigError(f"--sae {name} holds no SAE.", "Give the folder of an SAE, or one with a folder for each.")
    return inside


def _sae(name: str) -> SAEEntry:
    shipped = name in catalog.shipped_saes()
    folder = catalog.assets_folder(name) if shipped else Path(name).expanduser()
    about = catalog.about_sae(name if shipped else folder)
    noted = about.get("metadata") if isinstance(about.get("metadata"), dict) else {}
    assert isinstance(noted, dict)
    measures = noted.get("measures") if isinstance(noted.get("measures"), dict) else {}
    assert isinstance(measures, dict)
    return SAEEntry(
        name=name,
        folder=str(folder),
        # of a folder with the SAEs of many sites, its share
        bytes=sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) // _n_saes_in(folder),
        site=catalog.site_noted(name if shipped else folder),
        model=noted.get("model_name"),
        architecture=about.get("architecture"),
        d_sae=about.get("d_sae"),
        k=about.get("k"),
        explained_variance=_number(measures, "explained_variance"),
        dead_share=_number(measures, "dead_share"),
    )


def _n_saes_in(folder: Path) -> int:
    return sum(catalog.assets_folder(name) == folder for name in catalog.shipped_saes()) or 1


def _number(values: Mapping[str, Any], name: str) -> float | None:
    """A number that is one: JSON of ours may hold NaN where nothing could be measured."""
    value = values.get(name)
    return float(value) if isinstance(value, int | float) and value == value else None


def _data() -> Iterator[DataEntry]:
    sizes = {**catalog.STORY_SPLITS, **catalog.SHIFTED_SPLITS, catalog.CONFIRMATION: catalog.CONFIRMATION_SIZE}
    for name in catalog.data_names():
        kind, _, split = name.partition(":")
        if kind in (catalog.STORIES, catalog.LONG_STORIES):
            yield DataEntry(name, "generated", sizes.get(split), True)
        else:
            repository = catalog.HUB_SETS[kind].repository
            yield DataEntry(name, repository, None, _is_cached(repository))


def _is_cached(repository: str) -> bool:
    """Whether `datasets` keeps a copy; it writes names in small letters."""
    folder = Path(os.environ.get("HF_DATASETS_CACHE") or _hub_home() / "datasets")
    wanted = repository.replace("/", "___").lower()
    return folder.is_dir() and any(path.name.lower() == wanted for path in folder.iterdir())


def _downloaded() -> Iterator[tuple[str, Path]]:
    """The known checkpoints that the hub's cache holds, with their folders."""
    cache = Path(os.environ.get("HF_HUB_CACHE") or _hub_home() / "hub")
    for name in PRESETS:
        snapshots = sorted((cache / f"models--{name.replace('/', '--')}" / "snapshots").glob("*"))
        # without weights it is the rest of a download that was stopped
        whole = [path for path in snapshots if any(path.glob("*.safetensors")) or any(path.glob("*.bin"))]
        if whole:
            yield name, whole[-1]


def _hub_home() -> Path:
    return Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
