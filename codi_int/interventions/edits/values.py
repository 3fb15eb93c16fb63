"""Edits that give features a value: within limits, moved by an amount, or another problem's.

`Clamp`, `ClampAtPercentile` and `Steer` act on every problem, also where a feature does not fire and its value is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from codi_int.errors import ConfigError, FeatureError
from codi_int.interventions.edits.basic import check_features
from codi_int.interventions.edits.naming import as_features, as_finite, as_tuple, in_words, set_fields
from codi_int.interventions.edits.sources import check_sources, take_from
from codi_int.numeric import IntsLike, NumberLike


@dataclass(frozen=True)
class Clamp:
    """Keep features within limits; `low == high` sets them."""

    feature: IntsLike
    """one feature or several"""
    low: NumberLike = None
    """least value; None for no limit"""
    high: NumberLike = None
    """greatest value; None for no limit"""

    def __post_init__(self) -> None:
        set_fields(self, feature=as_features(self.feature))
        if self.low is None and self.high is None:
            raise ConfigError("A clamp without limits changes nothing.", "Give low, high or both.")
        if self.low is not None:
            set_fields(self, low=as_finite("lower limit", self.low))
        if self.high is not None:
            set_fields(self, high=as_finite("upper limit", self.high))
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ConfigError(
                f"The lower limit {self.low:g} is above the upper limit {self.high:g}.", "Exchange the two."
            )

    @property
    def features(self) -> tuple[int, ...]:
        """The features that it names."""
        return as_tuple(self.feature)

    @property
    def label(self) -> str:
        """The edit in words."""
        # equal and not both None, which was refused: both limits are set
        if self.low == self.high:
            return f"set {in_words(self.features)} to {self.low:g}"
        if self.low is not None and self.high is not None:
            return f"clamp {in_words(self.features)} from {self.low:g} to {self.high:g}"
        limit = f"at least {self.low:g}" if self.low is not None else f"at most {self.high:g}"
        return f"clamp {in_words(self.features)} to {limit}"

    def edit(self, latents: Float[Tensor, "n d_sae"]) -> Float[Tensor, "n d_sae"]:
        """The latents with the features within the limits; FeatureError where one does not exist."""
        columns = check_features(self.features, latents.shape[1])
        # a copy, for `latents` belong to the clean arm
        out = latents.clone()
        # [n, m]; a limit of None leaves its side open. A silent feature (0) is raised to `low` too.
        out[:, columns] = latents[:, columns].clamp(self.low, self.high)
        return out

    def moved_to(self, features: Sequence[int]) -> "Clamp":
        """The same limits for other features."""
        return replace(self, feature=tuple(features))


@dataclass(frozen=True)
class ClampAtPercentile:
    """Set features, on every problem, to a percentile of the values that they take where they fire.

    A factor does nothing where a feature is silent; this makes it fire everywhere, as strongly as it does by itself. A
    feature that fires with a negative sign on most of these problems is set as far on that side.
    """

    feature: IntsLike
    """one feature or several"""
    percentile: NumberLike = 90.0
    """of the problems of the run on which the feature fires; each feature has its own"""
    kind = "clamp"

    def __post_init__(self) -> None:
        set_fields(self, feature=as_features(self.feature), percentile=as_finite("percentile", self.percentile))
        if not 0.0 <= self.percentile <= 100.0:
            raise ConfigError(f"A percentile lies from 0 to 100, got {self.percentile:g}.", "90 is usual.")

    @property
    def features(self) -> tuple[int, ...]:
        """The features that it names."""
        return as_tuple(self.feature)

    @property
    def mode(self) -> str:
        """`p90`, and its like."""
        return f"p{self.percentile:g}"

    @property
    def label(self) -> str:
        """The edit in words."""
        its = "its" if len(self.features) == 1 else "their"
        return f"set {in_words(self.features)} to {its} {self.mode} where firing"

    def edit(self, latents: Float[Tensor, "n d_sae"]) -> Float[Tensor, "n d_sae"]:
        """The latents with the features set; FeatureError where one does not exist, or fires on no problem."""
        return self.edit_from(latents, latents)

    def edit_from(self, latents: Float[Tensor, "n d_sae"], clean: Float[Tensor, "n d_sae"]) -> Float[Tensor, "n d_sae"]:
        """The same, with percentiles of the clean run's values: another site may have changed what arrives."""
        out = latents.clone()
        for column in check_features(self.features, latents.shape[1]):
            out[:, column] = self._value(clean[:, column], column)
        return out

    def moved_to(self, features: Sequence[int]) -> "ClampAtPercentile":
        """The same percentile of other features."""
        return replace(self, feature=tuple(features))

    def _value(self, values: Float[Tensor, " n"], feature: int) -> float:
        fires = values[values != 0].float()
        if not len(fires):
            raise FeatureError(
                f"Feature {feature} fires on none of the {len(values):,} problems: it has no {self.mode} there.",
                "Give the value that it is to be set to, such as --clamp 2.0, or Clamp(feature, 2.0, 2.0).",
            )
        # the sign in which it fires more often says which way is "strongly"
        sign = 1.0 if 2 * int((fires > 0).sum()) >= len(fires) else -1.0
        return sign * float((sign * fires).quantile(self.percentile / 100.0))


