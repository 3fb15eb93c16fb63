"""SAEs whose number of active features is free: ReLU-L1, JumpReLU and Gated.

Parameter names and formulas are SAELens', so that weights travel both ways.
"""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from codi_int.sae.base import SAE, sparsify
from codi_int.sae.config import SAEConfig
from codi_int.types import Latents


def _vector(config: SAEConfig) -> nn.Parameter:
    """One zero for each feature."""
    return nn.Parameter(torch.zeros(config.d_sae, dtype=config.torch_dtype))


class DenseSAE(SAE):
    """An SAE that computes every feature's activation; subclasses say how."""

    @abstractmethod
    def activations(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_sae"]:
        """Activations with a column for every feature, mostly zero."""

    def encode(self, x: Float[Tensor, "n d_in"]) -> Latents:
        """The features that fire, in ascending order; as many columns as the fullest row needs."""
        return sparsify(self.activations(x))


class StandardSAE(DenseSAE):
    """`f = relu(x @ W_enc + b_enc)`, trained with an L1 penalty (Bricken et al. 2023)."""

    def __init__(self, config: SAEConfig) -> None:
        """All weights zero."""
        super().__init__(config)
        self.b_enc = _vector(config)

    def activations(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_sae"]:
        """See the class."""
        return torch.addmm(self.b_enc, self.encoder_input(x), self.W_enc).relu()


class JumpReLUSAE(DenseSAE):
    """`f = pre * (pre > threshold)` with a threshold for each feature (Rajamanoharan et al. 2024b).

    BatchTopK SAEs (Bussmann et al. 2024) become one after training, with one threshold for all features.
    """

    def __init__(self, config: SAEConfig) -> None:
        """All weights zero."""
        super().__init__(config)
        self.b_enc = _vector(config)
        self.threshold = _vector(config)

    def preactivations(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_sae"]:
        """What is compared with the threshold."""
        return torch.addmm(self.b_enc, self.encoder_input(x), self.W_enc)

    def activations(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_sae"]:
        """See the class; negative pre-activations never pass, whatever the threshold."""
        pre = self.preactivations(x)
        # strict, as in the paper: at the threshold a feature is off
        return pre.relu() * (pre > self.threshold)


class GatedSAE(DenseSAE):
    """One path decides which features fire, another how strongly (Rajamanoharan et al. 2024a).

    `gate = x @ W_enc + b_gate`; `f = (gate > 0) * relu(x @ (W_enc * exp(r_mag)) + b_mag)`
    """

    def __init__(self, config: SAEConfig) -> None:
        """All weights zero."""
        super().__init__(config)
        self.b_gate = _vector(config)
        self.b_mag = _vector(config)
        self.r_mag = _vector(config)

    def gates(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_sae"]:
        """Gate pre-activations; a feature fires where its gate is positive."""
        return torch.addmm(self.b_gate, self.encoder_input(x), self.W_enc)

    def activations(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_sae"]:
        """See the class."""
        # the two paths share their directions and differ in scale and bias: W_mag = W_gate * exp(r_mag), per feature
        magnitude = torch.addmm(self.b_mag, self.encoder_input(x), self.W_enc * self.r_mag.exp()).relu()
        return magnitude * (self.gates(x) > 0)
