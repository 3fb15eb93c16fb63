"""What is at hand, told without loading any of it: models and SAEs of the package, data sets by name, SAEs in folders.

A shipped model's folder of assets has a folder `sae`. In it an SAE lies in a folder of its own, in SAELens' format
(`sae/L14.P3/`), or together with others in one compact file (`sae/sites.safetensors`, whose index `sae/sites.json` says
of which sites). A folder of its own wins.

Nothing here imports torch, for the command line lists and completes names in a fraction of a second.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).resolve().parent / "assets"
SAE_CONFIG = "cfg.json"
"""the settings of an SAE in a folder of its own, in SAELens' words"""
INDEX_FILE = "sites.json"
"""the settings of all SAEs of a compact file, and their hashes"""

DEFAULT_MODEL = "codi-mini"
"""the model where none is named"""
SAES_FOLDER = "saes"
"""where a message proposes to train SAEs into, and where `codi-int list` looks by itself"""
STORIES, LONG_STORIES = "stories", "stories-6"
"""the generated stories: one to four steps and numbers up to 99, and one to six steps and numbers up to 999"""
STORY_SPLITS = {"validation": 1495, "sae": 5978}
"""sizes of the held-out splits of both kinds of stories, those of the published experiments; `train` has no end"""
CONFIRMATION, CONFIRMATION_SIZE = "confirmation", 1495
"""the split that selects nothing and confirms what other splits selected; `confirmation/2` and on are fresh draws"""

SHIFTED_SPLITS = {"shifted-operands": 1495, "shifted-steps": 1495, "shifted-wording": 1495}
"""sizes of the splits that are unlike training: other operands, five steps, other words"""


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
    short = tuple(f"{STORIES}:{split}" for split in (*STORY_SPLITS, CONFIRMATION, *SHIFTED_SPLITS, "train"))
    return (*short, *(f"{LONG_STORIES}:{split}" for split in (*STORY_SPLITS, CONFIRMATION, "train")), *hub)


def shipped_models() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    return tuple(sorted(path.parent.name for path in ASSETS.glob("*/config.json")))


def shipped_saes() -> tuple[str, ...]:
    """The name of every SAE that comes with the package, such as `codi-mini/L14.P3`; by model, layer and position."""
    return _names(ASSETS)


def shipped_folder(name: str) -> Path | None:
    """The folder of a shipped SAE that has one of its own; None for any other name."""
    model, _, site = name.partition("/")
    folder = ASSETS / model / "sae" / site
    return folder if name in shipped_saes() and (folder / SAE_CONFIG).is_file() else None


def compact_folder(name: str) -> tuple[Path, str] | None:
    """Where the compact file with a shipped SAE lies, and its site there; None for any other name.

    Also for a site that the file does not hold, or whose index is broken, so that whoever loads it says so: None only
    where a folder has the SAE, or where the model has no compact file.
    """
    model, _, site = name.partition("/")
    folder = ASSETS / model / "sae"
    if not model or not site or (folder / site / SAE_CONFIG).is_file():
        return None
    # a name of a shipped model and a site, and not a path that happens to lead here
    plain = re.fullmatch(r"[\w-]+", model) and re.fullmatch(r"L\d+\.P\d+", site)
    return (folder, site) if plain and (folder / INDEX_FILE).is_file() else None


def shipped_config(name: str) -> dict[str, Any]:
    """The settings of a shipped SAE in SAELens' words; empty where there is none or its file is broken."""
    # a listing goes on past a broken file; whoever loads it gets the error
    if folder := shipped_folder(name):
        return read_quietly(folder / SAE_CONFIG)
    packed = compact_folder(name)
    return config_in(read_quietly(packed[0] / INDEX_FILE), packed[1]) if packed else {}


def config_in(index: dict[str, Any], site: str) -> dict[str, Any]:
    """The `cfg.json` of one SAE of an index: what all share, and what is its own; empty where it is not there."""
    shared, own = index.get("cfg"), sites_in(index).get(site)
    if not isinstance(shared, dict) or not isinstance(own, dict):
        return {}
    return {**shared, "metadata": {**shared.get("metadata", {}), **own.get("metadata", {})}}


def sites_in(index: dict[str, Any]) -> dict[str, Any]:
    """The entries of an index by site, in the order in which the compact file holds them."""
    sites = index.get("sites")
    return sites if isinstance(sites, dict) else {}


def read_quietly(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def in_short(names: Sequence[str]) -> str:
    """Some names, or of many in a row the first and the last, and how many there are."""
    if len(names) <= 6:
        return ", ".join(names) or "none"
    return f"{names[0]} to {names[-1]}, {len(names)} in all"


def sae_of_model(model: str, site: str) -> str:
    """The SAE that belongs to a model at a site: shipped as `codi-mini/L14.P3`, or beside a model's own files."""
    # a model's own folder wins over a shipped name: the SAEs in it were made for these weights
    beside = Path(model) / "sae" / site
    return str(beside) if beside.is_dir() else f"{model}/{site}"


def sites_with_sae(model: str, sae: str | None) -> tuple[str, ...]:
    """The sites for which there is an SAE: in the folder `sae`, or with the model where it is None."""
    if sae is not None and is_sae(sae):
        return tuple(filter(None, [site_noted(sae)]))
    folder = Path(model) / "sae" if sae is None else Path(sae)
    found = [path.relative_to(folder).parts[0] for path in saes_below(folder)]
    if sae is None:
        found += [name.split("/")[1] for name in shipped_saes() if name.split("/")[0] == model]
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
    return ASSETS / name if name in shipped_models() else Path(name).expanduser()


def shape_of_model(name: str) -> ModelShape:
    """What the files of a model say, in the words of Llama, Qwen or GPT-2."""
    config, codi = (read_quietly(model_folder(name) / file) for file in ("config.json", "codi.json"))
    n_layers, d_model = (
        next((config[word] for word in words if isinstance(config.get(word), int)), 0)
        for words in (("num_hidden_layers", "n_layer"), ("hidden_size", "n_embd"))
    )
    return ModelShape(n_layers, d_model, codi.get("n_thoughts", 6))


def assets_folder(name: str) -> Path:
    """Where a shipped SAE lies: in a folder of its own, or in one with those of other sites."""
    return shipped_folder(name) or ASSETS / name.split("/")[0] / "sae"


def is_sae(name: str | Path) -> bool:
    """Whether a name is that of a shipped SAE, or a folder is one."""
    return str(name) in shipped_saes() or (Path(name) / SAE_CONFIG).is_file()


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
    return shipped_config(str(name)) if str(name) in shipped_saes() else read_quietly(Path(name) / SAE_CONFIG)


# Asked for every site of a map: what comes with the package does not change while it runs.
@cache
def _names(assets: Path) -> tuple[str, ...]:
    found = {(path.parents[2].name, path.parent.name) for path in assets.glob(f"*/sae/*/{SAE_CONFIG}")}
    for index in assets.glob(f"*/sae/{INDEX_FILE}"):
        found |= {(index.parents[1].name, site) for site in sites_in(read_quietly(index))}
    return tuple(f"{model}/{site}" for model, site in sorted(found, key=_place))


def _place(name: tuple[str, str]) -> tuple[str, list[int]]:
    # L2 before L10
    return name[0], [int(digits) for digits in re.findall(r"\d+", name[1])]
