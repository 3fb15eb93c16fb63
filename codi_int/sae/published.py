"""The published `.pt` checkpoints, both ways: `encoder.weight`, `decoder.weight` (nn.Linear layout) and `config`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codi_int.errors import SAEError
from codi_int.files import replace_file
from codi_int.sae.base import SAE
from codi_int.sae.config import Provenance, SAEConfig
from codi_int.sae.topk import TopKSAE
from codi_int.types import Site

FINAL_LAYER = 15
"""in the published data the last layer's activations are those behind the final norm, not `resid_post`"""


def import_published(path: str | Path, rule: str = "abs", model: str | None = None) -> TopKSAE:
    """The SAE in a published checkpoint. Pickles are read with `weights_only=True`: no code runs.

    Args:
        path: a `.pt` file with the layers' weights (at the top or under `model_state_dict`) and a `config`
            with `k`, and `position` and `layer` where they are known.
        rule: their code keeps the k largest magnitudes, `abs`.
        model: name of the model, noted in the provenance.

    Raises:
        SAEError: a file that is missing, broken, holds more than tensors and plain values, or lacks a part.
    """
    raw = _read(Path(path))
    # their trainer stores settings beside the weights; a bare state dict holds both on one level
    state, settings = raw.get("model_state_dict", raw), raw.get("config")
    if not isinstance(settings, Mapping) or "k" not in settings:
        raise SAEError(f"{path} has no `config` with k.", "Give a checkpoint of the published TopK SAEs.")
    if type(settings["k"]) is not int:
        raise SAEError(f"{path}: k is {settings['k']!r}, no whole number.", "Copy the checkpoint again.")
    if not isinstance(state, Mapping):
        raise SAEError(f"{path}: model_state_dict holds no tensors by name.", "Copy the checkpoint again.")
    weights = _weights(state, Path(path))
    d_sae, d_in = weights["W_dec"].shape
    known = Provenance(site=_site(settings), model=model, measures=_measures(raw.get("metrics")))
    sae = TopKSAE(SAEConfig(d_in=d_in, d_sae=d_sae, k=settings["k"], rule=rule, provenance=known))
    expected = {name: tensor.shape for name, tensor in sae.state_dict().items()}
    for name, tensor in weights.items():
        if tensor.shape != expected[name] or not bool(torch.isfinite(tensor).all()):
            raise SAEError(
                f"{path}: {name} has shape {list(tensor.shape)} (expected {list(expected[name])}) or NaN or inf.",
                "Copy the checkpoint again.",
            )
    sae.load_state_dict(weights)
    return sae.requires_grad_(False)


def export_published(sae: SAE, path: str | Path) -> Path:
    """Write `sae` as a published checkpoint, which `import_published` reads back with equal output.

    Their code knows TopK by magnitude alone. A decoder bias that is subtracted from the input is folded into the
    encoder's bias. Their layer 15 is behind the final norm, so `L15`'s `resid_post` goes out without a layer.

    Args:
        path: the `.pt` file.

    Raises:
        SAEError: an SAE that their code would run differently.
        OutputError: a place that cannot be written to.
    """
    path, config = Path(path), sae.config
    if config.architecture != "topk" or config.rule != "abs":
        what = f"{config.architecture} SAE" if config.architecture != "topk" else f"TopK SAE with rule {config.rule!r}"
        raise SAEError(
            f"The published layout holds TopK SAEs with rule 'abs'; this is a {what}.", "Export it as saelens."
        )
    weights = {name: tensor.detach().cpu().float() for name, tensor in sae.state_dict().items()}
    b_enc = weights["b_enc"]
    if config.apply_b_dec_to_input:
        # (x - b_dec) W_enc + b_enc = x W_enc + (b_enc - b_dec W_enc)
        b_enc = b_enc - weights["b_dec"] @ weights["W_enc"]
    state = {
        # nn.Linear stores [out, in], the transpose of SAELens' layout
        "encoder.weight": weights["W_enc"].T.contiguous(),
        "encoder.bias": b_enc,
        "decoder.weight": weights["W_dec"].T.contiguous(),
        "decoder.bias": weights["b_dec"],
    }
    settings = {"input_dim": sae.d_in, "latent_dim": sae.d_sae, "k": config.k, **published_site(sae.site)}
    metrics = {name: float(value) for name, value in config.provenance.measures.items()}
    checkpoint = {"model_state_dict": state, "config": settings, "metrics": metrics}
    needs = sum(tensor.nbytes for tensor in state.values())
    return replace_file(path, lambda part: torch.save(checkpoint, part), needs=needs)


