"""The block stack of GPT-2: LayerNorm, learned positions, one joint projection for queries, keys and values."""

from typing import Any

from einops import rearrange
from torch import Tensor, nn

from codi_int.model.cache import KVCache
from codi_int.model.stack import BlockStack


class GPT2Stack(BlockStack):
    """Blocks of a Hugging Face `GPT2LMHeadModel`."""

    def __init__(self, hf: Any) -> None:
        super().__init__(hf)
        config = hf.config
        self.n_layers, self.d_model = config.n_layer, config.n_embd
        self.n_heads = self.n_kv_heads = config.n_head
        self.head_dim = self.d_model // self.n_heads
        self.vocab_size, self.max_positions = config.vocab_size, config.n_positions
        self._config = config
        self._body: Any = hf.transformer

    def run_modules_of(self, hf: Any) -> None:
        super().run_modules_of(hf)
        self._body = hf.transformer

    def token_embedding(self) -> nn.Embedding:
        return self._body.wte  # type: ignore[no-any-return]

    def unembed(self, x: Tensor) -> Tensor:
        return self.hf.lm_head(x)  # type: ignore[no-any-return]

    def _place(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + self._body.wpe(positions)  # type: ignore[no-any-return]

    def _rotary(self, cache: KVCache, start: int) -> None:
        return None

    def _qkv(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # one Conv1D makes all three, one behind the other: first every head's query, then the keys, then the values
        q, k, v = rearrange(
            self._body.h[layer].attn.c_attn(x),
            "batch token (kind head d_head) -> kind batch token head d_head",
            kind=3,
            d_head=self.head_dim,
        )
        return q, k, v

    def _rotate(self, q: Tensor, k: Tensor, rotary: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        return q, k

    def _scale(self, layer: int) -> float:
        scale = float(self.head_dim**-0.5) if self._config.scale_attn_weights else 1.0
        return scale / (layer + 1) if self._config.scale_attn_by_inverse_layer_idx else scale

    def _attn_out(self, layer: int, z: Tensor) -> Tensor:
        return self._body.h[layer].attn.c_proj(z)  # type: ignore[no-any-return]

    def _norm_attn(self, layer: int, x: Tensor) -> Tensor:
        return self._body.h[layer].ln_1(x)  # type: ignore[no-any-return]

    def _norm_mlp(self, layer: int, x: Tensor) -> Tensor:
        return self._body.h[layer].ln_2(x)  # type: ignore[no-any-return]

    def _mlp(self, layer: int, x: Tensor) -> Tensor:
        mlp = self._body.h[layer].mlp
        return mlp.c_proj(mlp.act(mlp.c_fc(x)))  # type: ignore[no-any-return]

    def _norm_final(self, x: Tensor) -> Tensor:
        return self._body.ln_f(x)  # type: ignore[no-any-return]
