"""What is at hand, told without loading any of it: models and SAEs of the package, data sets by name, SAEs in folders.

Nothing here imports torch, for the command line lists and completes names in a fraction of a second.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_MODEL = "codi-mini"
"""the model where none is named"""
SAES_FOLDER = "saes"
"""where a message proposes to train SAEs into, and where `codi-int list` looks by itself"""
ASSETS = Path(__file__).resolve().parent / "assets"
SAE_CONFIG = "cfg.json"
"""the file that makes a folder an SAE, in SAELens' format"""
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
    found = sorted(ASSETS.glob(f"*/sae/*/{SAE_CONFIG}"))
    return tuple(f"{path.parents[2].name}/{path.parent.name}" for path in found)


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
    return tuple(sorted(set(found)))


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
    """Where the SAE with a bundled name lies."""
    model, site = name.split("/")
    return ASSETS / model / "sae" / site


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
    folder = bundled_folder(str(name)) if str(name) in bundled_saes() else Path(name)
    return read_quietly(folder / SAE_CONFIG)


def read_quietly(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none."""
    # a listing and a completion go on past a broken file; whoever loads it gets the error
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
