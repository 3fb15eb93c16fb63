"""SAEs on disk in SAELens' format: a folder with `cfg.json` and `sae_weights.safetensors`.

What SAELens does not know (thought position, model hash, recipe, measures) stands under `metadata`, which
it keeps as it is. `load_sae` takes a bundled name such as `codi-mini/L14.P3` or such a folder.
"""

import json
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from codi_int.errors import CodiError, OutputError, SAEError
from codi_int.sae.base import SAE, hook_name_of
from codi_int.sae.config import Provenance, SAEConfig
from codi_int.sae.topk import TopKSAE
from codi_int.types import Site

CONFIG_FILE = "cfg.json"
WEIGHTS_FILE = "sae_weights.safetensors"
CLASSES: Mapping[str, type[SAE]] = {"topk": TopKSAE}
NAMES_ON_DISK = {"topk": ("topk", "relu"), "abstopk": ("topk", "abs")}
"""SAELens' architecture name -> ours with its rule"""


def save_sae(sae: SAE, folder: str | Path) -> Path:
    """Write `sae` into `folder` (made where missing) so that SAELens and `load_sae` read it back.

    Raises:
        OutputError: a folder that cannot be written to.
    """
    folder = Path(folder)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in sae.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / f"{WEIGHTS_FILE}.part")
        os.replace(folder / f"{WEIGHTS_FILE}.part", folder / WEIGHTS_FILE)
        text = json.dumps(config_to_json(sae.config), indent=2) + "\n"
        (folder / f"{CONFIG_FILE}.part").write_text(text, encoding="utf-8")
        os.replace(folder / f"{CONFIG_FILE}.part", folder / CONFIG_FILE)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written to: {error.strerror}.", "Give a folder you may write to."
        ) from None
    return folder


def load_sae(name: str | Path, device: str = "cpu") -> SAE:
    """The SAE with this bundled name (`codi-mini/L14.P3`) or in this folder.

    A bundled name wins over a folder of the same name; write `./name` for the folder.

    Raises:
        SAEError: no such SAE, a file missing or truncated, an unknown architecture, weights of the wrong
            shape, or with NaN or inf among them.
    """
    folder = find_sae(name)
    raw = _read_config(folder / CONFIG_FILE)
    weights = _read_weights(folder / WEIGHTS_FILE)
    try:
        config = config_from_json(raw)
    except CodiError as error:
        raise SAEError(f"{folder / CONFIG_FILE}: {error.rule}", error.remedy) from None
    sae = CLASSES[config.architecture](config)
    _fill(sae, _fold(raw, weights), folder / WEIGHTS_FILE)
    return sae.to(device).requires_grad_(False)


def bundled_saes() -> tuple[str, ...]:
    """Names of the SAEs that come with the package."""
    found = []
    for model in sorted(Path(str(files("codi_int") / "assets")).glob("*")):
        found += [f"{model.name}/{cfg.parent.name}" for cfg in sorted(model.glob(f"sae/*/{CONFIG_FILE}"))]
    return tuple(found)


def find_sae(name: str | Path) -> Path:
    """The folder that `name` stands for; SAEError where there is none."""
    if str(name) in bundled_saes():
        model, site = str(name).split("/")
        return Path(str(files("codi_int") / "assets")) / model / "sae" / site
    if Path(name).is_dir():
        return Path(name)
    raise SAEError(
        f"No SAE {str(name)!r}: it is neither a folder nor bundled (bundled: {', '.join(bundled_saes()) or 'none'}).",
        f"Give a bundled name or a folder with {CONFIG_FILE} and {WEIGHTS_FILE}.",
    )


