"""What an SAE computes and where it comes from: two frozen records, validated once."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from codi_int.errors import ConfigError
from codi_int.types import Site

RULES = ("relu", "abs")
ARCHITECTURES = ("topk", "jumprelu", "gated", "standard")
TRANSCODING = ("jumprelu", "standard")
"""encoders that transcoders have in SAELens' format"""
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Provenance:
    """Where an SAE comes from. Everything may be unknown; what is known is checked before use."""

    site: Site | None = None
    """the site whose activations it was trained on"""
    target: Site | None = None
    """of a transcoder: the site whose activations it rebuilds from those"""
    hook_name: str | None = None
    """TransformerLens name, where another tool stored no more than that (it knows no thought position)"""
    model: str | None = None
    """name of the model"""
    model_sha256: str | None = None
    """hash of the model's weights"""
    training_data: str | None = None
    """name of the problems whose thoughts were captured"""
    data_sha256: str | None = None
    """hash of those problems"""
    seed: int | None = None
    """seed of the training run"""
    recipe: Mapping[str, object] = field(default_factory=dict)
    """settings of the training run, JSON values only"""
    measures: Mapping[str, float] = field(default_factory=dict)
    """held-out quality by name, such as `explained_variance`"""
    noted: Mapping[str, object] = field(default_factory=dict)
    """what else another tool wrote into its metadata, JSON values only; handed on when the SAE is saved"""


@dataclass(frozen=True)
class SAEConfig:
    """What an SAE computes.

    Raises:
        ConfigError: sizes that are not positive, k outside 1..d_sae, k missing for `topk` or given elsewhere.
    """

    d_in: int
    """width of the activations"""
    d_sae: int
    """number of features"""
    k: int | None = None
    """features kept per row; `topk` only"""
    rule: str = "abs"
    """`topk` only: `abs` keeps the k largest magnitudes with their sign, `relu` the k largest values, then ReLU"""
    architecture: str = "topk"
    """which encoder, one of `ARCHITECTURES`; BatchTopK trains into `jumprelu`, nested TopK into `topk`"""
    apply_b_dec_to_input: bool = False
    """whether the decoder bias is subtracted from the input before encoding"""
    decoder_bias: bool = True
    """whether there is a decoder bias; False keeps it at zero"""
    dtype: str = "float32"
    """dtype of the weights, by torch's name"""
    d_out: int | None = None
    """of a transcoder: width of the activations that it rebuilds; None for an SAE, which rebuilds what it reads"""
    provenance: Provenance = field(default_factory=Provenance)
    """where it comes from"""

    def __post_init__(self) -> None:
        for name in ("d_in", "d_sae"):
            check_count(name, getattr(self, name))
        check_choice("architecture", self.architecture, ARCHITECTURES)
        check_choice("rule", self.rule, RULES)
        check_choice("dtype", self.dtype, tuple(DTYPES))
        if self.d_out is not None:
            self._check_transcoder(self.d_out)
        if self.architecture == "topk":
            check_k(self.k, self.d_sae)
        elif self.k is not None:
            raise ConfigError(f"k={self.k} was given to a {self.architecture} SAE.", "Only 'topk' takes k.")

    def _check_transcoder(self, d_out: int) -> None:
        """ConfigError for what SAELens' transcoders, whose files these are, do not have."""
        check_count("d_out", d_out)
        if self.apply_b_dec_to_input:
            raise ConfigError(
                "A transcoder's decoder bias belongs to another site than its input, so it is not subtracted there.",
                "Leave apply_b_dec_to_input out.",
            )
        if self.architecture not in TRANSCODING:
            raise ConfigError(
                f"There are no transcoders of architecture {self.architecture!r}.", f"Known: {', '.join(TRANSCODING)}."
            )

    @property
    def torch_dtype(self) -> torch.dtype:
        """dtype of the weights."""
        return DTYPES[self.dtype]


def check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    """ConfigError unless `value` is one of `known`."""
    if value not in known:
        raise ConfigError(f"{name} {value!r} does not exist.", f"Known: {', '.join(known)}.")


def check_count(name: str, value: object, least: int = 1) -> None:
    """ConfigError unless `value` is an integer of at least `least`."""
    # True is an int in Python, and `d_sae=true` in a file would pass as 1
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} must be an integer of at least {least}, not {value!r}.", f"Give {name} >= {least}.")


def check_positive(name: str, value: float) -> None:
    """ConfigError unless `value` is a positive finite number."""
    if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} must be a positive number, not {value!r}.", f"Give {name} > 0, such as 1e-3.")


def check_k(k: object, d_sae: int) -> None:
    """ConfigError unless k is an integer in 1..d_sae."""
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= d_sae:
        raise ConfigError(f"k must lie in 1..{d_sae} (d_sae), not {k!r}.", "Give a smaller k or a larger d_sae.")


def hook_name_of(site: Site) -> str:
    """TransformerLens' name of the tensor at `site`; it says nothing of the thought position."""
    if site.layer is None:
        return {"thought": "hook_thought", "final_norm": "ln_final.hook_normalized"}[site.component]
    # a head is a slice of this tensor, and SAELens has no word for which: the site in the file says it
    return f"blocks.{site.layer}.{'hook_' + site.component if site.head is None else 'attn.hook_result'}"


# TransformerBridge (TransformerLens 3) names what leaves a part of the block; its own aliases are these.
BRIDGE_NAMES = {"hook_out": "hook_resid_post", "attn.hook_out": "hook_attn_out", "mlp.hook_out": "hook_mlp_out"}


def canonical_hook_name(name: str) -> str:
    """`blocks.14.hook_out` and its like in TransformerLens' older words; any other name as it is."""
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if match is None or match[2] not in BRIDGE_NAMES:
        return name
    return f"blocks.{match[1]}.{BRIDGE_NAMES[match[2]]}"
