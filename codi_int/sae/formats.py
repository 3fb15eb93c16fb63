"""SAELens' words for our configs and weights, both ways.

What SAELens does not know (thought position, model hash, recipe, measures) stands under `metadata`, which it
keeps as it is.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from codi_int.errors import SAEError
from codi_int.sae.config import Provenance, SAEConfig, hook_name_of
from codi_int.types import Site


class Encoder(NamedTuple):
    """Our words for an architecture of theirs."""

    architecture: str
    """one of `config.ARCHITECTURES`"""
    rule: str = "abs"
    """`topk` only"""
    transcodes: bool = False
    """whether it rebuilds another site than the one it reads"""


SAELENS_VERSION = "6.54.12"
"""of the format that is written; below 6.0.0 SAELens would read the file as one of its older ones"""

NAMES_ON_DISK = {
    "topk": Encoder("topk", "relu"),
    "abstopk": Encoder("topk", "abs"),
    "jumprelu": Encoder("jumprelu"),
    "gated": Encoder("gated"),
    "standard": Encoder("standard"),
    "batchtopk": Encoder("jumprelu"),
    "matryoshka_batchtopk": Encoder("jumprelu"),
    "transcoder": Encoder("standard", transcodes=True),
    "jumprelu_transcoder": Encoder("jumprelu", transcodes=True),
}
"""their name -> ours; `batchtopk` and `matryoshka_batchtopk` are training checkpoints, which their own export turns
into `jumprelu`"""


def config_to_json(config: SAEConfig) -> dict[str, Any]:
    """`cfg.json` in SAELens' words."""
    # the first name wins: `jumprelu`, never the training classes that stand behind it in the table
    name = next(name for name, ours in NAMES_ON_DISK.items() if _means(ours, config))
    known = config.provenance
    metadata: dict[str, Any] = {
        "model_name": known.model,
        "hook_name": hook_name_of(known.site) if known.site else known.hook_name,
        "site": str(known.site) if known.site else None,
        **({} if known.target is None else {"target": str(known.target), "hook_name_out": hook_name_of(known.target)}),
        "model_sha256": known.model_sha256,
        "training_data": known.training_data,
        "data_sha256": known.data_sha256,
        "seed": known.seed,
        "recipe": dict(known.recipe),
        "measures": dict(known.measures),
        "decoder_bias": config.decoder_bias,
        "sae_lens_version": SAELENS_VERSION,
    }
    # what another tool noted comes last: its own version of the format stands there, where it had one
    metadata |= known.noted
    text: dict[str, Any] = {"architecture": name, "d_in": config.d_in, "d_sae": config.d_sae, "dtype": config.dtype}
    if config.d_out is not None:
        text["d_out"] = config.d_out
    if config.k is not None:
        # their TopK may rank by pre-activation times decoder norm; ours does not, and the file must say so
        text |= {"k": config.k, "rescale_acts_by_decoder_norm": False}
    text |= {"device": "cpu", "apply_b_dec_to_input": config.apply_b_dec_to_input, "normalize_activations": "none"}
    return text | {"reshape_activations": "none", "metadata": metadata}


def _means(ours: Encoder, config: SAEConfig) -> bool:
    """Whether this is the config's architecture and rule; only `topk` has a rule."""
    if ours.architecture != config.architecture or ours.transcodes != (config.d_out is not None):
        return False
    return config.architecture != "topk" or ours.rule == config.rule


def config_from_json(raw: Mapping[str, Any]) -> SAEConfig:
    """Our config of a `cfg.json`, whoever wrote it."""
    raw = _modern(raw)
    name = raw["architecture"]
    if not isinstance(name, str) or name not in NAMES_ON_DISK:
        raise SAEError(f"Architecture {name!r} is not supported.", f"Supported: {', '.join(NAMES_ON_DISK)}.")
    for key in ("normalize_activations", "reshape_activations"):
        if raw.get(key, "none") != "none":
            raise SAEError(f"{key}={raw[key]!r} is not supported.", _remedy(raw[key]))
    architecture, rule, transcodes = NAMES_ON_DISK[name]
    missing = [key for key in ("d_in", "d_sae", *(["d_out"] if transcodes else [])) if key not in raw]
    if missing:
        raise SAEError(f"{' and '.join(missing)} missing.", "Write the file again with the tool that trained the SAE.")
    metadata = raw["metadata"]
    return SAEConfig(
        d_in=raw["d_in"],
        d_sae=raw["d_sae"],
        k=raw.get("k") if architecture == "topk" else None,
        rule=rule,
        architecture=architecture,
        d_out=raw["d_out"] if transcodes else None,
        # where a file does not say, SAELens' own default holds, unlike ours: the bias is subtracted
        apply_b_dec_to_input=bool(raw.get("apply_b_dec_to_input", not transcodes)),
        decoder_bias=bool(metadata.get("decoder_bias", True)),
        dtype=str(raw.get("dtype", "float32")).removeprefix("torch."),
        provenance=_provenance(metadata),
    )


