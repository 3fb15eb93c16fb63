"""Checkpoints in the official CODI layout: a flat state dict with an un-merged LoRA and the projection beside it."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codi_int.errors import CheckpointError, ConfigError
from codi_int.model.building import (
    INPUT_TABLE,
    build_hf,
    build_projection,
    check_architecture,
    load_tokenizer,
    read_hf_config,
    shortened,
)
from codi_int.model.codi import CodiConfig
from codi_int.model.hooked import CodiModel
from codi_int.model.presets import Preset
from codi_int.model.tensors import read_checkpoint, read_json
from codi_int.model.weights import hash_file_weights

LORA_KEY = re.compile(r"(.+)\.lora_(A|B)\.(?:default\.)?weight")
BUFFER_KEY = re.compile(r".*(rotary_emb\.inv_freq|attn\.masked_bias|attn\.bias)")
"""buffers that old versions of transformers wrote down and that hold no weights (GPT-2's attn.bias is its mask)"""
SPECIAL_TOKENS = (("<|bocot|>", "<|eocot|>"), ("<bot>", "<eot>"))


@dataclass
class OfficialParts:
    """An official state dict, taken apart."""

    model: dict[str, Tensor] = field(default_factory=dict)
    """weights of the language model by their names in Hugging Face's model"""
    lora: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """the LoRA factors A [r, in] and B [out, r] by module"""
    projection: dict[str, Tensor] = field(default_factory=dict)
    """weights of the projection without their `prj.` prefix"""
    ignored: list[str] = field(default_factory=list)
    """buffers without weights"""

    @property
    def lora_r(self) -> int | None:
        """LoRA's rank; None where there is no LoRA."""
        return next((pair["A"].shape[0] for pair in self.lora.values()), None)


@dataclass(frozen=True)
class OfficialSettings:
    """What the caller decides about an official checkpoint; None takes what the preset says."""

    base: Path | None = None
    """folder of the base model"""
    lora_alpha: int | float | None = None
    """LoRA's alpha"""
    remove_eos: bool | None = None
    """whether no eos stands before <bot> and after <eot>"""
    n_thoughts: int | None = None
    """number of thoughts"""

    def __post_init__(self) -> None:
        if self.lora_alpha is not None and not 0 < self.lora_alpha < math.inf:
            raise ConfigError(f"lora_alpha is {self.lora_alpha}; it must be a positive number.", "Published: 32.")


def load_official(
    folder: Path, name: str, settings: OfficialSettings, preset: Preset, device: torch.device, dtype: torch.dtype
) -> CodiModel:
    """The CODI model of an official checkpoint; CheckpointError where anything is missing, unknown or does not fit."""
    parts = take_apart(read_checkpoint(folder).tensors, folder)
    hf_config, config_folder = _architecture(folder, settings.base)
    table = parts.model.get(INPUT_TABLE[hf_config.model_type], parts.model.get("lm_head.weight"))
    if table is None:
        raise CheckpointError(
            f"{folder} has no {INPUT_TABLE[hf_config.model_type]}: it is no {hf_config.model_type} checkpoint.",
            "Give the base model that it was trained from.",
        )
    base_vocab = _check_base(hf_config, table, config_folder)
    alpha = preset.lora_alpha if settings.lora_alpha is None else settings.lora_alpha
    provenance: dict[str, Any] = {
        "layout": "official",
        "base": str(config_folder),
        "lora_r": parts.lora_r,
        "lora_alpha": alpha,
    }
    merge_lora(parts, alpha, transposed=hf_config.model_type == "gpt2", source=folder)
    # the config is the base model's, the table the checkpoint's with the appended tokens
    hf_config.vocab_size = table.shape[0]
    hf = build_hf(hf_config, parts.model, dtype, folder)
    projection = build_projection(parts.projection, hf_config.hidden_size, dtype, folder)
    tokenizer = load_tokenizer(_tokenizer_folder(folder, settings.base, config_folder), table.shape[0])
    provenance |= {"ignored_keys": parts.ignored, "assumed": _assumed(settings)}
    config = _settings(
        name,
        parts=parts,
        tokenizer=tokenizer,
        base_vocab=base_vocab,
        settings=settings,
        preset=preset,
        provenance=provenance,
    )
    known = None if dtype == torch.float32 else hash_file_weights(parts.model, parts.projection)
    return CodiModel(hf.to(device), projection.to(device), config, tokenizer, known)


def take_apart(tensors: dict[str, Tensor], source: Path) -> OfficialParts:
    """Sort every key of an official state dict; CheckpointError where one belongs nowhere."""
    parts, unknown = OfficialParts(), []
    for key, tensor in tensors.items():
        module = key.removeprefix("codi.").removeprefix("base_model.model.").replace(".base_layer.", ".")
        if key.startswith("prj."):
            parts.projection[key.removeprefix("prj.")] = tensor
        elif not key.startswith("codi."):
            unknown.append(key)
        elif match := LORA_KEY.fullmatch(module):
            parts.lora.setdefault(match[1], {})[match[2]] = tensor
        elif BUFFER_KEY.fullmatch(module) and (tensor.ndim != 1 or "inv_freq" in module):
            parts.ignored.append(key)
        else:
            parts.model[module] = tensor
    if unknown:
        raise CheckpointError(
            f"{source} has {len(unknown)} keys of no known kind: {shortened(unknown)}.",
            "Official CODI checkpoints have keys that begin with 'codi.' and 'prj.' only.",
        )
    return parts


def merge_lora(parts: OfficialParts, alpha: int | float, transposed: bool, source: Path) -> None:
    """Add alpha / r * B @ A to every adapted weight, in float32; afterwards no LoRA is left.

    Args:
        transposed: True for GPT-2, whose Conv1D keeps weights as [in, out].
    """
    for module, pair in parts.lora.items():
        weight = parts.model.get(f"{module}.weight")
        if weight is None or set(pair) != {"A", "B"}:
            raise CheckpointError(
                f"{source}: the LoRA of {module} is not whole: it needs lora_A, lora_B and the weight they add to.",
                "Download the checkpoint again.",
            )
        scale = alpha / pair["A"].shape[0]
        # LoRA, arXiv:2106.09685: W + alpha/r B A. In float32, and cast once afterwards: a sum in bfloat16 drops the
        # small updates, which are what was trained. B [out, r] @ A [r, in]
        delta = scale * (pair["B"].float() @ pair["A"].float())
        delta = delta.T if transposed else delta
        if delta.shape != weight.shape:
            raise CheckpointError(
                f"{source}: the LoRA of {module} is {tuple(delta.shape)}, its weight {tuple(weight.shape)}.",
                "Download the checkpoint again.",
            )
        parts.model[f"{module}.weight"] = weight.float() + delta
    parts.lora = {}


def _architecture(folder: Path, base: Path | None) -> tuple[Any, Path]:
    """The base model's config: from the base folder, else from the checkpoint's own config.json if it says anything."""
    if base is not None:
        return read_hf_config(base), base
    if has_architecture(folder):
        return read_hf_config(folder), folder
    raise CheckpointError(
        f"{folder} does not say which base model it was trained from (its config.json is missing or empty).",
        "Give load_model(folder, base=folder or hub name), or once: codi-int doctor --model ... --base ... --save NEW.",
    )


def has_architecture(folder: Path) -> bool:
    """Whether a folder's config.json says anything; empty ones were published."""
    path = folder / "config.json"
    return path.is_file() and path.stat().st_size > 0 and "model_type" in read_json(path)


def _check_base(hf_config: Any, table: Tensor, config_folder: Path) -> int:
    """The base model's own vocabulary size; CheckpointError where base and checkpoint do not belong together."""
    check_architecture(hf_config, config_folder)
    rows, width = table.shape
    if width != hf_config.hidden_size:
        raise CheckpointError(
            f"Wrong base model: {config_folder} has hidden size {hf_config.hidden_size}, the checkpoint {width}.",
            "Give the base model that the checkpoint was trained from.",
        )
    vocab = int(hf_config.vocab_size)
    # <pad>, <bot>, <eot> were appended to the base's vocabulary; some base configs count them already
    if rows not in (vocab, vocab + 2, vocab + 3):
        raise CheckpointError(
            f"Wrong base model: {config_folder} has {vocab} tokens, the checkpoint {rows}; it must have 3 more "
            "(<pad>, <bot>, <eot>) or as many.",
            "Give the base model that the checkpoint was trained from.",
        )
    return vocab if rows > vocab else rows - 3


def _tokenizer_folder(folder: Path, base: Path | None, config_folder: Path) -> Path:
    """A tokenizer that is stored with the checkpoint goes before the base model's."""
    return folder if (folder / "tokenizer.json").is_file() else base or config_folder


def _settings(
    name: str,
    parts: OfficialParts,
    tokenizer: Any,
    base_vocab: int,
    settings: OfficialSettings,
    preset: Preset,
    provenance: dict[str, Any],
) -> CodiConfig:
    """Settings from the caller, the file and the preset."""
    pad, bot, eot = _special_ids(tokenizer, base_vocab)
    return CodiConfig(
        pad_id=pad,
        bot_id=bot,
        eot_id=eot,
        eos_id=tokenizer.eos_token_id,
        prj_dim=parts.projection["1.weight"].shape[0],
        prj_no_ln="ln.weight" not in parts.projection,
        n_thoughts=preset.n_thoughts if settings.n_thoughts is None else settings.n_thoughts,
        remove_eos=preset.remove_eos if settings.remove_eos is None else settings.remove_eos,
        suppress_last_id=True,
        max_new_tokens=preset.max_new_tokens,
        name=name,
        provenance=provenance,
    )


def _assumed(settings: OfficialSettings) -> list[str]:
    """What no file told and nobody said, so that a preset had to."""
    return [name for name in ("lora_alpha", "remove_eos", "n_thoughts") if getattr(settings, name) is None]


def _special_ids(tokenizer: Any, base_vocab: int) -> tuple[int, int, int]:
    """Ids of padding, <bot> and <eot>: by name where the tokenizer knows them, else the three behind the base's."""
    known = tokenizer.get_vocab()
    for bot, eot in SPECIAL_TOKENS:
        if bot in known and eot in known:
            pad = tokenizer.pad_token_id
            return base_vocab if pad is None else pad, known[bot], known[eot]
    return base_vocab, base_vocab + 1, base_vocab + 2
