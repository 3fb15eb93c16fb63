"""Controls: does the same edit of other features do as much, or something plainer of the same size?"""

from collections.abc import Sequence

from codi_int.interventions.edits.combined import AtSites
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.controls import (
    Controls,
    covariance_directions,
    difference_of_means,
    feature_stats,
    matched_features,
    principal_components,
    single_dimensions,
    single_neurons,
)
from codi_int.interventions.engine.planning import draw_directions
from codi_int.interventions.engine.site_context import SiteContext


def matched_edits(table: AtSites, contexts: Sequence[SiteContext], draws: int, seed: int) -> list[AtSites]:
    """The same edit on random features that fire as often and move the residual as far, drawn at each of its sites."""
    drawn = []
    for at, part in zip(contexts, table.parts, strict=True):
        stats = feature_stats(at.latents, at.sae.W_dec.float().norm(dim=1))
        drawn.append(matched_features(stats, part.features, draws, seed))
    # One control is a stand-in for every feature of every site. Sites may yield fewer sets than asked for, where few
    # features are alive; the shortest list decides (hence strict=False).
    rows = [sum(row, ()) for row in zip(*drawn, strict=False)]
    return [table.moved_to(features) for features in rows]


def baseline_arms(
    context: SiteContext, arm: ArmPlan, features: Sequence[int], asked: Controls, seed: int = 0
) -> dict[str, tuple[ArmPlan, ...]]:
    """The baselines of one arm, by the names that a result gives them; an arm that touches nothing has none.

    All but the random directions belong to one site and are left out for an arm that changes several.

    Args:
        context: what surrounds the edit.
        arm: the arm to imitate.
        features: the features that the edit names; without any there is no difference of means.
        asked: how many of each.
        seed: of the draws.
    """
    # an arm of splice `replace` may move rows and still edit nothing: there is no size to imitate
    if not bool(arm.edited.any()):
        return {}
    # directions imitate every site of the arm; the others below one site only
    found = {"random_directions": draw_directions(arm, asked.directions, seed)}
    if len(arm.changes) == 1:
        x = context.activations
        found["covariance_directions"] = covariance_directions(arm, x, asked.covariance, seed)
        found["principal_components"] = principal_components(arm, x, asked.components)
        found["single_dimensions"] = single_dimensions(arm, x, asked.dimensions, seed)
        found["single_neurons"] = single_neurons(arm, x, asked.neurons, seed)
        if asked.mean_difference and features and context.place.latents is not None:
            plan = difference_of_means(arm, x, context.latents, features)
            found["difference_of_means"] = () if plan is None else (plan,)
    return found
