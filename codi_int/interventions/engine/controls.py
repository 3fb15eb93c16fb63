"""Controls: does the same edit on features that should not matter do just as much?

A feature that fires often, or strongly, breaks answers whatever it means. Controls are therefore drawn from the
features that are most like the edited one in how often they fire and in how far removing them moves the residual.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.evidence.controlled import match_controls, nearest_controls
from codi_int.model.resume import SiteChange
from codi_int.notes import warn_caller

POOL_FACTOR = 3
_FLOOR = 1e-6


@dataclass(frozen=True)
class Controls:
    """Which controls a run gets, and how many of each."""

    features: int = 20
    """matched random features that get the same edit"""
    directions: int = 0
    """random directions that move the same problems as far, as controls that know no SAE"""
    neurons: int = 0
    """single coordinates of the residual that are put to their mean on the same problems"""
    covariance: int = 0
    """random directions with the residual's own covariance that move the same problems as far"""
    dimensions: int = 0
    """single coordinates of the residual along which the same problems are moved as far, towards the mean"""
    components: int = 0
    """the residual's first principal components, along which the same problems are moved as far, towards the mean"""
    mean_difference: bool = False
    """whether to move the same problems as far along the difference between the means of those on which the features
    fire and the others"""

    def __post_init__(self) -> None:
        for name in ("features", "directions", "neurons", "covariance", "dimensions", "components"):
            number = getattr(self, name)
            # True is an int to Python, and one control is hardly what was meant by it
            if isinstance(number, bool) or not isinstance(number, Integral):
                raise ConfigError(
                    f"The number of controls is a whole number, got {name}={number!r}.", "Give 20, for example."
                )
            if number < 0:
                raise ConfigError(
                    f"The number of controls cannot be negative, got {number}.", "0 runs without controls."
                )
        if not isinstance(self.mean_difference, bool):
            raise ConfigError(
                f"mean_difference is True or False, got {self.mean_difference!r}.", "Give one of the two."
            )


@dataclass(frozen=True)
class FeatureStats:
    """How often and how strongly each feature fires on the problems of a run."""

    firing_rate: Float[Tensor, " d_sae"]
    """share of problems on which the latent is not zero"""
    edit_size: Float[Tensor, " d_sae"]
    """mean norm of the feature's part of the reconstruction where it fires; 0 where it never does"""

    @property
    def alive(self) -> Bool[Tensor, " d_sae"]:
        """Features that fire at all."""
        return self.firing_rate > 0


def feature_stats(latents: Float[Tensor, "n d_sae"], decoder_norms: Float[Tensor, " d_sae"]) -> FeatureStats:
    """Firing rate and mean edit size of every feature.

    Args:
        latents: of all problems of the run.
        decoder_norms: norm of each feature's decoder row.
    """
    fired = (latents != 0).sum(0)  # [d_sae]
    # |latent| x decoder norm is the length of the feature's own term in the reconstruction; the mean is over the
    # problems on which it fires, for elsewhere an ablation does nothing.
    strength = latents.abs().sum(0) / fired.clamp(min=1)
    return FeatureStats(fired / latents.shape[0], strength * decoder_norms)


def matched_features(
    stats: FeatureStats, features: Sequence[int], draws: int = 20, seed: int = 0
) -> tuple[tuple[int, ...], ...]:
    """Draw control sets: for each edited feature a stand-in that is alive, like it, and itself not edited.

    Stand-ins are drawn at random from the features that fire as often and move the residual as far, within a factor of
    1.5; where these are fewer than `draws`, the nearest of the others follow. Fewer sets come back where the SAE has
    too few living features; none twice.

    Args:
        stats: of the run's problems.
        features: the edited features.
        draws: how many sets to draw.
        seed: of the draw.

    Raises:
        ConfigError: for a negative number of draws.
    """
    check_draws(draws)
    # A dead stand-in would do nothing on every problem and make each effect look special.
    allowed = stats.alive.clone()
    allowed[list(features)] = False
    columns = [_stand_ins(stats, feature, allowed, draws, (seed, i)) for i, feature in enumerate(features)]
    # Two features of a set may draw the same stand-in; such a set would edit fewer features than the one it imitates.
    rows = zip(*columns, strict=False)
    return tuple(row for row in dict.fromkeys(rows) if len(set(row)) == len(row))[:draws]


