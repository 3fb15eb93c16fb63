"""Does the model use what a probe reads? Its directions are removed, beside others that vary as the residual does."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.data.problems import name_of_problems
from codi_int.interventions.edits.residual import RemoveSubspace
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.evidence.betting import estimate_bounded
from codi_int.interventions.evidence.clusters import read_clusters
from codi_int.interventions.evidence.controlled import compare_with_controls
from codi_int.interventions.evidence.flips import accuracy_by_cluster
from codi_int.interventions.screens.changes import arm_change
from codi_int.model.hooked import CodiModel
from codi_int.probes.records import CausalCheck
from codi_int.probes.ridge import Array, LinearProbe
from codi_int.progress import Progress
from codi_int.types import Problem, Site

RANK_TOLERANCE = 1e-6
"""of the largest singular value: weights of classes add up to nothing, which leaves one direction fewer than classes"""


def remove_directions(
    model: CodiModel,
    problems: Sequence[Problem],
    site: Site,
    probe: LinearProbe,
    fitted: Array,
    *,
    draws: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
) -> CausalCheck:
    """Put the activations at a site to their mean along everything that a probe reads there, and see what is answered.

    Beside it stand random subspaces of as many dimensions, drawn with the covariance of the activations.

    Args:
        model: the model.
        problems: on which; none to which the probe was fitted, if the check is to say anything new.
        site: where the probe reads.
        probe: fitted there.
        fitted: the activations that it was fitted to: their mean and covariance are used. [n, d_model]
        draws: random subspaces.
        seed: of these.
        progress: called with (stage, done, total).

    Raises:
        ConfigError: at a site from which nothing reaches the answer.
    """
    engine = FeatureInterventionEngine(model, {site: None})
    centred = torch.from_numpy(fitted - fitted.mean(0))
    mean = torch.from_numpy(fitted.mean(0))
    own = span_of(torch.from_numpy(probe.weights))
    generator = torch.Generator().manual_seed(seed)
    # a Gaussian mixture of the centred rows has their covariance. [k, n] @ [n, d_model]
    random = [
        span_of((torch.randn(len(own), len(centred), generator=generator, dtype=torch.float64) @ centred).T)
        for _ in range(draws)
    ]
    edits = [RemoveSubspace(basis, mean, "the probe's directions") for basis in (own, *random)]
    context = engine.site_context(problems, site, progress)
    plans = engine.plan_all(context, edits)
    with torch.no_grad():
        scores = engine.score(context, plans, progress)
    pairs = zip(plans, scores, strict=True)
    found, *others = [arm_change(context.clean, plan, score) for plan, score in pairs]
    clusters = found.groups.codes
    accuracy = np.stack([one.accuracy for one in others])
    probability = np.stack([one.probability for one in others if one.probability is not None])
    assert found.probability is not None, "the engine measures probabilities"
    by_probability = compare_with_controls(found.probability, probability, clusters)
    norms = [_mean_norm(edit, context.activations) for edit in edits]
    return CausalCheck(
        site=site,
        data=name_of_problems(problems, None),
        n=len(problems),
        n_clusters=found.groups.sizes.size,
        n_directions=len(own),
        draws=draws,
        n_broken=found.counts.broken,
        n_fixed=found.counts.fixed,
        accuracy=accuracy_by_cluster(found.accuracy, read_clusters(clusters, len(problems))),
        probability=estimate_bounded(found.probability, 1.0, clusters=clusters),
        control_accuracy=float(accuracy.mean()),
        control_probability=float(probability.mean()),
        beyond_accuracy=compare_with_controls(found.accuracy, accuracy, clusters).difference,
        beyond_probability=by_probability.difference,
        rank_p=by_probability.rank_p,
        norm=norms[0],
        control_norm=float(np.mean(norms[1:])),
    )


def span_of(columns: Float[Tensor, "d_model m"]) -> Float[Tensor, "k d_model"]:
    """An orthonormal basis of what some columns span, as rows."""
    left, values, _ = torch.linalg.svd(columns, full_matrices=False)
    kept: Tensor = left[:, values > RANK_TOLERANCE * values.max()].T
    return kept


def _mean_norm(edit: RemoveSubspace, activations: Tensor) -> float:
    return float((edit.edit_residual(activations) - activations).float().norm(dim=1).mean())
