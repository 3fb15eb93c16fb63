"""What each architecture minimises. One class for each, with the same three methods.

`loss` gives the value to go down on, `after_step` puts constraints back, `finish` gives the SAE that is kept.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codi_int.sae.base import SAE
from codi_int.sae.config import Provenance, SAEConfig
from codi_int.sae.recipe import SAETrainingConfig
from codi_int.sae.thresholded import GatedSAE, JumpReLUSAE, StandardSAE
from codi_int.sae.topk import TopKSAE
from codi_int.types import Latents

ROWS_FOR_THRESHOLD = 16384


class StepLoss(NamedTuple):
    """One batch."""

    total: Float[Tensor, ""]
    """what is minimised"""
    mse: Float[Tensor, ""]
    """mean squared error per entry of the reconstruction, detached"""
    fired: Int[Tensor, " d_sae"]
    """rows on which each feature fired"""


class Objective(ABC):
    """A module in training and its loss."""

    sae: SAE

    def __init__(self, config: SAETrainingConfig) -> None:
        self.config = config
        self.n_steps = 0

    @abstractmethod
    def loss(
        self, batch: Float[Tensor, "n d_in"], k: int | None, target: Float[Tensor, "n d_out"] | None = None
    ) -> StepLoss:
        """The loss of one batch with this k.

        Args:
            batch: what is read.
            k: features kept, where the architecture takes k.
            target: what a transcoder has to rebuild; None is the batch itself.
        """

    def after_step(self) -> None:
        """Put constraints back after a step of Adam."""
        # by projection after the step, not in the loss; the clamp leaves a zero row zero instead of NaN
        if self.config.decoder_norm == "unit":
            with torch.no_grad():
                self.sae.W_dec.div_(self.sae.W_dec.norm(dim=1, keepdim=True).clamp(min=1e-8))

    def finish(self, x: Float[Tensor, "n d_in"]) -> SAE:
        """The SAE that is kept."""
        return self.sae

    def penalty_weight(self) -> float:
        """Weight of the sparsity penalty at this step, warm-up included."""
        assert self.config.sparsity is not None
        # called exactly once for each loss, so the calls count the steps
        warmup = self.config.sparsity.warmup_steps
        self.n_steps += 1
        return self.config.sparsity.coefficient * min(1.0, self.n_steps / warmup if warmup else 1.0)


def settings(config: SAETrainingConfig, d_in: int, known: Provenance, **more: Any) -> SAEConfig:
    """The SAE's config that a recipe leads to."""
    return SAEConfig(
        d_in=d_in,
        d_sae=config.d_sae,
        apply_b_dec_to_input=config.apply_b_dec_to_input,
        decoder_bias=config.decoder_bias,
        provenance=known,
        **more,
    )


class DeadFeatures:
    """Counts the steps since each feature last fired."""

    def __init__(self, d_sae: int, dead_after: int) -> None:
        self.silent = torch.zeros(d_sae, dtype=torch.int64)
        self.dead_after = dead_after

    def update(self, fired: Int[Tensor, " d_sae"]) -> Bool[Tensor, " d_sae"]:
        """Which features are dead after this step."""
        # without a branch on the data, so that a GPU is not waited for; the first update moves the count to its device
        self.silent = torch.where(fired > 0, 0, self.silent.to(fired.device) + 1)
        return self.silent >= self.dead_after