def as_controls(controls: Controls | int | None, deprecated: Mapping[str, Any] | None = None) -> Controls:
    """The controls of a run as one record, from what its callers may still give.

    Args:
        controls: the record; a number means as many matched random features, None no controls at all.
        deprecated: fields of the record given by themselves: directions, neurons, mean_difference.

    Raises:
        ConfigError: for a negative number, or a field that is given by itself and in a record.
        TypeError: for a name that is no such field.
    """
    record = controls if isinstance(controls, Controls) else Controls(features=0 if controls is None else controls)
    loose = dict(deprecated or {})
    unknown = loose.keys() - {"directions", "neurons", "mean_difference"}
    if unknown:
        raise TypeError(f"run() got an unexpected keyword argument {min(unknown)!r}")
    loose = {name: value for name, value in loose.items() if value is not None}
    if not loose:
        return record
    named = ", ".join(f"{name}={value!r}" for name, value in loose.items())
    if isinstance(controls, Controls):
        raise ConfigError(f"{named} stands beside a record of controls.", "Put it into the record.")
    warn_caller(
        f"{named}: give controls=Controls({named}) instead; the next release takes nothing else.", DeprecationWarning
    )
    return replace(record, **loose)


def check_draws(draws: int) -> None:
    """ConfigError for a negative number of controls."""
    if draws < 0:
        raise ConfigError(f"The number of controls cannot be negative, got {draws}.", "0 runs without controls.")


def _stand_ins(
    stats: FeatureStats, feature: int, allowed: Bool[Tensor, " d_sae"], draws: int, seed: Sequence[int]
) -> list[int]:
    """Up to `draws` features in random order: those within the caliper, and the nearest beyond where these are few."""
    # A control must match in both: one that fires as often but moves a tenth as far proves nothing. What is not allowed
    # does nothing, and lies infinitely far away.
    table = torch.stack([stats.firing_rate, stats.edit_size], 1).double() * allowed[:, None]
    own = (float(stats.firing_rate[feature]), float(stats.edit_size[feature]))
    pairs = [(float(rate), float(size)) for rate, size in table.tolist()]
    chosen = match_controls(own, pairs, draws, seed).chosen
    nearest = [i for i in nearest_controls(own, pairs) if i not in chosen]
    return [*chosen, *nearest[: draws - len(chosen)]]


def random_directions(arm: ArmPlan, draws: int, seed: int = 0) -> tuple[ArmPlan, ...]:
    """Arms that move the same problems as far as `arm` does, each draw along one random direction of its own.

    Args:
        arm: the arm to imitate.
        draws: how many.
        seed: of the directions.

    Raises:
        ConfigError: for a negative number of draws.
    """
    check_draws(draws)
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(draws, arm.delta.shape[1], generator=generator).to(arm.delta.device)
    directions = directions / directions.norm(dim=1, keepdim=True)
    return tuple(_along(arm, f"random direction {i}", direction) for i, direction in enumerate(directions))


def covariance_directions(
    arm: ArmPlan, activations: Float[Tensor, "n d_model"], draws: int, seed: int = 0
) -> tuple[ArmPlan, ...]:
    """As `random_directions`, with the covariance of the residual: along what varies from problem to problem.

    An isotropic direction hardly touches the few dimensions that the model uses; these do.

    Args:
        arm: the arm to imitate.
        activations: at the site, of all problems.
        draws: how many.
        seed: of the directions.
    """
    check_draws(draws)
    x = activations.float() - activations.float().mean(0)
    # a Gaussian mixture of the centred residuals has their covariance. [draws, n] @ [n, d_model]
    mixture = torch.randn(draws, x.shape[0], generator=torch.Generator().manual_seed(seed)).to(x.device)
    return tuple(
        _along(arm, f"covariance direction {i}", direction / direction.norm().clamp(min=_FLOOR))
        for i, direction in enumerate(mixture @ x)
    )


def principal_components(arm: ArmPlan, activations: Float[Tensor, "n d_model"], draws: int) -> tuple[ArmPlan, ...]:
    """Arms that move the same problems as far as `arm` does, along the first principal components, towards the mean."""
    check_draws(draws)
    x = activations.float()
    # [d_model, d_model], rows in falling order of variance; at most as many as there are problems or dimensions
    components = torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:draws]
    return tuple(
        _along(arm, f"principal component {i}", component, _towards_mean(arm, x, component))
        for i, component in enumerate(components, 1)
    )