def _remedy(kind: object) -> str:
    """What can be done about an input that is rescaled or reshaped before it is encoded.

    A factor or a matrix that is the same for every row folds into the weights. `layer_norm` and
    `constant_norm_rescale` divide each row by a number of its own, which no weights can do.
    """
    folds = {
        "expected_average_only_in": "fold_activation_norm_scaling_factor(factor)",
        "covariance_whitening": "fold_activation_whitening(mean, matrix, inverse)",
    }
    if isinstance(kind, str) and kind in folds:
        return f"Call SAELens' sae.{folds[kind]} with the values of the training run, and save it again."
    if kind == "hook_z":
        return "Use an SAE of a whole activation, such as hook_resid_post: no site here is split into heads."
    return "Use an SAE that was trained with normalize_activations='none'."


def _modern(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A config of SAELens 1 to 5 in the words of version 6; version 6 as it is."""
    given = raw.get("activation_fn_kwargs")
    old_kwargs = given if isinstance(given, Mapping) else {}
    # the oldest files name no architecture: `standard`, unless the activation function says TopK
    modern = {"architecture": "standard", **raw}
    activation = raw.get("activation_fn_str", raw.get("activation_fn", "relu"))
    if "architecture" not in raw or raw["architecture"] == "standard":
        if activation == "topk" and "k" in old_kwargs:
            modern |= {"architecture": "topk", "k": old_kwargs["k"]}
        elif activation != "relu":
            raise SAEError(f"Activation function {activation!r} is not supported.", "Supported: relu, topk.")
    if modern["architecture"] == "topk" and "k" in old_kwargs:
        # versions 4 and 5 name the architecture already, and keep its k among the arguments of the activation
        modern.setdefault("k", old_kwargs["k"])
    for key in ("normalize_activations", "reshape_activations"):
        modern[key] = modern.get(key) or "none"
    if modern["normalize_activations"] is True:
        # before version 4 this was yes or no, and SAELens reads yes so
        modern["normalize_activations"] = "expected_average_only_in"
    if not isinstance(modern.get("metadata"), Mapping):
        # `hook_point` is what versions 1 and 2 called the name of the hook
        older = {"hook_name": raw["hook_point"]} if "hook_point" in raw else {}
        modern["metadata"] = older | {key: raw[key] for key in ("model_name", "hook_name") if key in raw}
    return modern


VERSIONS = ("sae_lens_version", "sae_lens_training_version")
OWN_METADATA = (
    *("site", "target", "model_sha256", "training_data", "data_sha256", "seed", "recipe", "measures"),
    "decoder_bias",
)
"""entries of the metadata that are ours; SAELens keeps them as they are"""


def _provenance(metadata: Mapping[str, Any]) -> Provenance:
    """What the metadata of a `cfg.json` says about where the SAE comes from."""
    site, target = metadata.get("site"), metadata.get("target")
    for key, one in (("site", site), ("target", target)):
        if one is not None and not isinstance(one, str):
            raise SAEError(f"The metadata's {key} is {one!r}, no text.", "Write such as L14.P3, or leave it out.")
    # written again from the target, where that is known; of other tools' transcoders it is all that tells of it
    known = {"model_name", "hook_name", *OWN_METADATA, *(["hook_name_out"] if target else [])}
    noted = {key: value for key, value in metadata.items() if key not in known}
    if "decoder_bias" in metadata:
        # Ours, perhaps by way of an object of SAELens, which fills in both versions. Without them a config of ours
        # comes back equal to what was saved.
        noted = {key: value for key, value in noted.items() if key not in VERSIONS}
    return Provenance(
        site=Site.parse(site) if site else None,
        target=Site.parse(target) if target else None,
        hook_name=None if site else metadata.get("hook_name"),
        model=metadata.get("model_name"),
        model_sha256=metadata.get("model_sha256"),
        training_data=metadata.get("training_data"),
        data_sha256=metadata.get("data_sha256"),
        seed=metadata.get("seed"),
        recipe=metadata.get("recipe") or {},
        measures=metadata.get("measures") or {},
        noted=noted,
    )


def weights_from_theirs(raw: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as our classes take them, from whatever version or training class of SAELens wrote them."""
    ours = dict(weights)
    if "log_threshold" in ours:
        # JumpReLU trains the logarithm of its thresholds
        ours["threshold"] = ours.pop("log_threshold").exp()
    if "topk_threshold" in ours and "b_enc" in ours:
        # BatchTopK keeps one number, the running threshold of all features; ours has one for each
        ours["threshold"] = torch.ones_like(ours["b_enc"]) * ours.pop("topk_threshold").to(ours["b_enc"].dtype)
    if raw.get("rescale_acts_by_decoder_norm") and {"W_enc", "b_enc", "W_dec"} <= ours.keys():
        ours |= _folded(ours)
    return ours


def _folded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Decoder norms moved into the encoder.

    SAELens can rank features by their pre-activation times |W_dec[f]| and divide again before it decodes;
    scaling the encoder and normalising the decoder gives the same latents and the same output.
    """
    norm = weights["W_dec"].norm(dim=1).clamp(min=1e-8)
    return {
        # W_enc is [d_in, d_sae]: norm scales its columns
        "W_enc": weights["W_enc"] * norm,
        "b_enc": weights["b_enc"] * norm,
        "W_dec": weights["W_dec"] / norm[:, None],
    }
