"""Controls that know no SAE: does something plainer, on the same problems and of the same size, do as much?"""

from collections.abc import Sequence

from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.controls import difference_of_means, single_neurons
from codi_int.interventions.engine.planning import draw_directions
from codi_int.interventions.engine.site_context import SiteContext


def baseline_arms(
    context: SiteContext,
    arm: ArmPlan,
    features: Sequence[int],
    directions: int = 0,
    neurons: int = 0,
    mean_difference: bool = False,
    seed: int = 0,
) -> dict[str, tuple[ArmPlan, ...]]:
    """The baselines of one arm, by the names that a result gives them; an arm that touches nothing has none.

    Neurons and the difference of means belong to one site and are left out for an arm that changes several.

    Args:
        context: what surrounds the edit.
        arm: the arm to imitate.
        features: the features that the edit names; without any there is no difference of means.
        directions: how many random directions.
        neurons: how many single coordinates of the residual.
        mean_difference: whether to run the difference of means.
        seed: of the draws.
    """
    # an arm of splice `replace` may move rows and still edit nothing: there is no size to imitate
    if not bool(arm.edited.any()):
        return {}
    # directions imitate every site of the arm; the others below one site only
    found = {"random_directions": draw_directions(arm, directions, seed)}
    if len(arm.changes) == 1:
        found["single_neurons"] = single_neurons(arm, context.activations, neurons, seed)
        if mean_difference and features and context.place.latents is not None:
            plan = difference_of_means(arm, context.activations, context.latents, features)
            found["difference_of_means"] = () if plan is None else (plan,)
    return found
