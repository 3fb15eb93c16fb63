"""Attribution: what one backward pass says that each feature's ablation would do.

Gradient times activation (attribution patching; Syed et al., arXiv:2310.10348): the change of the clean answer's
log-probability is taken to be linear in the residual. Integrated gradients (Sundararajan et al., arXiv:1703.01365;
Marks et al., arXiv:2403.19647) average the gradient on the way from the residual without any feature to the clean one.
Either is an approximation: it may order a screen, never shorten it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.interventions.engine import FeatureInterventionEngine, Scene
from codi_int.interventions.landing import Landing
from codi_int.model.hooked import CodiModel
from codi_int.model.rollout import Rollout


@dataclass(frozen=True)
class Attribution:
    """What zero ablation of each feature is predicted to do."""

    effects: Float[Tensor, " d_sae"]
    """predicted change of the clean answer's log-probability, mean over problems, nats"""
    absolute: Float[Tensor, " d_sae"]
    """mean over problems of the predicted change's magnitude"""
    steps: int
    """1 for gradient times activation, more for integrated gradients"""

    def order(self) -> tuple[int, ...]:
        """Features by predicted magnitude, strongest first; equal ones by index."""
        return tuple(self.absolute.argsort(descending=True, stable=True).tolist())


def attribute(engine: FeatureInterventionEngine, scene: Scene, steps: int = 1) -> Attribution:
    """Predict the effect of ablating every feature, in `steps` backward passes over the problems.

    Args:
        engine: whose model and roads of propagation.
        scene: the clean pass and the latents at the site.
        steps: 1 for the gradient at the clean residual; more for integrated gradients.

    Raises:
        ConfigError: for less than one step.
    """
    if steps < 1:
        raise ConfigError(f"Attribution needs at least one step, got {steps}.", "1 is gradient times activation.")
    total = torch.zeros_like(scene.activations, dtype=torch.float32)
    features_part = (scene.latents.to(scene.sae.W_dec.dtype) @ scene.sae.W_dec).detach().float()
    for step in range(steps):
        # the middle of each of `steps` equal stretches from "no feature" (share 1 taken away) to the clean residual
        missing = 0.0 if steps == 1 else 1.0 - (step + 0.5) / steps
        total += _gradients(engine.model, scene, -missing * features_part) / steps
    per_pair = -scene.latents.float() * (total @ scene.sae.W_dec.detach().float().T)
    return Attribution(per_pair.mean(0), per_pair.abs().mean(0), steps)


def _gradients(model: CodiModel, scene: Scene, offset: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_model"]:
    """Gradient of each problem's clean answer's log-probability with respect to its residual at the site."""
    out = torch.zeros_like(offset)
    for index, batch in enumerate(scene.clean.batches):
        rows = list(batch.rows)
        delta = offset[rows].clone().requires_grad_(True)
        with torch.enable_grad():
            score = _logprob(model, scene.clean.shelf.at(index), scene.landing, delta)
            out[rows] = torch.autograd.grad(score, delta)[0]
    return out


def _logprob(model: CodiModel, rollout: Rollout, landing: Landing, delta: Tensor) -> Tensor:
    """Summed log-probability of the batch's clean answers with `delta` added at the site."""
    rows = torch.arange(len(rollout.problem_ids), device=delta.device)
    state = landing.enter(model, rollout, rows, delta)
    while state.position < model.n_thoughts:
        state = model.step_thought(state)
    ids, counts = rollout.decoded.ids, rollout.decoded.counts
    logits = model.teacher_force(state, ids[:, :-1]).float()
    chosen = logits.gather(2, ids[..., None])[..., 0] - logits.logsumexp(-1)
    return (chosen * (torch.arange(ids.shape[1], device=ids.device) < counts[:, None])).sum()
