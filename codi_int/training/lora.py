"""LoRA (Hu et al. 2021): a low-rank addition to linear layers that is merged into them in the end."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""layers of a Llama block that get one, as published for CODI"""


class LoRALinear(nn.Module):
    """`layer(x) + alpha / r * x A' B'`, with the layer frozen; B is zero at the start."""

    def __init__(self, layer: nn.Linear, r: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), alpha / r
        draw = torch.randn(r, layer.in_features, generator=generator) / layer.in_features**0.5
        device = layer.weight.device
        self.A = nn.Parameter(draw.to(device))
        self.B = nn.Parameter(torch.zeros(layer.out_features, r, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.layer(x)
        return out + self.scale * nn.functional.linear(nn.functional.linear(x, self.A), self.B)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The layer with the addition in its weight, summed in float32."""
        weight = self.layer.weight
        weight.copy_((weight.float() + self.scale * (self.B.float() @ self.A.float())).to(weight.dtype))
        return self.layer


def add_lora(model: nn.Module, r: int, alpha: float, seed: int) -> None:
    """Freeze a model and put a LoRA around every layer of `TARGETS`."""
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parent, name, layer in list(_layers(model)):
        if name in TARGETS and isinstance(layer, nn.Linear):
            setattr(parent, name, LoRALinear(layer, r, alpha, generator))


def merge_all(model: nn.Module) -> None:
    """Put the plain layers back, with what their LoRA has learnt."""
    for parent, name, layer in list(_layers(model)):
        if isinstance(layer, LoRALinear):
            setattr(parent, name, layer.merged())


def _layers(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Every module with its parent and its name there."""
    for parent in model.modules():
        for name, child in parent.named_children():
            yield parent, name, child