def published_site(site: Site | None) -> dict[str, int]:
    """`position` and `layer` in their words, as far as they have words for the site."""
    if site is None:
        return {}
    if site.component == "final_norm":
        return {"position": site.position, "layer": FINAL_LAYER}
    if site.component != "resid_post" or site.layer is None or site.layer == FINAL_LAYER:
        return {}
    return {"position": site.position, "layer": site.layer}


def _read(path: Path) -> dict[str, Any]:
    """The dictionary in a pickle of tensors and plain values."""
    if not path.is_file():
        raise SAEError(f"{path} is missing.", "Give the path of a published .pt checkpoint.")
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for broken or unsafe files
        # what torch says of a file that it cannot read is an essay on how to let it run the file's code
        raise SAEError(
            f"{path} is no checkpoint of tensors and plain values ({type(error).__name__}).",
            "Give a published .pt file whole, or a folder of SAELens; pickles with code are never loaded.",
        ) from None
    if not isinstance(raw, dict):
        raise SAEError(f"{path} holds no dictionary.", "Give a checkpoint of the published TopK SAEs.")
    return raw


def _weights(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Our names and layout; a missing bias is zero."""
    missing = [name for name in ("encoder.weight", "decoder.weight") if name not in state]
    if missing:
        raise SAEError(f"{path} lacks {' and '.join(missing)}.", "Give a checkpoint of the published TopK SAEs.")
    _check_tensors(state, path)
    encoder, decoder = state["encoder.weight"].float(), state["decoder.weight"].float()
    return {
        "W_enc": encoder.T.contiguous(),
        "b_enc": _bias(state, "encoder.bias", encoder.shape[0]),
        "W_dec": decoder.T.contiguous(),
        "b_dec": _bias(state, "decoder.bias", decoder.shape[0]),
    }


def _bias(state: Mapping[str, Tensor], name: str, size: int) -> Tensor:
    """A bias that may be missing, or there and None, as torch keeps one that a layer was made without."""
    found = state.get(name)
    return torch.zeros(size) if found is None else found.float()


_OWN_NAMES = {
    "encoder.weight": "W_enc",
    "encoder.bias": "b_enc",
    "decoder.weight": "W_dec",
    "decoder.bias": "b_dec",
}


def _check_tensors(state: Mapping[str, Any], path: Path) -> None:
    """SAEError where types, shapes or storage are not what a TopK SAE has; looks only, and allocates nothing."""
    encoder = state["encoder.weight"]
    shape = tuple(encoder.shape) if isinstance(encoder, Tensor) and encoder.ndim == 2 else (0, 0)
    wanted = {"encoder.weight": shape, "encoder.bias": shape[:1], "decoder.weight": shape[::-1]}
    wanted["decoder.bias"] = shape[1:]
    for name, expected in wanted.items():
        tensor = state.get(name)
        if tensor is None and name.endswith("bias"):
            continue
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise SAEError(f"{path}: {_OWN_NAMES[name]} is no plain float tensor.", "Copy the checkpoint again.")
        if tuple(tensor.shape) != expected or 0 in expected:
            raise SAEError(
                f"{path}: {_OWN_NAMES[name]} has shape {list(tensor.shape)} (expected {list(expected)}).",
                "Copy the checkpoint again.",
            )
        # a tensor of stride 0 says any shape over one stored number, and would take that memory when copied
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise SAEError(f"{path}: {name} stores less than its shape says.", "Copy the checkpoint again.")


def _site(settings: Mapping[str, Any]) -> Site | None:
    """The site, where the checkpoint names it."""
    if settings.get("layer") is None or settings.get("position") is None:
        return None
    layer, position = settings["layer"], settings["position"]
    if type(layer) is not int or type(position) is not int:
        raise SAEError(
            f"A published checkpoint names its site by whole numbers, not layer {layer!r}, position {position!r}.",
            "Copy the checkpoint again.",
        )
    # see FINAL_LAYER: read as L15's resid_post, an SAE would see activations of another scale
    return Site(None, position, "final_norm") if layer == FINAL_LAYER else Site(layer, position)


def _measures(metrics: object) -> dict[str, float]:
    """Their metrics, as far as they are numbers, under their own names."""
    if not isinstance(metrics, Mapping):
        return {}
    return {f"published_{name}": float(value) for name, value in metrics.items() if isinstance(value, (int, float))}
