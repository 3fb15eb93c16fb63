"""What is at hand, told without loading any of it: models and SAEs of the package, data sets by name, SAEs in folders.

Nothing here imports torch, for the command line lists and completes names in a fraction of a second.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codi_int.shipped import ASSETS, SAE_CONFIG, read_quietly, shipped_config, shipped_folder, shipped_saes

DEFAULT_MODEL = "codi-mini"
"""the model where none is named"""
SAES_FOLDER = "saes"
"""where a message proposes to train SAEs into, and where `codi-int list` looks by itself"""
STORY_SPLITS = {"validation": 1495, "sae": 5978}
"""sizes of the stories' held-out splits, those of the published experiments; `train` has no end"""
CONFIRMATION, CONFIRMATION_SIZE = "confirmation", 1495
"""the split that selects nothing and confirms what other splits selected; `confirmation/2` and on are fresh draws"""


@dataclass(frozen=True)
class HubSet:
    """A data set that is read through `datasets`."""

    repository: str
    """its name on the hub"""
    splits: Mapping[str, str]
    """our name of a split -> the hub's; the first is taken where none is named"""
    configuration: str | None = None
    """which of the repository's configurations"""


_BOTH = {"test": "test", "train": "train"}
HUB_SETS = {
    "gsm8k": HubSet("openai/gsm8k", _BOTH, "main"),
    "gsm8k-aug": HubSet("zen-E/GSM8k-Aug", {**_BOTH, "validation": "validation"}),
    # the published evaluations of SVAMP take both of its splits
    "svamp": HubSet("ChilleD/SVAMP", {"all": "train+test", **_BOTH}),
    "gsm-hard": HubSet("reasoning-machines/gsm-hard", {"test": "train"}),
    "multiarith": HubSet("ChilleD/MultiArith", _BOTH),
}
"""name -> where it is"""


def data_names() -> tuple[str, ...]:
    """Every data set that has a name, with its split."""
    hub = tuple(f"{name}:{split}" for name, found in HUB_SETS.items() for split in found.splits)
    return (*(f"stories:{split}" for split in (*STORY_SPLITS, CONFIRMATION, "train")), *hub)


def bundled_models() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    return tuple(sorted(path.parent.name for path in ASSETS.glob("*/config.json")))


def bundled_saes() -> tuple[str, ...]:
    """Names of the SAEs that come with the package, such as `codi-mini/L14.P3`."""
    return shipped_saes()


def in_short(names: Sequence[str]) -> str:
    """Some names, or of many in a row the first and the last, and how many there are."""
    if len(names) <= 6:
        return ", ".join(names) or "none"
    return f"{names[0]} to {names[-1]}, {len(names)} in all"


def sae_of_model(model: str, site: str) -> str:
    """The SAE that belongs to a model at a site: bundled as `codi-mini/L14.P3`, or beside a model's own files."""
    # a model's own folder wins over a bundled name: the SAEs in it were made for these weights
    beside = Path(model) / "sae" / site
    return str(beside) if beside.is_dir() else f"{model}/{site}"


def sites_with_sae(model: str, sae: str | None) -> tuple[str, ...]:
    """The sites for which there is an SAE: in the folder `sae`, or with the model where it is None."""
    if sae is not None and is_sae(sae):
        return tuple(filter(None, [site_noted(sae)]))
    folder = Path(model) / "sae" if sae is None else Path(sae)
    found = [path.relative_to(folder).parts[0] for path in saes_below(folder)]
    if sae is None:
        found += [name.split("/")[1] for name in bundled_saes() if name.split("/")[0] == model]
    # L2 before L10
    return tuple(sorted(set(found), key=lambda site: ([int(digits) for digits in re.findall(r"\d+", site)], site)))


@dataclass(frozen=True)
class ModelShape:
    """How large a model is; zeros where its files do not say."""

    n_layers: int
    """blocks"""
    d_model: int
    """width of the residual"""
    n_thoughts: int
    """continuous thoughts"""


def model_folder(name: str) -> Path:
    """Where a shipped model, or one in a folder, lies."""
    return ASSETS / name if name in bundled_models() else Path(name).expanduser()


def shape_of_model(name: str) -> ModelShape:
    """What the files of a model say, in the words of Llama, Qwen or GPT-2."""
    config, codi = (read_quietly(model_folder(name) / file) for file in ("config.json", "codi.json"))
    n_layers, d_model = (
        next((config[word] for word in words if isinstance(config.get(word), int)), 0)
        for words in (("num_hidden_layers", "n_layer"), ("hidden_size", "n_embd"))
    )
    return ModelShape(n_layers, d_model, codi.get("n_thoughts", 6))


def bundled_folder(name: str) -> Path:
    """Where the SAE with a bundled name lies: in a folder of its own, or in one with those of other sites."""
    return shipped_folder(name) or ASSETS / name.split("/")[0] / "sae"


def is_sae(name: str | Path) -> bool:
    """Whether a name is that of a bundled SAE, or a folder is one."""
    return str(name) in bundled_saes() or (Path(name) / SAE_CONFIG).is_file()


def saes_below(folder: Path) -> tuple[Path, ...]:
    """The folders of SAEs in a folder: `L14.P3/` of `sae train`, `L14.P3/d512_k16_s0/` of `sae sweep`."""
    # two levels and not all: the folder may be somebody's home; sorted, for disks list folders in orders of their own
    return tuple(sorted(path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{SAE_CONFIG}")))


def site_noted(name: str | Path) -> str | None:
    """The site that an SAE says it was trained at, such as `L14.P3`; None where it does not say."""
    noted = about_sae(name).get("metadata")
    site = noted.get("site") if isinstance(noted, dict) else None
    return site if isinstance(site, str) else None


def about_sae(name: str | Path) -> dict[str, Any]:
    """The settings of an SAE as they stand in its file; empty where they cannot be read, which loading reports."""
    return shipped_config(str(name)) if str(name) in bundled_saes() else read_quietly(Path(name) / SAE_CONFIG)