def single_dimensions(
    arm: ArmPlan, activations: Float[Tensor, "n d_model"], draws: int, seed: int = 0
) -> tuple[ArmPlan, ...]:
    """Arms that move the same problems as far as `arm` does, along single coordinates, towards the mean; none twice."""
    check_draws(draws)
    x = activations.float()
    order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(seed))[:draws]
    axes = torch.eye(x.shape[1], device=x.device)
    return tuple(_along(arm, f"dimension {i}", axes[i], _towards_mean(arm, x, axes[i])) for i in order.tolist())


def _towards_mean(
    arm: ArmPlan, x: Float[Tensor, "n d_model"], direction: Float[Tensor, " d_model"]
) -> Float[Tensor, " m"]:
    """The sign, for each of the arm's rows, that leads towards the mean of all problems."""
    beyond = (x[arm.rows.to(x.device)] - x.mean(0)) @ direction
    return torch.where(beyond >= 0, -1.0, 1.0)


def _along(
    arm: ArmPlan, label: str, direction: Float[Tensor, " d_model"], signs: Float[Tensor, " m"] | None = None
) -> ArmPlan:
    """The arm's problems moved as far as the arm moves each, along one direction of length 1."""
    norms = arm.delta.float().norm(dim=1)
    norms = norms if signs is None else norms * signs
    return ArmPlan(label, arm.rows, (SiteChange(arm.site, norms[:, None] * direction),), arm.edited)


def difference_of_means(
    arm: ArmPlan, activations: Float[Tensor, "n d_model"], latents: Float[Tensor, "n d_sae"], features: Sequence[int]
) -> ArmPlan | None:
    """The plainest baseline: the edit's problems moved as far as the edit moves them, along the difference of means.

    The direction runs from the mean residual of the problems on which none of `features` fires to the mean of those on
    which one does. Each problem of `arm` is moved along it towards the mean of those that do not fire, by the norm of
    its own edit.

    Args:
        arm: the arm to imitate.
        activations: at the site, of all problems.
        latents: of those activations.
        features: the edited features.

    Returns:
        the arm; None where the features fire on every problem or on none, for then there are no two means.
    """
    fires = (latents[:, list(features)] != 0).any(1)
    if bool(fires.all()) or not bool(fires.any()):
        return None
    x = activations.float()
    direction = x[fires].mean(0) - x[~fires].mean(0)
    direction = direction / direction.norm().clamp(min=_FLOOR)
    beyond = (x[arm.rows.to(x.device)] - x[~fires].mean(0)) @ direction
    sign = torch.where(beyond >= 0, -1.0, 1.0)
    return _along(arm, "difference of means", direction, sign)


def single_neurons(
    arm: ArmPlan, activations: Float[Tensor, "n d_model"], draws: int, seed: int = 0
) -> tuple[ArmPlan, ...]:
    """Arms that put single coordinates of the residual to their mean over all problems, on the arm's problems.

    Coordinates are drawn at random from the 3 x `draws` whose edits are nearest in size to the arm's; none twice.

    Args:
        arm: the arm to imitate.
        activations: at the site, of all problems.
        draws: how many; fewer come back where the residual has fewer coordinates.
        seed: of the draw.

    Raises:
        ConfigError: for a negative number of draws.
    """
    check_draws(draws)
    x = activations.float()
    moves = x.mean(0) - x[arm.rows.to(x.device)]
    distance = (_log(moves.abs().mean(0)) - _log(torch.tensor(arm.edit_size))).abs()
    pool = distance.argsort(stable=True)[: POOL_FACTOR * draws]
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))[:draws]
    return tuple(_one_neuron(arm, moves, int(pool[i])) for i in order)


def _one_neuron(arm: ArmPlan, moves: Float[Tensor, "m d_model"], neuron: int) -> ArmPlan:
    delta = torch.zeros_like(moves)
    delta[:, neuron] = moves[:, neuron]
    return ArmPlan(f"neuron {neuron} to its mean", arm.rows, (SiteChange(arm.site, delta),), arm.edited)


def rank_among(effect: float, controls: Sequence[float]) -> float | None:
    """Share of controls that are smaller than the effect in magnitude, ties counting half; None without controls.

    1.0 means that no control did as much. With 20 controls, nothing finer than 1 in 21 can be said.
    """
    if not controls:
        return None
    from scipy.stats import percentileofscore

    # kind="mean" counts ties half: a control that does exactly as much is neither weaker nor stronger. scipy gives
    # percents.
    return float(percentileofscore([abs(value) for value in controls], abs(effect), kind="mean")) / 100.0


def _log(values: Tensor) -> Tensor:
    return values.clamp(min=_FLOOR).log()
