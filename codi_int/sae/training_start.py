"""How every training run of an SAE begins and ends, and its records: what `train_sae` and `train_many` share.

Both draw the initial weights and the order of rows by these functions from the same generator, which is why a grid
trained in stacks gives the SAEs that training one by one gives.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.sae.base import SAE
from codi_int.sae.config import Provenance
from codi_int.sae.metrics import measure
from codi_int.sae.objectives import OBJECTIVES, Objective
from codi_int.sae.recipe import SAETrainingConfig

MOST_ROWS = 16384
"""rows by which random directions are centred and scaled"""


@dataclass(frozen=True)
class EpochRecord:
    """One point of a training curve."""

    epoch: int
    """counted from 1"""
    k: int | None
    """features kept per row, where the architecture takes k"""
    mse: float
    """mean squared error per entry over the epoch, while the weights moved"""
    l0: float
    """features that fired per row, mean over the epoch"""
    dead_share: float
    """share of features that fired on no row of the epoch"""


@dataclass(frozen=True)
class TrainedSAE:
    """A trained SAE with the way it took."""

    sae: SAE
    """the SAE, gradients off"""
    curve: tuple[EpochRecord, ...]
    """one record per epoch"""


def check_batch(n_rows: int, batch_size: int) -> None:
    """ConfigError where the rows do not fill one batch."""
    if n_rows < batch_size:
        raise ConfigError(
            f"{n_rows} rows are fewer than one batch of {batch_size}.",
            f"Take at least {batch_size} problems (a larger limit), or batch_size <= {n_rows} in the recipe.",
        )


def order_rows(n_rows: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """The order of rows in the next epoch."""
    return torch.randperm(n_rows, generator=generator)


def initial(
    x: Float[Tensor, "n d_in"],
    config: SAETrainingConfig,
    known: Provenance,
    generator: torch.Generator,
    target: Float[Tensor, "n d_out"] | None = None,
) -> Objective:
    """The untrained SAE inside its objective: both layers like `nn.Linear`, decoder rows of unit norm."""
    width = {} if target is None else {"d_out": target.shape[1]}
    objective: Objective = OBJECTIVES[config.architecture](config, x.shape[1], known, **width)
    sae = objective.sae
    # `nn.Linear` draws weights and bias uniformly within 1 / sqrt(fan-in): d_in for the encoder, d_sae for the decoder.
    # Each draw moves the generator, so another order of these lines would give other SAEs for the same seed.
    with torch.no_grad():
        sae.W_enc.uniform_(-(sae.d_in**-0.5), sae.d_in**-0.5, generator=generator)
        for name in ("b_enc", "b_gate", "b_mag"):
            if hasattr(sae, name):
                getattr(sae, name).uniform_(-(sae.d_in**-0.5), sae.d_in**-0.5, generator=generator)
        sae.W_dec.uniform_(-(sae.d_sae**-0.5), sae.d_sae**-0.5, generator=generator)
        sae.W_dec.div_(sae.W_dec.norm(dim=1, keepdim=True))
        # the drawn W_enc is dropped here but was drawn, so that W_dec is the same with and without
        if config.tied_init:
            sae.W_enc.copy_(sae.W_dec.T)
        if config.decoder_bias and config.bias_init == "linear":
            sae.b_dec.uniform_(-(sae.d_sae**-0.5), sae.d_sae**-0.5, generator=generator)
        elif config.decoder_bias and config.bias_init == "mean":
            sae.b_dec.copy_((x if target is None else target).mean(dim=0))
    # drawn on the CPU and moved: a GPU's generator would give other numbers
    sae.to(x.device)
    if config.freeze == "all":
        draw_directions(sae, x)
    for name in config.frozen:
        if hasattr(sae, name):
            sae.get_parameter(name).requires_grad_(False)
    return objective


@torch.no_grad()
def draw_directions(sae: SAE, x: Float[Tensor, "n d_in"]) -> None:
    """Make a dictionary of random directions out of drawn weights, in place; nothing is trained.

    A feature's latent is how far the row lies from the mean of `x` along its direction, and its decoder row is that
    direction, all of one length: the one at which the k largest together rebuild `x` best.
    """
    W_enc, b_enc, x = sae.W_enc, sae.get_parameter("b_enc"), x[:MOST_ROWS]
    directions = sae.W_dec / sae.W_dec.norm(dim=1, keepdim=True)
    W_enc.copy_(directions.T)
    if sae.config.decoder_bias:
        sae.b_dec.copy_(x.mean(dim=0))
    # without it every row would be chosen for by its mean, the same features on all of them
    b_enc.copy_(-(x.mean(dim=0) - (sae.b_dec if sae.config.apply_b_dec_to_input else 0.0)) @ W_enc)
    sae.W_dec.copy_(directions)
    away, rebuilt = x - sae.b_dec, sae(x) - sae.b_dec
    # least squares for the one length; many directions that overlap rebuild too much of x, which makes it short
    sae.W_dec.mul_((away * rebuilt).sum() / rebuilt.square().sum().clamp(min=1e-12))


def prune(sae: SAE, x: Float[Tensor, "n d_in"]) -> SAE:
    """`sae` without the features that fire on no row of x."""
    alive = (measure(sae, x, sae(x) if sae.is_transcoder else None).activation_frequency > 0).nonzero().flatten()
    # fewer features may be left than k asks for
    k = None if sae.config.k is None else min(sae.config.k, len(alive))
    small = type(sae)(replace(sae.config, d_sae=len(alive), k=k))
    for name, tensor in sae.state_dict().items():
        # all but b_dec have an axis of features: the second one in W_enc, else the first
        if name != "b_dec":
            tensor = tensor[:, alive] if name == "W_enc" else tensor[alive]
        small.state_dict()[name].copy_(tensor)
    return small.to(x.device).requires_grad_(False)
