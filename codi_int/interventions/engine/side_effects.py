"""What an edit does besides to the answers: how odd a residual it leaves, and how it changes the next thought.

Both are measured against the undisturbed run. The residual is known from the plan, and the thought is made while the
edited rows run, so neither costs a run of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.evidence.distance import RealStates, fit_states
from codi_int.interventions.evidence.mean import estimate_means
from codi_int.interventions.evidence.shares import share_interval
from codi_int.records import Estimate
from codi_int.types import ResidualDistance, SideEffects, Site, Splice, ThoughtChange

TAIL = 0.05
"""share of the problems on either side of the range that is printed"""
Arm = tuple[ArmPlan, ArmScores]
"""an arm and what its rows came to"""


def next_thought(site: Site, n_thoughts: int) -> Site | None:
    """The first thought that a change at a site can reach; None behind the last.

    The thought at position p is made of the state there and fed at p + 1. A site that is itself that thought reaches
    the one after it.
    """
    position = site.position + (site.component == "thought")
    return Site(None, position, "thought") if position < n_thoughts else None


def compare_thoughts(after: Float[Tensor, "m d_model"], before: Float[Tensor, "m d_model"]) -> Float[Tensor, "m 2"]:
    """Cosine of each thought with the one before, and its length as a multiple of that one's."""
    after, before = after.double(), before.double()
    norms = after.norm(dim=1), before.norm(dim=1).clamp(min=torch.finfo(torch.float64).tiny)
    cosine = torch.cosine_similarity(after, before, dim=1)
    return torch.stack([cosine, norms[0] / norms[1]], 1).float()


def measure_side_effects(
    context: SiteContext, arms: Sequence[Arm], n_controls: int, splice: Splice, seed: int
) -> SideEffects | None:
    """What an edit does besides to the answers; None where it touches no problem.

    Args:
        context: where it begins, and on which problems.
        arms: the edit's, the reconstruction's, and first among the others those of matched random features.
        n_controls: how many of these there are.
        splice: with `replace` the edit is measured against the reconstruction, as its effect is.
        seed: of the bootstrap.
    """
    edit, reconstruction, *controls = arms
    touched = edit[0].edited
    if not bool(touched.any()):
        return None
    real = fit_states(context.activations.float().cpu().numpy(), context.clean.clusters)
    measured = _Measured(
        edit=edit,
        baseline=reconstruction if splice == "replace" else None,
        controls=tuple(controls[:n_controls]),
        clusters=context.clean.clusters[touched.numpy()],
        seed=seed,
    )
    return SideEffects(
        n_touched=int(touched.sum()),
        residual=None if real is None else _distance(context, real, measured),
        next_thought=_thought(context, measured),
    )


@dataclass(frozen=True)
class _Measured:
    """Arms that are measured together, each on the problems that it touches."""

    edit: Arm
    baseline: Arm | None
    controls: tuple[Arm, ...]
    clusters: NDArray[np.int64]
    """of the problems that the edit touches"""
    seed: int

    def means(self, columns: Sequence[NDArray[np.float64]]) -> list[Estimate]:
        """The mean of each column over the edit's problems; all columns share their draws."""
        values = np.stack(columns, 1)
        if len(values) > 1 and len(np.unique(self.clusters)) == 1:
            return [Estimate(float(mean), None, None, method="none: a single calculation") for mean in values.mean(0)]
        found = estimate_means(values, clusters=self.clusters, seed=self.seed)
        # that a cosine is not 0 is no question that anybody asks
        return [Estimate(one.value, one.low, one.high, method=one.method) for one in found]


def _distance(context: SiteContext, real: RealStates, measured: _Measured) -> ResidualDistance:
    x = context.activations.float()

    def distances(arm: Arm | None, touched: NDArray[np.bool_]) -> NDArray[np.float64]:
        left = x if arm is None else _left_by(arm[0], x)
        rows = touched.nonzero()[0]
        return real.distance(left.cpu().numpy()[rows], rows)

    def shift(arm: Arm) -> float:
        own = arm[0].edited.numpy()
        return float(np.mean(real.percentile(distances(arm, own)) - real.percentile(distances(measured.baseline, own))))

    touched = measured.edit[0].edited.numpy()
    found = distances(measured.edit, touched)
    before, after = real.percentile(distances(measured.baseline, touched)), real.percentile(found)
    beyond = real.beyond(found)
    share = share_interval(beyond, measured.clusters)
    return ResidualDistance(
        n_real=real.distances.size,
        before=float(np.median(before)),
        after=float(np.median(after)),
        change=measured.means([after - before])[0],
        n_beyond=int(beyond.sum()),
        # the closed form leaves 1e-18 where nothing was hit
        beyond=Estimate(float(beyond.mean()), share.low if beyond.any() else 0.0, share.high, method=share.method),
        controls=_median([shift(arm) for arm in measured.controls if bool(arm[0].edited.any())]),
    )


def _left_by(plan: ArmPlan, activations: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_model"]:
    """The residuals at a plan's first site as the plan leaves them."""
    rows = plan.rows.to(activations.device)
    out = activations.clone()
    out[rows] = plan.changes[0].made(activations[rows])
    return out


def _thought(context: SiteContext, measured: _Measured) -> ThoughtChange | None:
    found = _thoughts(measured.edit, measured.edit[0].edited)
    if found is None:
        return None
    cosine, norm = found
    mean_cosine, mean_norm = measured.means([cosine, norm])
    before = None if measured.baseline is None else _thoughts(measured.baseline, measured.edit[0].edited)
    controls = [own[0].mean() for arm in measured.controls if (own := _thoughts(arm, arm[0].edited)) and len(own[0])]
    low, high = np.quantile(norm, [TAIL, 1.0 - TAIL])
    return ThoughtChange(
        # the thought made at position p is the one read at p + 1, and called by that number
        thought=context.site.position + (context.site.component == "thought") + 1,
        cosine=float(np.median(cosine)),
        cosine_low=float(np.quantile(cosine, TAIL)),
        norm=float(np.median(norm)),
        norm_low=float(low),
        norm_high=float(high),
        mean_cosine=mean_cosine,
        mean_norm=mean_norm,
        before_cosine=1.0 if before is None else float(np.median(before[0])),
        before_norm=1.0 if before is None else float(np.median(before[1])),
        controls=_median(controls),
    )


def _thoughts(arm: Arm, touched: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Cosines and multiples of an arm on some problems: those that it does not run have the undisturbed thought."""
    plan, scores = arm
    if scores.thoughts is None:
        return None
    out = torch.ones(len(touched), 2, dtype=torch.float64)
    out[plan.rows] = scores.thoughts.double()
    cosine, norm = out[touched].T.numpy()
    return cosine, norm


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if len(values) else None
