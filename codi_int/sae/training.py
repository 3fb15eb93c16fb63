"""Training one TopK SAE on the activations of one site.

The defaults are the published recipe: Adam 1e-3, batches of 256, 25 epochs, mean squared error, encoder and
decoder initialised like `torch.nn.Linear`, decoder rows of unit norm at initialisation only, no auxiliary loss.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.sae.config import RULES, Provenance, SAEConfig, check_choice, check_count, check_k, check_positive
from codi_int.sae.metrics import check_activations
from codi_int.sae.topk import TopKSAE
from codi_int.types import Latents, SiteActivations

BIAS_INITS = ("linear", "zero", "mean")
DECODER_NORMS = ("init", "unit")


@dataclass(frozen=True)
class SAETrainingConfig:
    """Settings of one training run.

    Raises:
        ConfigError: a setting out of its range.
    """

    d_sae: int
    """number of features"""
    k: int
    """features kept per row (at the end, where k is annealed)"""
    rule: str = "abs"
    """`abs` keeps the largest magnitudes (published), `relu` the largest values"""
    epochs: int = 25
    """passes over the rows"""
    batch_size: int = 256
    """rows per step; the last batch of an epoch may be smaller"""
    learning_rate: float = 1e-3
    """of Adam"""
    seed: int = 0
    """of the initial weights and of the order of rows"""
    decoder_norm: str = "init"
    """`init`: decoder rows have unit norm at the start only (published); `unit`: after every step"""
    decoder_bias: bool = True
    """whether the decoder has a bias"""
    bias_init: str = "linear"
    """decoder bias at the start: like nn.Linear (published), zero, or the mean activation"""
    apply_b_dec_to_input: bool = False
    """whether the decoder bias is subtracted before encoding"""
    k_start: int | None = None
    """annealing: k of the first epoch; it goes to `k` in equal steps over `anneal_epochs`"""
    anneal_epochs: int = 10
    """epochs until k is reached; only with `k_start`"""
    aux_coefficient: float = 0.0
    """weight of the AuxK loss (Gao et al. 2024, A.2; they use 1/32); 0 turns it off (published)"""
    aux_k: int | None = None
    """dead features that AuxK uses per row; None: half of d_in"""
    dead_after: int = 1000
    """steps without firing after which AuxK counts a feature as dead"""

    def __post_init__(self) -> None:
        for name in ("d_sae", "epochs", "batch_size", "anneal_epochs", "dead_after"):
            check_count(name, getattr(self, name))
        check_k(self.k, self.d_sae)
        check_positive("learning_rate", self.learning_rate)
        check_choice("rule", self.rule, RULES)
        check_choice("bias_init", self.bias_init, BIAS_INITS)
        check_choice("decoder_norm", self.decoder_norm, DECODER_NORMS)
        if self.k_start is not None:
            check_k(self.k_start, self.d_sae)
        if self.aux_coefficient < 0:
            raise ConfigError(f"aux_coefficient must not be negative, not {self.aux_coefficient}.", "Give 0 or 1/32.")
        if self.aux_k is not None:
            check_k(self.aux_k, self.d_sae)

    def k_at(self, epoch: int) -> int:
        """k of the epoch with this number, counted from 0."""
        if self.k_start is None or epoch >= self.anneal_epochs:
            return self.k
        return round(self.k_start + (self.k - self.k_start) * epoch / self.anneal_epochs)


@dataclass(frozen=True)
class EpochRecord:
    """One point of a training curve."""

    epoch: int
    """counted from 1"""
    k: int
    """features kept per row"""
    mse: float
    """mean squared error per entry over the epoch, while the weights moved"""
    dead_share: float
    """share of features that fired on no row of the epoch"""


@dataclass(frozen=True)
class TrainedSAE:
    """A trained SAE with the way it took."""

    sae: TopKSAE
    """the SAE, gradients off"""
    curve: tuple[EpochRecord, ...]
    """one record per epoch"""


def train_topk(
    activations: Float[Tensor, "n d_in"] | SiteActivations,
    config: SAETrainingConfig,
    provenance: Provenance | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> TrainedSAE:
    """Train a TopK SAE; the same seed gives the same bytes on one machine with one thread count.

    Args:
        activations: rows to train on; from `SiteActivations` the site is noted in the provenance.
        config: the recipe.
        provenance: what is known of model and data; site, seed and recipe are filled in.
        on_epoch: called after every epoch.

    Raises:
        ConfigError: fewer rows than one batch.
        DataError: NaN, inf or constant activations.
    """
    known = provenance or Provenance()
    if isinstance(activations, SiteActivations):
        known = replace(known, site=activations.site)
        activations = activations.values
    x = activations.detach().float()
    check_activations(x, least_rows=2)
    if x.shape[0] < config.batch_size:
        raise ConfigError(
            f"{x.shape[0]} rows are fewer than one batch of {config.batch_size}.",
            f"Capture more problems, or give batch_size <= {x.shape[0]}.",
        )
    known = replace(known, seed=config.seed, recipe=asdict(config))
    generator = torch.Generator().manual_seed(config.seed)
    run = _Run(initial_topk(x, config, known, generator), config)
    curve = []
    for epoch in range(config.epochs):
        order = torch.randperm(x.shape[0], generator=generator).to(x.device)
        curve.append(run.epoch(epoch, x, order))
        if on_epoch is not None:
            on_epoch(curve[-1])
    return TrainedSAE(run.sae.requires_grad_(False), tuple(curve))


def initial_topk(
    x: Float[Tensor, "n d_in"], config: SAETrainingConfig, provenance: Provenance, generator: torch.Generator
) -> TopKSAE:
    """The untrained SAE: both layers like `nn.Linear`, decoder rows of unit norm."""
    sae = TopKSAE(
        SAEConfig(
            d_in=x.shape[1],
            d_sae=config.d_sae,
            k=config.k,
            rule=config.rule,
            apply_b_dec_to_input=config.apply_b_dec_to_input,
            decoder_bias=config.decoder_bias,
            provenance=provenance,
        )
    )
    with torch.no_grad():
        for tensor, fan_in in ((sae.W_enc, sae.d_in), (sae.b_enc, sae.d_in), (sae.W_dec, sae.d_sae)):
            tensor.uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)
        sae.W_dec.div_(sae.W_dec.norm(dim=1, keepdim=True))
        if config.decoder_bias and config.bias_init == "linear":
            sae.b_dec.uniform_(-(sae.d_sae**-0.5), sae.d_sae**-0.5, generator=generator)
        elif config.decoder_bias and config.bias_init == "mean":
            sae.b_dec.copy_(x.mean(dim=0))
    return sae.to(x.device)


class _Run:
    """One SAE while it is being trained."""

    def __init__(self, sae: TopKSAE, config: SAETrainingConfig) -> None:
        self.sae = sae
        self.config = config
        trainable = [parameter for parameter in sae.parameters() if parameter.requires_grad]
        self.adam = torch.optim.Adam(trainable, lr=config.learning_rate, fused=True)
        self.steps_silent = torch.zeros(sae.d_sae, dtype=torch.int64, device=sae.W_dec.device)

    def epoch(self, epoch: int, x: Tensor, order: Int[Tensor, " n"]) -> EpochRecord:
        """One pass over the rows in this order; one host sync, at its end."""
        k = self.config.k_at(epoch)
        fired = torch.zeros_like(self.steps_silent)
        total = x.new_zeros((), dtype=torch.float64)
        for rows in torch.split(order, self.config.batch_size):
            latents, loss = self.step(x[rows], k)
            fired.index_add_(0, latents.indices.flatten(), (latents.values != 0).flatten().long())
            total += loss.double() * rows.numel()
        return EpochRecord(epoch + 1, k, float(total) / order.numel(), float((fired == 0).double().mean()))

    def step(self, batch: Float[Tensor, "n d_in"], k: int) -> tuple[Latents, Tensor]:
        """One step of Adam; the batch's latents and mean squared error, detached."""
        sae = self.sae
        latents = sae.encode_with(batch, k)
        residual = batch - sae.decode(latents)
        loss = mse = residual.square().mean()
        if self.config.aux_coefficient:
            loss = loss + self.config.aux_coefficient * self.aux_loss(batch, residual.detach(), latents)
        self.adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        if self.config.decoder_norm == "unit":
            with torch.no_grad():
                sae.W_dec.div_(sae.W_dec.norm(dim=1, keepdim=True).clamp(min=1e-8))
        return Latents(latents.values.detach(), latents.indices, latents.d_sae), mse.detach()

    def aux_loss(self, batch: Tensor, residual: Tensor, latents: Latents) -> Tensor:
        """How badly the features that are dead by now rebuild the residual (Gao et al. 2024, equation A.2)."""
        fires = torch.zeros_like(self.steps_silent).index_add_(
            0, latents.indices.flatten(), (latents.values != 0).flatten().long()
        )
        self.steps_silent = torch.where(fires > 0, 0, self.steps_silent + 1)
        dead = self.steps_silent >= self.config.dead_after
        sae = self.sae
        pre = torch.addmm(sae.b_enc, sae.encoder_input(batch), sae.W_enc)
        rank = (pre.abs() if self.config.rule == "abs" else pre).masked_fill(~dead, -torch.inf)
        aux_k = self.config.aux_k or max(1, min(sae.d_in // 2, sae.d_sae))
        best = rank.topk(aux_k, dim=1)
        values = pre.gather(1, best.indices).masked_fill(best.values == -torch.inf, 0.0)
        values = values if self.config.rule == "abs" else values.relu()
        rebuilt = Latents(values, best.indices, sae.d_sae).dense() @ sae.W_dec
        return (rebuilt - residual).square().mean()
