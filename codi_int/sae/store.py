"""SAEs on disk in SAELens' format: a folder with `cfg.json` and `sae_weights.safetensors`.

`load_sae` takes a shipped name such as `codi-mini/L14.P3` or such a folder. Of the shipped ones most share a compact
file, see `compact`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from codi_int.catalog import INDEX_FILE, SAE_CONFIG, compact_folder, in_short, saes_below, shipped_folder, shipped_saes
from codi_int.errors import CodiError, SAEError
from codi_int.files import read_json_object, replace_file, write_json
from codi_int.sae.base import SAE
from codi_int.sae.compact import STACK_FILE, check_hash, read_compact
from codi_int.sae.formats import config_from_json, config_to_json, weights_from_theirs
from codi_int.sae.saelens import is_theirs, read_theirs
from codi_int.sae.thresholded import GatedSAE, JumpReLUSAE, StandardSAE
from codi_int.sae.topk import TopKSAE

bundled_saes = shipped_saes  # its earlier name, for one release
CONFIG_FILE = SAE_CONFIG
WEIGHTS_FILE = "sae_weights.safetensors"
CLASSES: Mapping[str, type[SAE]] = {
    "topk": TopKSAE,
    "jumprelu": JumpReLUSAE,
    "gated": GatedSAE,
    "standard": StandardSAE,
}


def save_sae(sae: SAE, folder: str | Path) -> Path:
    """Write `sae` into `folder` (made where missing) so that SAELens and `load_sae` read it back.

    Raises:
        OutputError: a folder that cannot be written to.
    """
    folder = Path(folder)
    # safetensors refuses views that are not contiguous, such as a transpose
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in sae.state_dict().items()}
    # The settings last: a folder that has them is a whole SAE, which a sweep that goes on does not train again.
    replace_file(
        folder / WEIGHTS_FILE,
        lambda part: save_file(weights, part),
        needs=sum(tensor.nbytes for tensor in weights.values()),
        durable=True,
    )
    write_json(folder / CONFIG_FILE, config_to_json(sae.config), indent=2, allow_nan=True, durable=True)
    return folder


def load_sae(name: str | Path, device: str = "cpu") -> SAE:
    """The SAE with this shipped name (`codi-mini/L14.P3`) or in this folder.

    A shipped name wins over a folder of the same name; write `./name` for the folder. Results call the SAE by the
    name that was given here.

    Raises:
        SAEError: no such SAE, a file missing, truncated or (of the shipped ones) altered, an unknown architecture,
            weights of the wrong shape, or with NaN or inf among them.
    """
    packed = compact_folder(str(name))
    # a folder that is called like a model and one of the sites that it does not ship
    if packed and str(name) not in shipped_saes() and Path(name).is_dir():
        packed = None
    sae = (_from_folder(find_sae(name)) if packed is None else _from_compact(*packed)).to(device)
    sae.asked_as = str(name)
    return sae


def as_sae(given: object, device: str = "cpu") -> SAE:
    """An SAE of this package from whatever a user may hold.

    Args:
        given: an SAE of this package, as it is; an SAE object of SAELens, whose weights are copied (what happens to
            the object later is not seen, and hooks on it are not run); or what `load_sae` takes.
        device: where a loaded one goes; an object of SAELens stays on its own device.

    Raises:
        SAEError: something else; an architecture, a normalisation or a reshaping that cannot be represented; NaN or
            inf among the weights.
    """
    if isinstance(given, SAE):
        return given
    if isinstance(given, (str, Path)):
        return load_sae(given, device)
    if not is_theirs(given):
        raise SAEError(
            f"{type(given).__name__} is no SAE.",
            "Give an SAE of load_sae or train_sae, one of SAELens, or a name that load_sae takes.",
        )
    theirs = read_theirs(given)
    where = f"SAELens' {type(given).__name__}"
    return _build(theirs.config, theirs.weights, where, where).to(theirs.weights["W_dec"].device)


def _build(raw: Mapping[str, Any], weights: Mapping[str, Tensor], config_at: object, weights_at: object) -> SAE:
    """The SAE that a config in SAELens' words and its weights make; errors name the places that are given."""
    try:
        config = config_from_json(raw)
    except CodiError as error:
        raise SAEError(f"{config_at}: {error.rule}", error.remedy) from None
    # Before anything is allocated: a config of a few bytes may ask for more memory than there is.
    decoder = weights.get("W_dec")
    expected = (config.d_sae, config.d_out or config.d_in)
    if decoder is not None and tuple(decoder.shape) != expected:
        raise SAEError(
            f"{weights_at}: W_dec has shape {list(decoder.shape)}; cfg.json makes it {list(expected)}.",
            "The two files do not belong together: export the SAE again.",
        )
    sae = CLASSES[config.architecture](config)
    _fill(sae, weights_from_theirs(raw, weights), weights_at)
    return sae.requires_grad_(False)


