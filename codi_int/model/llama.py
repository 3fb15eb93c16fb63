"""The block stack of Llama-shaped models: RMSNorm, rotary positions, grouped heads, gated MLP (also Qwen2's)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codi_int.errors import CheckpointError
from codi_int.model.cache import KVCache
from codi_int.model.fused import FusedLlama
from codi_int.model.kernels import kernels_for
from codi_int.model.stack import BlockStack

STATIC_ROTARY = ("default", "linear", "llama3", "yarn")
"""kinds of rotary embedding whose angles do not depend on the length of the text"""


class LlamaStack(BlockStack):
    """Blocks of a Hugging Face `LlamaForCausalLM` or `Qwen2ForCausalLM`."""

    def __init__(self, hf: Any) -> None:
        super().__init__(hf)
        config = hf.config
        self.n_layers, self.d_model = config.num_hidden_layers, config.hidden_size
        self.n_heads = config.num_attention_heads
        self.n_kv_heads = config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or self.d_model // self.n_heads
        self.vocab_size, self.max_positions = config.vocab_size, config.max_position_embeddings
        self._blocks: Any = hf.model.layers
        self._table: tuple[Tensor, Tensor] | None = None
        self._check(config)

    def run_modules_of(self, hf: Any) -> None:
        super().run_modules_of(hf)
        self._blocks = hf.model.layers

    def _check(self, config: Any) -> None:
        kind = getattr(self._rotary_module(), "rope_type", "default")
        if kind not in STATIC_ROTARY:
            known = ", ".join(STATIC_ROTARY)
            raise CheckpointError(f"Rotary embedding {kind!r} is not supported.", f"Supported: {known}.")
        if getattr(config, "use_sliding_window", False):
            raise CheckpointError("Sliding-window attention is not supported.", "Set use_sliding_window to false.")

    def _rotary_module(self) -> Any:
        return self.hf.model.rotary_emb

    def fused(self, x: Tensor) -> FusedLlama | None:
        kernels = kernels_for(x)
        return None if kernels is None else FusedLlama(self, self._blocks, kernels)

    def token_embedding(self) -> nn.Embedding:
        return self.hf.model.embed_tokens  # type: ignore[no-any-return]

    def unembed(self, x: Tensor) -> Tensor:
        return self.hf.lm_head(x)  # type: ignore[no-any-return]

    def _place(self, x: Tensor, positions: Tensor) -> Tensor:
        return x

    def _rotary(self, cache: KVCache, start: int) -> tuple[Tensor, Tensor]:
        cos, sin = self._angles(cache.length)
        if not cache.padded:
            return cos[None, start : cache.length, None], sin[None, start : cache.length, None]
        positions = cache.positions[:, start : cache.length]
        return cos[positions][:, :, None], sin[positions][:, :, None]

    def _angles(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosine and sine [positions, head_dim] of all positions, made once by the model's own module."""
        weight = self.token_embedding().weight
        table = self._table
        if table and len(table[0]) >= length and (table[0].device, table[0].dtype) == (weight.device, weight.dtype):
            return table
        cos, sin = self._rotary_module()(weight, torch.arange(max(length, 256), device=weight.device)[None])
        self._table = (cos[0], sin[0])
        return self._table

    def _qkv(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        attn = self._blocks[layer].self_attn
        # queries have n_heads, keys and values n_kv_heads (grouped-query attention), so only d_head is the same in all
        heads = (*x.shape[:2], -1, self.head_dim)  # "batch token (head d_head) -> batch token head d_head"
        return attn.q_proj(x).reshape(heads), attn.k_proj(x).reshape(heads), attn.v_proj(x).reshape(heads)

    def _rotate(self, q: Tensor, k: Tensor, rotary: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        assert rotary is not None
        return _turned(q, *rotary), _turned(k, *rotary)

    def _scale(self, layer: int) -> float:
        return float(self.head_dim**-0.5)

    def _attn_out(self, layer: int, z: Tensor) -> Tensor:
        return self._blocks[layer].self_attn.o_proj(z)  # type: ignore[no-any-return]

    def _norm_attn(self, layer: int, x: Tensor) -> Tensor:
        return _rms_norm(self._blocks[layer].input_layernorm, x)

    def _norm_mlp(self, layer: int, x: Tensor) -> Tensor:
        return _rms_norm(self._blocks[layer].post_attention_layernorm, x)

    def _mlp(self, layer: int, x: Tensor) -> Tensor:
        return self._blocks[layer].mlp(x)  # type: ignore[no-any-return]

    def _norm_final(self, x: Tensor) -> Tensor:
        return _rms_norm(self.hf.model.norm, x)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    # Hugging Face pairs dimension i with i + d_head / 2 (not with i + 1, as the RoPE paper, arXiv:2104.09864, does)
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat((-right, left), -1) * sin


def _rms_norm(module: Any, x: Tensor) -> Tensor:
    """The module's own norm; in full precision torch's fused one, which does the same in one call."""
    kernels = kernels_for(x)
    if kernels is not None:
        return kernels.add_norm(x, None, module.weight, module.variance_epsilon)[1]  # type: ignore[no-any-return]
    if x.dtype in (torch.float32, torch.float64):
        return F.rms_norm(x, (x.shape[-1],), module.weight, module.variance_epsilon)
    return module(x)  # type: ignore[no-any-return]
