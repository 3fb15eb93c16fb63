"""The TopK SAE (Makhzani and Frey 2013; Gao et al. 2024), by value or by magnitude."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from codi_int.sae.base import SAE
from codi_int.sae.config import SAEConfig
from codi_int.sae.kernels import encode_topk
from codi_int.types import Latents


class TopKSAE(SAE):
    """`f = topk(x @ W_enc + b_enc)`, `x' = f @ W_dec + b_dec`; exactly k features are kept per row."""

    def __init__(self, config: SAEConfig) -> None:
        """All weights zero."""
        super().__init__(config)
        self.b_enc = nn.Parameter(torch.zeros(config.d_sae, dtype=config.torch_dtype))

    @property
    def k(self) -> int:
        """Features kept per row."""
        assert self.config.k is not None
        return self.config.k

    def encode(self, x: Float[Tensor, "n d_in"]) -> Latents:
        """The k kept features of each row, largest first; equal keys go to the lower index."""
        return self.encode_with(x, self.k)

    def encode_with(self, x: Float[Tensor, "n d_in"], k: int) -> Latents:
        """Like `encode`, with another k than the SAE's own."""
        # annealing of k comes through here in training, so that one path encodes both then and later
        kept = encode_topk(
            self.encoder_input(x),
            self.W_enc,
            self.b_enc,
            k=k,
            rule=self.config.rule,
        )
        return Latents(kept.values, kept.indices, self.d_sae)
