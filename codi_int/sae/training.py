"""Training one SAE on the activations of one site.

The defaults are the published recipe: TopK by magnitude, Adam 1e-3, batches of 256, 25 epochs, mean squared
error, both layers initialised like `torch.nn.Linear`, decoder rows of unit norm at the start only.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.sae.base import SAE
from codi_int.sae.config import Provenance
from codi_int.sae.metrics import check_activations, measure
from codi_int.sae.objectives import OBJECTIVES, Objective
from codi_int.sae.recipe import SAETrainingConfig
from codi_int.types import SiteActivations

ANY_MEMORY = 1e6
"""GiB; a single SAE is not bounded"""


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


def train_topk(
    activations: Float[Tensor, "n d_in"] | SiteActivations,
    config: SAETrainingConfig,
    provenance: Provenance | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> TrainedSAE:
    """`train_sae` for architecture `topk`; ConfigError for another."""
    if config.architecture != "topk":
        raise ConfigError(f"train_topk trains no {config.architecture!r}.", "Call train_sae.")
    return train_sae(activations, config, provenance, on_epoch)


def train_sae(
    activations: Float[Tensor, "n d_in"] | SiteActivations,
    config: SAETrainingConfig,
    provenance: Provenance | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> TrainedSAE:
    """Train an SAE; the same seed gives the same bytes on one machine with one thread count.

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
        known, activations = replace(known, site=activations.site), activations.values
    if config.products != "float32":
        return _train_stacked(activations, config, known, on_epoch)
    x = activations.detach().float()
    check_activations(x, least_rows=2)
    check_batch(x.shape[0], config.batch_size)
    known = replace(known, seed=config.seed, recipe=asdict(config))
    generator = torch.Generator().manual_seed(config.seed)
    run = _Run(initial(x, config, known, generator))
    curve = []
    for epoch in range(config.epochs):
        curve.append(run.epoch(epoch, x, epoch_order(x.shape[0], generator).to(x.device)))
        if on_epoch is not None:
            on_epoch(curve[-1])
    sae = run.objective.finish(x).requires_grad_(False)
    return TrainedSAE(pruned(sae, x) if config.prune_dead else sae, tuple(curve))


def _train_stacked(
    x: Float[Tensor, "n d_in"],
    config: SAETrainingConfig,
    known: Provenance,
    on_epoch: Callable[[EpochRecord], None] | None,
) -> TrainedSAE:
    """`train_sae` by the trainer of stacks, the one that has other products than float32."""
    from codi_int.sae.many import SAEJob, train_many

    tell = None if on_epoch is None else lambda news: on_epoch(news.records[0])
    return train_many([SAEJob(x, config, known)], memory_gib=ANY_MEMORY, on_epoch=tell)[0]


def check_batch(n_rows: int, batch_size: int) -> None:
    """ConfigError where the rows do not fill one batch."""
    if n_rows < batch_size:
        raise ConfigError(
            f"{n_rows} rows are fewer than one batch of {batch_size}.",
            f"Capture more problems, or give batch_size <= {n_rows}.",
        )


def epoch_order(n_rows: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """The order of rows in the next epoch."""
    return torch.randperm(n_rows, generator=generator)


def initial(
    x: Float[Tensor, "n d_in"], config: SAETrainingConfig, known: Provenance, generator: torch.Generator
) -> Objective:
    """The untrained SAE inside its objective: both layers like `nn.Linear`, decoder rows of unit norm."""
    objective: Objective = OBJECTIVES[config.architecture](config, x.shape[1], known)
    sae = objective.sae
    with torch.no_grad():
        sae.W_enc.uniform_(-(sae.d_in**-0.5), sae.d_in**-0.5, generator=generator)
        for name in ("b_enc", "b_gate", "b_mag"):
            if hasattr(sae, name):
                getattr(sae, name).uniform_(-(sae.d_in**-0.5), sae.d_in**-0.5, generator=generator)
        sae.W_dec.uniform_(-(sae.d_sae**-0.5), sae.d_sae**-0.5, generator=generator)
        sae.W_dec.div_(sae.W_dec.norm(dim=1, keepdim=True))
        if config.tied_init:
            sae.W_enc.copy_(sae.W_dec.T)
        if config.decoder_bias and config.bias_init == "linear":
            sae.b_dec.uniform_(-(sae.d_sae**-0.5), sae.d_sae**-0.5, generator=generator)
        elif config.decoder_bias and config.bias_init == "mean":
            sae.b_dec.copy_(x.mean(dim=0))
    sae.to(x.device)
    return objective


def pruned(sae: SAE, x: Float[Tensor, "n d_in"]) -> SAE:
    """`sae` without the features that fire on no row of x."""
    alive = (measure(sae, x).activation_frequency > 0).nonzero().flatten()
    k = None if sae.config.k is None else min(sae.config.k, len(alive))
    small = type(sae)(replace(sae.config, d_sae=len(alive), k=k))
    for name, tensor in sae.state_dict().items():
        if name != "b_dec":
            tensor = tensor[:, alive] if name == "W_enc" else tensor[alive]
        small.state_dict()[name].copy_(tensor)
    return small.to(x.device).requires_grad_(False)


class _Run:
    """One SAE while it is being trained."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.config = objective.config
        trainable = [parameter for parameter in objective.sae.parameters() if parameter.requires_grad]
        self.adam = torch.optim.Adam(trainable, lr=self.config.learning_rate, fused=True)

    def epoch(self, epoch: int, x: Tensor, order: Int[Tensor, " n"]) -> EpochRecord:
        """One pass over the rows in this order; one host sync, at its end."""
        k = self.config.k_at(epoch)
        fired = torch.zeros(self.objective.sae.d_sae, dtype=torch.int64, device=x.device)
        total = x.new_zeros((), dtype=torch.float64)
        for rows in torch.split(order, self.config.batch_size):
            loss = self.objective.loss(x[rows], k)
            self.adam.zero_grad(set_to_none=True)
            loss.total.backward()
            self.adam.step()
            self.objective.after_step()
            fired += loss.fired
            total += loss.mse.double() * rows.numel()
        n = order.numel()
        dead_share = float((fired == 0).double().mean())
        return EpochRecord(epoch + 1, k, float(total) / n, float(fired.sum()) / n, dead_share)
