"""Many small SAEs of one shape in one file: 16-bit floats, hashed, and read one at a time.

`sites.safetensors` holds every weight stacked over the sites, such as W_enc [sites, d_in, d_sae]; `sites.json` the
settings that all share, and by site, in the order of the stack, the settings of its own and its hash. A site is read
without the others. What is read back is a float32 SAE whose weights are the rounded ones.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from codi_int.catalog import INDEX_FILE, config_in, sites_in
from codi_int.errors import SAEError
from codi_int.files import read_json_object, replace_file, write_text
from codi_int.sae.base import SAE
from codi_int.sae.formats import config_to_json

STACK_FILE = "sites.safetensors"
SCHEMA = "codi-int/sae-sites@1"
KEPT = torch.float16
"""ten bits of mantissa; bfloat16 would have seven, and its range is not needed"""
AGAIN = "Install codi-int again, or copy both files from one place."


def rounded(sae: SAE) -> SAE:
    """The same SAE with its weights as a compact file would keep them, in place; SAEError where one is too large."""
    with torch.no_grad():
        for name, weight in sae.named_parameters():
            kept = weight.to(KEPT)
            if not bool(kept.isfinite().all()):
                raise SAEError(f"{name} of {sae.name} has values beyond {KEPT}.", "Save it in a folder of its own.")
            weight.copy_(kept)
    return sae


def save_compact(saes: Sequence[SAE], folder: str | Path) -> Path:
    """Write SAEs of different sites into one compact file; their weights are rounded in place first.

    Raises:
        SAEError: no SAEs, one without a site, a site twice, other shapes or settings, values beyond 16 bits.
        OutputError: a folder that cannot be written to.
    """
    folder = Path(folder)
    sites = [str(sae.site) for sae in saes]
    if not saes or "None" in sites or len(set(sites)) < len(sites):
        raise SAEError("A compact file holds SAEs of known, different sites.", "Give one SAE for each site.")
    index = _index([rounded(sae) for sae in saes], sites)
    stacks = {
        name: torch.stack([sae.state_dict()[name].cpu() for sae in saes]).to(KEPT).contiguous()
        for name in saes[0].state_dict()
    }
    n_bytes = sum(stack.nbytes for stack in stacks.values())
    replace_file(folder / STACK_FILE, lambda part: save_file(stacks, part), needs=n_bytes, durable=True)
    write_text(folder / INDEX_FILE, _lines(index), durable=True)
    return folder


def read_compact(folder: Path, site: str) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """The settings of one SAE in SAELens' words, its weights in float32, and what it must hash to.

    Raises:
        SAEError: a file that is missing, cut or no compact file; a site that it does not hold.
    """
    index = read_json_object(folder / INDEX_FILE, error=SAEError, remedy=AGAIN, finite=False)
    sites = list(sites_in(index))
    if site not in sites:
        held = f"{sites[0]} to {sites[-1]}, {len(sites)} in all" if sites else "none"
        raise SAEError(f"There is no SAE for {site} in {folder} ({held}).", "Choose another layer or position.")
    raw, sha256 = config_in(index, site), sites_in(index)[site].get("sha256")
    if not raw or not isinstance(sha256, str):
        raise SAEError(f"{folder / INDEX_FILE} does not describe the SAE of {site}.", AGAIN)
    return raw, _read_weights(folder / STACK_FILE, sites.index(site), len(sites)), sha256


def check_hash(sae: SAE, sha256: str, folder: Path) -> SAE:
    """The SAE itself; SAEError where its weights are not those that were written."""
    if sae.sha256 != sha256:
        raise SAEError(
            f"{folder / STACK_FILE} is cut or altered: {sae.site} hashes to {sae.sha256[:12]}, not {sha256[:12]}.",
            AGAIN,
        )
    return sae


def _read_weights(path: Path, row: int, n_rows: int) -> dict[str, Tensor]:
    """One row of every stack; nothing else of the file is read."""
    if not path.is_file():
        raise SAEError(f"{path} is missing.", AGAIN)
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            slices = {name: file.get_slice(name) for name in names}
            if any(stack.get_shape()[:1] != [n_rows] for stack in slices.values()):
                raise SAEError(f"{path} does not hold {n_rows} SAEs, as {INDEX_FILE} says.", AGAIN)
            return {name: stack[row].float() for name, stack in slices.items()}
    except (SafetensorError, OSError) as error:
        raise SAEError(f"{path} is cut or no safetensors file: {error}.", AGAIN) from None


def _index(saes: Sequence[SAE], sites: Sequence[str]) -> dict[str, Any]:
    """What all SAEs share, and by site what differs."""
    configs = [config_to_json(sae.config) for sae in saes]
    metadata = [config.pop("metadata") for config in configs]
    if any(config != configs[0] for config in configs):
        raise SAEError(
            "The SAEs differ in shape or settings.", "A compact file holds SAEs that differ in weights only."
        )
    shared = {key: value for key, value in metadata[0].items() if all(other[key] == value for other in metadata)}
    own = [{key: value for key, value in known.items() if key not in shared} for known in metadata]
    return {
        "schema": SCHEMA,
        "cfg": {**configs[0], "metadata": shared},
        "sites": {
            site: {"sha256": sae.sha256, "metadata": known} for site, sae, known in zip(sites, saes, own, strict=True)
        },
    }


def _lines(index: Mapping[str, Any]) -> str:
    """The index as JSON with one line for each site, so that a change of one site is a change of one line."""
    sites = ",\n".join(f"  {json.dumps(site)}: {json.dumps(entry)}" for site, entry in index["sites"].items())
    head = json.dumps({key: value for key, value in index.items() if key != "sites"}, indent=1)
    return f'{head.removesuffix("}").rstrip()},\n "sites": {{\n{sites}\n }}\n}}\n'