def config_to_json(config: SAEConfig) -> dict[str, Any]:
    """`cfg.json` in SAELens' words."""
    name = next(
        name for name, ours in NAMES_ON_DISK.items() if ours[0] == config.architecture and _same_rule(ours, config)
    )
    known = config.provenance
    metadata: dict[str, Any] = {
        "model_name": known.model,
        "hook_name": hook_name_of(known.site) if known.site else known.hook_name,
        "site": str(known.site) if known.site else None,
        "model_sha256": known.model_sha256,
        "training_data": known.training_data,
        "data_sha256": known.data_sha256,
        "seed": known.seed,
        "recipe": dict(known.recipe),
        "measures": dict(known.measures),
        "decoder_bias": config.decoder_bias,
        "sae_lens_version": "6.54.12",
    }
    text: dict[str, Any] = {"architecture": name, "d_in": config.d_in, "d_sae": config.d_sae, "dtype": config.dtype}
    if config.k is not None:
        text |= {"k": config.k, "rescale_acts_by_decoder_norm": False}
    text |= {"device": "cpu", "apply_b_dec_to_input": config.apply_b_dec_to_input, "normalize_activations": "none"}
    return text | {"reshape_activations": "none", "metadata": metadata}


def _same_rule(ours: tuple[str, str], config: SAEConfig) -> bool:
    """Whether a name on disk means this config's rule; only `topk` has one."""
    return config.architecture != "topk" or ours[1] == config.rule


def config_from_json(raw: Mapping[str, Any]) -> SAEConfig:
    """Our config of a `cfg.json`, whoever wrote it."""
    name = raw.get("architecture", "standard")
    if name not in NAMES_ON_DISK:
        raise SAEError(f"Architecture {name!r} is not supported.", f"Supported: {', '.join(NAMES_ON_DISK)}.")
    for key in ("normalize_activations", "reshape_activations"):
        if raw.get(key, "none") != "none":
            raise SAEError(f"{key}={raw[key]!r} is not supported.", "Fold it into the weights and save the SAE again.")
    missing = [key for key in ("d_in", "d_sae") if key not in raw]
    if missing:
        raise SAEError(f"{' and '.join(missing)} missing.", "Write the file again with the tool that trained the SAE.")
    architecture, rule = NAMES_ON_DISK[name]
    metadata = raw.get("metadata") or {}
    return SAEConfig(
        d_in=raw["d_in"],
        d_sae=raw["d_sae"],
        k=raw.get("k") if architecture == "topk" else None,
        rule=rule,
        architecture=architecture,
        apply_b_dec_to_input=bool(raw.get("apply_b_dec_to_input", True)),
        decoder_bias=bool(metadata.get("decoder_bias", True)),
        dtype=str(raw.get("dtype", "float32")).removeprefix("torch."),
        provenance=_provenance(metadata),
    )


def _provenance(metadata: Mapping[str, Any]) -> Provenance:
    """What the metadata of a `cfg.json` says about where the SAE comes from."""
    site = metadata.get("site")
    return Provenance(
        site=Site.parse(site) if site else None,
        hook_name=None if site else metadata.get("hook_name"),
        model=metadata.get("model_name"),
        model_sha256=metadata.get("model_sha256"),
        training_data=metadata.get("training_data"),
        data_sha256=metadata.get("data_sha256"),
        seed=metadata.get("seed"),
        recipe=metadata.get("recipe") or {},
        measures=metadata.get("measures") or {},
    )


def _read_config(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; SAEError where there is none."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SAEError(f"{path} is missing.", "Give a folder in SAELens' format.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SAEError(f"{path} cannot be read: {error}.", "Copy or export the SAE again.") from None
    if not isinstance(raw, dict):
        raise SAEError(f"{path} holds no JSON object.", "Copy or export the SAE again.")
    return raw


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


def _fold(raw: Mapping[str, Any], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights with decoder norms folded into the encoder, where SAELens ranks features by scaled activations.

    With `rescale_acts_by_decoder_norm` it multiplies pre-activations by |W_dec[f]| and divides again before
    decoding; scaling the encoder and normalising the decoder gives the same latents and the same output.
    """
    if not raw.get("rescale_acts_by_decoder_norm") or not {"W_enc", "b_enc", "W_dec"} <= weights.keys():
        return weights
    norm = weights["W_dec"].norm(dim=1).clamp(min=1e-8)
    return weights | {
        "W_enc": weights["W_enc"] * norm,
        "b_enc": weights["b_enc"] * norm,
        "W_dec": weights["W_dec"] / norm[:, None],
    }


def _fill(sae: SAE, weights: Mapping[str, Tensor], path: Path) -> None:
    """Copy `weights` into `sae`; SAEError unless names and shapes are exactly its own and all values finite."""
    expected = sae.state_dict()
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