def find_sae(name: str | Path) -> Path:
    """The folder of an SAE that has one of its own; SAEError where there is none."""
    folder = shipped_folder(str(name)) or Path(name)
    if not folder.is_dir():
        raise SAEError(
            f"No SAE {str(name)!r}: it is neither a folder nor shipped (shipped: {in_short(shipped_saes())}).",
            f"Give a shipped name or a folder with {CONFIG_FILE} and {WEIGHTS_FILE}.",
        )
    # asked only where the folder itself is none, for looking through a sweep takes a while
    inside = () if (folder / CONFIG_FILE).exists() else saes_below(folder)
    if inside:
        names = ", ".join(str(path.relative_to(folder)) for path in inside[:4]) + (", ..." if len(inside) > 4 else "")
        raise SAEError(f"{folder} is a folder of {len(inside)} SAEs: {names}.", f"Give one of them: {inside[0]}")
    return folder


def _from_folder(folder: Path) -> SAE:
    raw = _read_config(folder / CONFIG_FILE)
    return _build(raw, _read_weights(folder / WEIGHTS_FILE), folder / CONFIG_FILE, folder / WEIGHTS_FILE)


def _from_compact(folder: Path, site: str) -> SAE:
    raw, weights, sha256 = read_compact(folder, site)
    return check_hash(_build(raw, weights, folder / INDEX_FILE, folder / STACK_FILE), sha256, folder)


def _read_config(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; SAEError where there is none."""
    if not path.exists():
        raise SAEError(f"{path} is missing.", "Give a folder in SAELens' format.")
    # a measure in the provenance may be NaN, and SAEs that were saved so must load
    return read_json_object(path, error=SAEError, remedy="Copy or export the SAE again.", finite=False)


def _read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in `path`; SAEError where it is missing or truncated."""
    if not path.is_file():
        raise SAEError(f"{path} is missing.", "Give a folder in SAELens' format.")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise SAEError(
            f"{path} is truncated or no safetensors file: {error}.", "Copy or export the SAE again."
        ) from None


def _fill(sae: SAE, weights: Mapping[str, Tensor], path: object) -> None:
    """Copy `weights` into `sae`; SAEError unless names and shapes are exactly its own and all values finite."""
    expected = sae.state_dict()
    # exactly: a tensor left unread would mean an encoder that is run otherwise than it was trained
    if expected.keys() != weights.keys():
        raise SAEError(
            f"{path} holds {', '.join(sorted(weights))}; this architecture needs {', '.join(sorted(expected))}.",
            "Check `architecture` in cfg.json, or export the SAE again.",
        )
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise SAEError(
                f"{path}: {name} has shape {list(tensor.shape)}; cfg.json makes it {list(expected[name].shape)}.",
                "The two files do not belong together: export the SAE again.",
            )
        if not bool(torch.isfinite(tensor).all()):
            raise SAEError(f"{path}: {name} contains NaN or inf.", "Train or export the SAE again.")
    sae.load_state_dict(dict(weights))
