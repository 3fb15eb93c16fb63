"""The SAEs that come with the package, told without loading torch.

A shipped model's folder of assets has a folder `sae`. In it an SAE lies in a folder of its own, in SAELens' format
(`sae/L14.P3/`), or together with others in one compact file (`sae/sites.safetensors`, whose index `sae/sites.json` says
of which sites). A folder of its own wins.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).resolve().parent / "assets"
SAE_CONFIG = "cfg.json"
"""the settings of an SAE in a folder of its own, in SAELens' words"""
INDEX_FILE = "sites.json"
"""the settings of all SAEs of a compact file, and their hashes"""


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