def aux_loss(
    sae: TopKSAE | JumpReLUSAE, batch: Tensor, residual: Tensor, dead: Bool[Tensor, " d_sae"], aux_k: int, rule: str
) -> Float[Tensor, ""]:
    """How badly the dead features rebuild the residual: mean squared error per entry; 0 while none is dead."""
    # AuxK of Gao et al. 2024: the best aux_k dead features rebuild what the alive ones left over, which gives a
    # gradient to features that TopK would never choose again.
    pre = torch.addmm(sae.b_enc, sae.encoder_input(batch), sae.W_enc)
    rank = (pre.abs() if rule == "abs" else pre).masked_fill(~dead, -torch.inf)
    # with fewer dead than aux_k the rest of the choice is alive features at -inf; their values become 0
    best = rank.topk(aux_k, dim=1)
    values = pre.gather(1, best.indices).masked_fill(best.values == -torch.inf, 0.0)
    values = values if rule == "abs" else values.relu()
    rebuilt = Latents(values, best.indices, sae.d_sae).dense() @ sae.W_dec
    # multiplied, not returned early: `if dead.any()` would make the host wait for the GPU
    return (rebuilt - residual).square().mean() * dead.any()


class TopKObjective(Objective):
    """Mean squared error; for `matryoshka` the sum of it over nested dictionaries (Bussmann et al. 2025)."""

    def __init__(self, config: SAETrainingConfig, d_in: int, known: Provenance) -> None:
        super().__init__(config)
        self.sae: TopKSAE = TopKSAE(settings(config, d_in, known, k=config.k, rule=config.rule))
        self.dead = DeadFeatures(config.d_sae, config.aux.dead_after) if config.aux else None

    def loss(
        self, batch: Float[Tensor, "n d_in"], k: int | None, target: Float[Tensor, "n d_out"] | None = None
    ) -> StepLoss:
        """See the class."""
        target = batch if target is None else target
        latents = self.sae.encode_with(batch, k or self.sae.k)
        residual = target - self.sae.decode(latents)
        total = mse = residual.square().mean()
        # Matryoshka: the k are chosen once among all features, and each prefix has to rebuild x with those of them that
        # it holds. A value times False is 0, so shapes stay and nothing is chosen again. The whole is `total` already.
        for width in self.config.prefixes()[:-1]:
            inner = Latents(latents.values * (latents.indices < width), latents.indices, latents.d_sae)
            total = total + (target - self.sae.decode(inner)).square().mean()
        # kept is not fired: under `relu` a kept feature may have the value 0
        fires = (latents.values != 0).flatten().long()
        fired = torch.zeros(self.sae.d_sae, dtype=torch.int64, device=batch.device)
        fired.index_add_(0, latents.indices.flatten(), fires)
        return StepLoss(total + self.revival(batch, residual, fired), mse.detach(), fired)

    def revival(self, batch: Tensor, residual: Tensor, fired: Tensor) -> Tensor:
        """The weighted auxiliary loss; 0 where it is off."""
        if self.dead is None or self.config.aux is None:
            return residual.new_zeros(())
        # Gao et al. take a power of two close to d_model / 2; the residual is detached, so that the alive features are
        # not drawn to where the dead ones can follow
        aux_k = self.config.aux.k or max(1, min(self.sae.d_in // 2, self.sae.d_sae))
        dead = self.dead.update(fired)
        loss = aux_loss(
            self.sae,
            batch,
            residual=residual.detach(),
            dead=dead,
            aux_k=aux_k,
            rule=self.config.rule,
        )
        return self.config.aux.coefficient * loss


class BatchTopKObjective(Objective):
    """Mean squared error with the k * n largest activations of the whole batch (Bussmann et al. 2024).

    For `transcoder` the error is that of another site's activations (Dunefsky et al. 2024), and d_out their width.
    """

    def __init__(self, config: SAETrainingConfig, d_in: int, known: Provenance, d_out: int | None = None) -> None:
        super().__init__(config)
        self.sae: JumpReLUSAE = JumpReLUSAE(settings(config, d_in, known, architecture="jumprelu", d_out=d_out))
        # trained as a TopK over the batch, kept as a JumpReLU; the threshold is found at the end and not learned
        self.sae.threshold.requires_grad_(False)
        self.dead = DeadFeatures(config.d_sae, config.aux.dead_after) if config.aux else None

    def loss(
        self, batch: Float[Tensor, "n d_in"], k: int | None, target: Float[Tensor, "n d_out"] | None = None
    ) -> StepLoss:
        """See the class."""
        assert k is not None
        acts = self.sae.preactivations(batch).relu()
        kept = acts.detach().flatten().topk(k * batch.shape[0])
        mask = torch.zeros_like(acts).flatten().scatter_(0, kept.indices, 1.0).view_as(acts)
        # rows may keep more or fewer than k: only the mean over the batch is k
        acts = acts * mask
        residual = (batch if target is None else target) - self.sae.decode(acts)
        mse, fired = residual.square().mean(), (acts != 0).sum(dim=0)
        total = mse
        if self.dead is not None and self.config.aux is not None:
            aux_k = self.config.aux.k or max(1, min(self.sae.d_in // 2, self.sae.d_sae))
            dead = self.dead.update(fired)
            total = mse + self.config.aux.coefficient * aux_loss(
                self.sae,
                batch,
                residual=residual.detach(),
                dead=dead,
                aux_k=aux_k,
                rule="relu",
            )
        return StepLoss(total, mse.detach(), fired)

    @torch.no_grad()
    def finish(self, x: Float[Tensor, "n d_in"]) -> SAE:
        """One threshold for all features, halfway between the last activation kept and the first one cut.

        It makes the mean L0 over (at most 16,384) training rows exactly k and the SAE independent of batches.
        """
        assert self.config.k is not None
        acts = self.sae.preactivations(x[:ROWS_FOR_THRESHOLD]).relu().flatten()
        wanted = min(self.config.k * min(x.shape[0], ROWS_FOR_THRESHOLD), acts.numel() - 1)
        # The last kept and the first cut; unless they tie, `pre > threshold` with their middle separates them. (The
        # paper averages the least kept activation over batches instead.)
        border = acts.topk(wanted + 1).values[-2:]
        self.sae.threshold.fill_(float(border.double().mean()))
        return self.sae


class _Step(torch.autograd.Function):
    """`x > threshold` with a rectangle as the derivative (Rajamanoharan et al. 2024b, equation 11)."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        """1 where pre is above the threshold."""
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return (pre > threshold).to(pre)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Nothing for pre, the estimate for the threshold."""
        pre, threshold = ctx.saved_tensors
        # A step has no useful derivative; smoothed over a window of this width, the expected one is the density of
        # pre-activations at the threshold, estimated from those of the batch that fall into the window.
        near = ((pre - threshold).abs() < ctx.bandwidth / 2).to(pre)
        return None, -(near * grads[0]).sum(dim=0) / ctx.bandwidth, None


class _JumpReLU(torch.autograd.Function):
    """`pre * (pre > threshold)` with a rectangle for the threshold (the same paper, equation 12)."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        """Pre-activations above the threshold, 0 elsewhere."""
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return pre * (pre > threshold)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The ordinary gradient for pre, the estimate for the threshold."""
        pre, threshold = ctx.saved_tensors
        # raising the threshold past an entry takes its value away, which there is the threshold itself
        near = ((pre - threshold).abs() < ctx.bandwidth / 2).to(pre)
        grad_threshold = -(threshold / ctx.bandwidth) * (near * grads[0]).sum(dim=0)
        return grads[0] * (pre > threshold), grad_threshold, None


class JumpReLUObjective(Objective):
    """Squared error plus an L0 penalty through straight-through estimators."""

    def __init__(self, config: SAETrainingConfig, d_in: int, known: Provenance) -> None:
        super().__init__(config)
        assert config.sparsity is not None
        self.sparsity = config.sparsity
        self.sae: JumpReLUSAE = JumpReLUSAE(settings(config, d_in, known, architecture="jumprelu"))
        torch.nn.init.constant_(self.sae.threshold, config.sparsity.threshold)

    def loss(
        self, batch: Float[Tensor, "n d_in"], k: int | None, target: Float[Tensor, "n d_out"] | None = None
    ) -> StepLoss:
        """See the class; the penalty is L0, or 2/target * (L0 - target)^2 where a target is set."""
        sae, width = self.sae, self.sparsity.bandwidth
        pre = sae.preactivations(batch)
        # two functions of the same pre-activations: one carries the reconstruction's gradient, the other that of L0
        acts: Tensor = _JumpReLU.apply(pre, sae.threshold, width)  # type: ignore[no-untyped-call]
        steps: Tensor = _Step.apply(pre, sae.threshold, width)  # type: ignore[no-untyped-call]
        l0, wanted = steps.sum(dim=1), self.sparsity.target_l0
        penalty = l0 if wanted is None else 2 / wanted * (l0 - wanted) ** 2
        squared = ((batch if target is None else target) - sae.decode(acts)).square()
        total = squared.sum(dim=1).mean() + self.penalty_weight() * penalty.mean()
        return StepLoss(total, squared.mean().detach(), (acts != 0).sum(dim=0))

    def after_step(self) -> None:
        """Keeps thresholds from going below zero, where negative pre-activations would pass."""
        super().after_step()
        with torch.no_grad():
            self.sae.threshold.clamp_(min=0.0)


class StandardObjective(Objective):
    """Squared error plus L1 of the activations, each weighted by its decoder norm."""

    def __init__(self, config: SAETrainingConfig, d_in: int, known: Provenance) -> None:
        super().__init__(config)
        self.sae: StandardSAE = StandardSAE(settings(config, d_in, known, architecture="standard"))

    def loss(
        self, batch: Float[Tensor, "n d_in"], k: int | None, target: Float[Tensor, "n d_out"] | None = None
    ) -> StepLoss:
        """See the class."""
        acts = self.sae.activations(batch)
        squared = ((batch if target is None else target) - self.sae.decode(acts)).square()
        # weighted by decoder norms, the penalty does not change when a feature's activation shrinks and its row grows
        penalty = (acts * self.sae.W_dec.norm(dim=1)).sum(dim=1).mean()
        total = squared.sum(dim=1).mean() + self.penalty_weight() * penalty
        return StepLoss(total, squared.mean().detach(), (acts != 0).sum(dim=0))


class GatedObjective(Objective):
    """Squared error, L1 of the open gates, and the error of a reconstruction from the gates alone."""

    def __init__(self, config: SAETrainingConfig, d_in: int, known: Provenance) -> None:
        super().__init__(config)
        self.sae: GatedSAE = GatedSAE(settings(config, d_in, known, architecture="gated"))

    def loss(
        self, batch: Float[Tensor, "n d_in"], k: int | None, target: Float[Tensor, "n d_out"] | None = None
    ) -> StepLoss:
        """See the class; as in SAELens, the gates' reconstruction trains the decoder too."""
        sae = self.sae
        acts, gates = sae.activations(batch), sae.gates(batch).relu()
        target = batch if target is None else target
        squared = (target - sae.decode(acts)).square()
        # Only the gates are penalised, so the magnitudes do not shrink. `gate > 0` has no gradient: it is `from_gates`
        # and the penalty that train the gates (Rajamanoharan et al. 2024a, whose decoder is held still in that term).
        penalty = (gates * sae.W_dec.norm(dim=1)).sum(dim=1).mean()
        from_gates = (target - sae.decode(gates)).square().sum(dim=1).mean()
        total = squared.sum(dim=1).mean() + self.penalty_weight() * penalty + from_gates
        return StepLoss(total, squared.mean().detach(), (acts != 0).sum(dim=0))


OBJECTIVES: dict[str, Any] = {
    "topk": TopKObjective,
    "matryoshka": TopKObjective,
    "batchtopk": BatchTopKObjective,
    "transcoder": BatchTopKObjective,
    "jumprelu": JumpReLUObjective,
    "gated": GatedObjective,
    "standard": StandardObjective,
}
