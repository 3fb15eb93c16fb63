"""What Hugging Face makes of a Llama's files, made by torch alone: its modules, under its names.

Importing transformers' model classes takes longer than all else that a command does before it computes. The block
stack calls only submodules, so where a config describes nothing beyond a plain Llama the same tree of torch modules
stands in for `LlamaForCausalLM`, holding the tensors of the file, until somebody asks for `model.hf`: then the real one
is made around the same tensors (`building.around_the_same`), and takes its place. Everything else, and every file that
is damaged, goes the ordinary way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

REQUIRED: Mapping[str, type | tuple[type, ...]] = {
    "hidden_size": int,
    "intermediate_size": int,
    "max_position_embeddings": int,
    "num_attention_heads": int,
    "num_hidden_layers": int,
    "num_key_value_heads": int,
    "head_dim": int,
    "vocab_size": int,
    "rms_norm_eps": float,
    "tie_word_embeddings": bool,
}
"""settings that decide the modules, with their types: a config that leaves one out relies on transformers' defaults"""
FIXED: Mapping[str, tuple[object, ...]] = {
    "model_type": ("llama",),
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "pretraining_tp": (1,),
}
"""settings of which these values alone are known here"""
IDLE = {
    "architectures",
    "attention_dropout",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "initializer_range",
    "pad_token_id",
    "transformers_version",
    "use_cache",
}
"""settings that change nothing in what a block computes"""


@dataclass
class LightConfig:
    """The settings that the stack reads, under Hugging Face's names."""

    hidden_size: int
    intermediate_size: int
    max_position_embeddings: int
    num_attention_heads: int
    num_hidden_layers: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    rms_norm_eps: float
    tie_word_embeddings: bool
    rope_theta: float
    stored: Mapping[str, Any]
    """the whole file, from which Hugging Face's config is made"""
    folder: Path
    """where it lay"""
    model_type: str = "llama"

    def hugging_face(self) -> Any:
        """The same as Hugging Face's own."""
        from transformers import LlamaConfig

        config = LlamaConfig.from_dict({**self.stored, "_name_or_path": str(self.folder)})
        # what the tensors were found to be, see `building.build_hf`
        config.tie_word_embeddings = self.tie_word_embeddings
        return config


def light_config(stored: Mapping[str, Any], folder: Path) -> LightConfig | None:
    """The config of a plain Llama; None for whatever is not known here to the last setting."""
    rope = stored.get("rope_parameters")
    if not isinstance(rope, Mapping) or set(rope) != {"rope_type", "rope_theta"} or rope["rope_type"] != "default":
        return None
    known = REQUIRED.keys() | FIXED.keys() | IDLE | {"rope_parameters"}
    # `type is`, for True is an int to isinstance
    if not stored.keys() <= known or any(type(stored.get(name)) is not kind for name, kind in REQUIRED.items()):
        return None
    if any(stored.get(name) not in values for name, values in FIXED.items()):
        return None
    sizes = [stored[name] for name, kind in REQUIRED.items() if kind is int]
    if min(sizes) < 1 or stored["hidden_size"] % stored["num_attention_heads"] or type(rope["rope_theta"]) is not float:
        return None
    return LightConfig(
        **{name: stored[name] for name in REQUIRED}, rope_theta=rope["rope_theta"], stored=stored, folder=folder
    )


class LightLlama(nn.Module):
    """The tree of `LlamaForCausalLM`, name by name, with tensors still to be put in; it is not called as a whole."""

    def __init__(self, config: LightConfig) -> None:
        super().__init__()
        self.config = config
        self.model = _Body(config)
        self.lm_head = _Linear(config.hidden_size, config.vocab_size, bias=False)

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of token vectors."""
        return self.model.embed_tokens


class _Linear(nn.Linear):
    def reset_parameters(self) -> None:
        """Draw nothing: the file's tensors are put in place, and the state of torch's generator is the user's."""


class _Embedding(nn.Embedding):
    def reset_parameters(self) -> None:
        """Draw nothing, as above."""


class _Body(nn.Module):
    def __init__(self, config: LightConfig) -> None:
        super().__init__()
        self.embed_tokens = _Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = _RMSNorm(config)
        self.rotary_emb = _Rotary(config)


class _Layer(nn.Module):
    def __init__(self, config: LightConfig) -> None:
        super().__init__()
        self.self_attn = _Attention(config)
        self.mlp = _MLP(config)
        self.input_layernorm = _RMSNorm(config)
        self.post_attention_layernorm = _RMSNorm(config)


class _Attention(nn.Module):
    def __init__(self, config: LightConfig) -> None:
        super().__init__()
        queries, keys = (n * config.head_dim for n in (config.num_attention_heads, config.num_key_value_heads))
        self.q_proj = _Linear(config.hidden_size, queries, bias=False)
        self.k_proj = _Linear(config.hidden_size, keys, bias=False)
        self.v_proj = _Linear(config.hidden_size, keys, bias=False)
        self.o_proj = _Linear(queries, config.hidden_size, bias=False)


class _MLP(nn.Module):
    def __init__(self, config: LightConfig) -> None:
        super().__init__()
        self.gate_proj = _Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = _Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = _Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.act_fn = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class _RMSNorm(nn.Module):
    def __init__(self, config: LightConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.hidden_size))
        self.variance_epsilon = config.rms_norm_eps

    def forward(self, x: Tensor) -> Tensor:
        # in float32, and rounded before the weight is multiplied in, as Hugging Face does
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * wide.to(x.dtype)


class _Rotary(nn.Module):
    inv_freq: Tensor
    rope_type = "default"

    def __init__(self, config: LightConfig) -> None:
        super().__init__()
        steps = torch.arange(0, config.head_dim, 2, dtype=torch.float, device="cpu")
        frequencies = 1.0 / (config.rope_theta ** (steps / config.head_dim))
        # float32 whatever the weights are; Hugging Face keeps a second copy for kinds that change with the length
        self.register_buffer("inv_freq", frequencies, persistent=False)
        self.register_buffer("original_inv_freq", frequencies.clone(), persistent=False)

    @torch.no_grad()
    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        angles = position_ids[..., None].float() * self.inv_freq.to(device=x.device, dtype=torch.float)
        both = torch.cat((angles, angles), dim=-1)
        return both.cos().to(x.dtype), both.sin().to(x.dtype)