@dataclass(frozen=True)
class Steer:
    """Add to features, which moves the residual along their decoder directions, by the same amount on every problem."""

    feature: IntsLike
    """one feature or several"""
    by: NumberLike
    """what is added to each latent"""

    def __post_init__(self) -> None:
        set_fields(self, feature=as_features(self.feature), by=as_finite("amount", self.by))
        if self.by == 0.0:
            raise ConfigError("Steering by 0 changes nothing.", "Choose another amount.")

    @property
    def features(self) -> tuple[int, ...]:
        """The features that it names."""
        return as_tuple(self.feature)

    @property
    def label(self) -> str:
        """The edit in words."""
        return f"steer {in_words(self.features)} by {self.by:g}"

    def edit(self, latents: Float[Tensor, "n d_sae"]) -> Float[Tensor, "n d_sae"]:
        """The latents with the amount added; FeatureError where a feature does not exist."""
        columns = check_features(self.features, latents.shape[1])
        out = latents.clone()
        # Added in latent space: the decoder is affine, so every residual moves by the same by * W_dec[feature].
        out[:, columns] += self.by
        return out

    def moved_to(self, features: Sequence[int]) -> "Steer":
        """The same amount for other features."""
        return replace(self, feature=tuple(features))


@dataclass(frozen=True)
class Interchange:
    """Give features the values that they have in another problem's clean run."""

    feature: IntsLike
    """one feature or several; None for all latents"""
    sources: tuple[int, ...]
    """for each problem of the run, the row whose values it gets; -1 leaves a problem alone"""

    def __post_init__(self) -> None:
        # None stands for all latents, and an empty tuple of features is what says so to others
        if self.feature is not None:
            set_fields(self, feature=as_features(self.feature))
        object.__setattr__(self, "sources", check_sources(self.sources))

    @property
    def features(self) -> tuple[int, ...]:
        """The features that it names; none where it takes all."""
        return () if self.feature is None else as_tuple(self.feature)

    @property
    def label(self) -> str:
        """The edit in words."""
        what = in_words(self.features) or "all latents"
        return f"{what} of another problem on {sum(source >= 0 for source in self.sources)} problems"

    def edit(self, latents: Float[Tensor, "n d_sae"]) -> Float[Tensor, "n d_sae"]:
        """The latents with values exchanged; an error where a feature or a source does not exist."""
        # one site: what arrives is the clean run, so the sources can be read from it
        return self.edit_from(latents, latents)

    def edit_from(self, latents: Float[Tensor, "n d_sae"], clean: Float[Tensor, "n d_sae"]) -> Float[Tensor, "n d_sae"]:
        """The same, with the new values taken from the clean run: another site may have changed the sources."""
        # all latents [n, d_sae]: no column to check, and a source's whole code replaces the target's
        if self.feature is None:
            return take_from(self.sources, latents, clean)
        columns = check_features(self.features, latents.shape[1])
        out = latents.clone()
        # Both sides [n, m]. Values come from `clean`: at a later site `latents` of a source may carry what an earlier
        # site did to it, and then the pair would no longer be what it says.
        out[:, columns] = take_from(self.sources, latents[:, columns], clean[:, columns])
        return out

    def moved_to(self, features: Sequence[int]) -> "Interchange":
        """The same exchange of other features."""
        return replace(self, feature=tuple(features))
