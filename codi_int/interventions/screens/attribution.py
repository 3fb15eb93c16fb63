"""Attribution: what one backward pass says that each feature's ablation would do.

Gradient times activation (attribution patching; Syed et al., arXiv:2310.10348): the change of the clean answer's
log-probability is taken to be linear in the residual. Integrated gradients (Sundararajan et al., arXiv:1703.01365;
Marks et al., arXiv:2403.19647) average the gradient on the way from the residual without any feature to the clean one.
Either is an approximation: it may order a screen, never shorten it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.model.chain import ChainState
from codi_int.model.hooked import CodiModel
from codi_int.model.resume import ResumePoint, SiteChange, remaining_thoughts
from codi_int.model.rollout import Rollout
from codi_int.model.scoring import answer_logprob
from codi_int.types import Site


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


def attribute(engine: FeatureInterventionEngine, context: SiteContext, steps: int = 1) -> Attribution:
    """Predict the effect of ablating every feature, in `steps` backward passes over the problems.

    Args:
        engine: whose model and paths of propagation.
        context: the clean pass and the latents at the site.
        steps: 1 for the gradient at the clean residual; more for integrated gradients.

    Raises:
        ConfigError: for less than one step.
    """
    if steps < 1:
        raise ConfigError(f"Attribution needs at least one step, got {steps}.", "1 is gradient times activation.")
    # [n, d_model]; float32, for bfloat16 gradients of many steps would not add up
    total = torch.zeros_like(context.activations, dtype=torch.float32)
    # [n, d_sae] @ [d_sae, d_model]: the features' part of each residual, without the decoder's bias. The path of
    # integrated gradients runs from x minus this part (no feature fires, the SAE's error stays) to x.
    features_part = (context.latents.to(context.sae.W_dec.dtype) @ context.sae.W_dec).detach().float()
    for step in range(steps):
        # the middle of each of `steps` equal stretches from "no feature" (share 1 taken away) to the clean residual
        missing = 0.0 if steps == 1 else 1.0 - (step + 0.5) / steps
        # the midpoint rule: exact where the gradient is linear along the path
        total += _take_gradients(engine.model, context, -missing * features_part) / steps
    return _sum_parts(context, total, steps)


def attribute_sites(
    engine: FeatureInterventionEngine, contexts: Sequence[SiteContext], steps: int = 1
) -> dict[Site, Attribution]:
    """Predict the effect of ablating every feature of several sites.

    The gradient at every site comes out of one backward pass over the problems, whatever the number of sites.
    Integrated gradients walk a path of each site's own, the other sites being left clean, and take `steps` passes per
    site; so does an engine that cuts one of the two paths.

    Args:
        engine: whose model and paths of propagation.
        contexts: of one clean pass; one for each site.
        steps: as in `attribute`.

    Raises:
        ConfigError: for less than one step.
    """
    # One backward pass gives all sites only where nothing but the clean run is differentiated. A cut path is no such
    # case: what a site may pass on is decided by where the run resumes, and that is one site. Nor are positions that
    # are held behind a site, which are others for every site.
    if steps != 1 or len(contexts) == 1 or engine.propagate != "both" or engine.later != "free":
        return {context.site: attribute(engine, context, steps) for context in contexts}
    found = _take_joint_gradients(engine.model, contexts)
    return {context.site: _sum_parts(context, found[context.site], 1) for context in contexts}


def _sum_parts(context: SiteContext, gradients: Float[Tensor, "n d_model"], steps: int) -> Attribution:
    """What gradients with respect to the residual say of each feature's part of it."""
    # Ablation takes latents[n, i] * W_dec[i] from the residual, so to first order the score changes by -latents[n, i] *
    # (gradient[n] . W_dec[i]). [n, d_model] @ [d_model, d_sae] -> [n, d_sae]
    per_pair = -context.latents.float() * (gradients @ context.sae.W_dec.detach().float().T)
    # magnitudes are averaged apart: a feature that helps one half and hurts the other has a mean near 0 and is strong
    return Attribution(per_pair.mean(0), per_pair.abs().mean(0), steps)


def _take_joint_gradients(model: CodiModel, contexts: Sequence[SiteContext]) -> dict[Site, Float[Tensor, "n d_model"]]:
    """Gradient of each problem's clean answer's log-probability at all sites, from one backward pass per batch."""
    clean = contexts[0].clean
    out = {context.site: torch.zeros_like(context.activations, dtype=torch.float32) for context in contexts}
    for index, batch in enumerate(clean.batches):
        rows, rollout = list(batch.rows), clean.rollouts.at(index)
        # zeros, so that the model runs clean: what is wanted is the gradient with respect to them. One backward pass
        # serves all rows, because the score is a sum over rows and no row reads another
        deltas = {site: found.new_zeros(len(rows), model.d_model).requires_grad_(True) for site, found in out.items()}
        with torch.enable_grad(), model.hooks({site: SiteChange(site, delta).hook() for site, delta in deltas.items()}):
            state = remaining_thoughts(model, _resume_before(model, rollout, list(deltas)))
            score = answer_logprob(model, state, rollout.decoded)
        for site, gradient in zip(deltas, torch.autograd.grad(score, list(deltas.values())), strict=True):
            out[site][rows] = gradient
    return out


def _resume_before(model: CodiModel, rollout: Rollout, sites: Sequence[Site]) -> ChainState:
    """The clean state from which the model reaches every site: after the position before, or after the question."""
    # A thought is fed at the position after the one that made it, so it counts as one later.
    position = min(site.position - (site.component != "thought") for site in sites)
    # -1: a site inside the <bot> pass itself, before which there is only the question
    if position >= 0:
        return rollout.state_at(position)
    return model.prefill(rollout.batch.ids, rollout.batch.mask, rollout.problem_ids)


def _take_gradients(
    model: CodiModel, context: SiteContext, offset: Float[Tensor, "n d_model"]
) -> Float[Tensor, "n d_model"]:
    """Gradient of each problem's clean answer's log-probability with respect to its residual at the site."""
    out = torch.zeros_like(offset)
    for index, batch in enumerate(context.clean.batches):
        rows = list(batch.rows)
        # a leaf of its own for each batch; `offset` must not gather a graph over all of them
        delta = offset[rows].clone().requires_grad_(True)
        with torch.enable_grad(), context.holding(model):
            # Summed over rows: no row reads another, so the gradient of the sum has each row's own gradient in its row.
            score = _score_with(model, context.clean.rollouts.at(index), context.resume_point, delta)
            out[rows] = torch.autograd.grad(score, delta)[0]
    return out


def _score_with(model: CodiModel, rollout: Rollout, resume_point: ResumePoint, delta: Tensor) -> Tensor:
    """Summed log-probability of the batch's clean answers with `delta` added at the site."""
    # all rows of the batch, in its order, once each
    rows = torch.arange(len(rollout.problem_ids), device=delta.device)
    state = resume_point.run_on(model, rollout, rows, [SiteChange(resume_point.site, delta)])
    return answer_logprob(model, state, rollout.decoded)
