"""What is at hand, told without loading any of it: the models and SAEs that come with the package, SAEs in folders.

Nothing here imports torch, for the command line lists and completes names in a fraction of a second.
"""

import json
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).resolve().parent / "assets"
SAE_CONFIG = "cfg.json"
"""the file that makes a folder an SAE, in SAELens' format"""


def bundled_models() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    return tuple(sorted(path.parent.name for path in ASSETS.glob("*/config.json")))


def bundled_saes() -> tuple[str, ...]:
    """Names of the SAEs that come with the package, such as `codi-mini/L14.P3`."""
    found = sorted(ASSETS.glob(f"*/sae/*/{SAE_CONFIG}"))
    return tuple(f"{path.parents[2].name}/{path.parent.name}" for path in found)


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
