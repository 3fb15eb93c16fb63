"""Training one SAE on the activations of one site.

The defaults are the published recipe: TopK by magnitude, Adam 1e-3, batches of 256, 25 epochs, mean squared
error, both layers initialised like `torch.nn.Linear`, decoder rows of unit norm at the start only.
"""

from collections.abc import Callable
from dataclasses import asdict, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.sae.config import Provenance
from codi_int.sae.many import SAEJob, train_many
from codi_int.sae.metrics import check_activations, check_target
from codi_int.sae.objectives import Objective
from codi_int.sae.recipe import SAETrainingConfig
from codi_int.sae.training_start import EpochRecord, TrainedSAE, check_batch, initial, order_rows, prune
from codi_int.types import SiteActivations

ANY_MEMORY = 1e6
"""GiB; a single SAE is not bounded"""


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
    target: Float[Tensor, "m d_out"] | SiteActivations | None = None,
) -> TrainedSAE:
    """Train an SAE; the same seed gives the same bytes on one machine with one thread count.

    Args:
        activations: rows to train on; from `SiteActivations` the site is noted in the provenance.
        config: the recipe.
        provenance: what is known of model and data; site, seed and recipe are filled in.
        on_epoch: called after every epoch.
        target: for architecture `transcoder`: what is to be rebuilt from each row, the same problems at another site.

    Raises:
        ConfigError: fewer rows than one batch; a target without `transcoder`, or that without a target.
        DataError: NaN, inf or constant activations; targets that do not match the rows.
    """
    if (target is not None) != (config.architecture == "transcoder"):
        raise ConfigError(
            f"Architecture {config.architecture!r} {'needs' if target is None else 'takes no'} target.",
            "Give architecture transcoder with the activations that it is to rebuild: target=batch.at(Site(14, 4)).",
        )
    known = provenance or Provenance()
    if isinstance(target, SiteActivations):
        known, target = replace(known, target=target.site), target.values
    if isinstance(activations, SiteActivations):
        known, activations = replace(known, site=activations.site), activations.values
    # autograd here multiplies in the dtype of the weights; narrow operands beside float32 weights only `many` has
    if config.products != "float32":
        return _train_stacked(activations, config, known, on_epoch)
    x = activations.detach().float()
    check_activations(x, least_rows=2)
    check_batch(x.shape[0], config.batch_size)
    if target is not None:
        target = target.detach().float()
        check_target(x, target)
    known = replace(known, seed=config.seed, recipe=asdict(config))
    # on the CPU whatever the device, and drawn from in this order: initial weights, then the order of each epoch
    generator = torch.Generator().manual_seed(config.seed)
    run = _Run(initial(x, config, known, generator, target), target)
    curve = []
    for epoch in range(config.n_epochs):
        curve.append(run.epoch(epoch, x, order_rows(x.shape[0], generator).to(x.device)))
        if on_epoch is not None:
            on_epoch(curve[-1])
    # thresholds are set (`finish`) before features are pruned, since they decide which fire
    sae = run.objective.finish(x).requires_grad_(False)
    return TrainedSAE(prune(sae, x) if config.prune_dead else sae, tuple(curve))


def _train_stacked(
    x: Float[Tensor, "n d_in"],
    config: SAETrainingConfig,
    known: Provenance,
    on_epoch: Callable[[EpochRecord], None] | None,
) -> TrainedSAE:
    """`train_sae` by the trainer of stacks, the one that has other products than float32."""
    callback = None if on_epoch is None else lambda epoch: on_epoch(epoch.records[0])
    return train_many([SAEJob(x, config, known)], memory_gib=ANY_MEMORY, on_epoch=callback)[0]


class _Run:
    """One SAE while it is being trained."""

    def __init__(self, objective: Objective, target: Tensor | None = None) -> None:
        self.objective = objective
        self.target = target
        self.config = objective.config
        # b_dec is frozen without a decoder bias, and the threshold where `finish` sets it
        trainable = [parameter for parameter in objective.sae.parameters() if parameter.requires_grad]
        # None where nothing is trained: torch's Adam takes no empty list
        self.adam = torch.optim.Adam(trainable, lr=self.config.learning_rate, fused=True) if trainable else None

    def epoch(self, epoch: int, x: Tensor, order: Int[Tensor, " n"]) -> EpochRecord:
        """One pass over the rows in this order; one host sync, at its end."""
        k = self.config.k_at(epoch)
        fired = torch.zeros(self.objective.sae.d_sae, dtype=torch.int64, device=x.device)
        total = x.new_zeros((), dtype=torch.float64)
        for rows in torch.split(order, self.config.batch_size):
            loss = self.objective.loss(x[rows], k, None if self.target is None else self.target[rows])
            if self.adam is not None:
                self.adam.zero_grad(set_to_none=True)
                loss.total.backward()
                self.adam.step()
                # constraints after the update, or the step would leave them violated
                self.objective.after_step()
            fired += loss.fired
            # the last batch may be smaller: weighted by rows
            total += loss.mse.double() * rows.numel()
        n = order.numel()
        dead_share = float((fired == 0).double().mean())
        return EpochRecord(
            epoch=epoch + 1,
            k=k,
            mse=float(total) / n,
            l0=float(fired.sum()) / n,
            dead_share=dead_share,
        )
