"""Edits: frozen values that say what becomes of an SAE's latents.

An edit has a `label` and one method, `edit(latents [n, d_sae]) -> [n, d_sae]`, which gets the latents of all problems
of a run at once, in their order, and must not write into them. The engine asks for nothing else, so an object of
your own with these two will do. Edits that also have `features` and `moved_to(features)` get matched random-feature
controls. Edits that take values from other problems' clean runs have `edit_from(latents, clean)` besides, because an
edit at an earlier site may have changed what arrives (`clean` is what would arrive without any edit).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeGuard, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.errors import ConfigError, FeatureError
from codi_int.interventions.edits.adapt import as_edit, no_edit
from codi_int.interventions.edits.naming import as_features, as_finite, as_tuple, in_words, set_fields
from codi_int.numeric import IntLike, IntsLike, NumberLike, as_whole, whole_or_none

MODES = ("zero", "mean", "resample", "set")


@runtime_checkable
class Edit(Protocol):
    """What the engine needs of an edit."""

    @property
    def label(self) -> str:
        """The edit in words."""

    def edit(self, latents: Float[Tensor, "n d_sae"]) -> Float[Tensor, "n d_sae"]:
        """The latents as they should be."""


@runtime_checkable
class MovableEdit(Edit, Protocol):
    """An edit that can be done to other features: what random-feature controls need."""

    @property
    def features(self) -> tuple[int, ...]:
        """The features that it names."""

    def moved_to(self, features: Sequence[int]) -> Edit:
        """The same edit on as many other features."""


@dataclass(frozen=True)
class Ablate:
    """Ablate features: replace them with zero, their mean, another problem's value or a constant."""

    feature: IntsLike
    """one feature or several"""
    mode: str = "zero"
    """`zero`; `mean` over the problems of the run; `resample` from another problem of the run; `set` to `value`"""
    value: NumberLike = 0.0
    """the constant of `set`"""
    seed: IntLike = 0
    """of `resample`"""

    def __post_init__(self) -> None:
        set_fields(self, feature=as_features(self.feature), value=as_finite("value", self.value))
        set_fields(self, seed=as_whole("seed", self.seed))
        if self.mode not in MODES:
            raise ConfigError(f"Ablation mode {self.mode!r} does not exist.", f"Modes: {', '.join(MODES)}.")

    @property
    def features(self) -> tuple[int, ...]:
        """The features that it names."""
        return as_tuple(self.feature)

    @property
    def label(self) -> str:
        """The edit in words."""
        how = {"zero": "", "set": f" to {self.value:g}"}.get(self.mode, f" ({self.mode})")
        return f"ablate {in_words(self.features)}{how}"

    def edit(self, latents: Float[Tensor, "n d_sae"]) -> Float[Tensor, "n d_sae"]:
        """The latents with the features ablated; FeatureError where one does not exist."""
        columns = check_features(self.features, latents.shape[1])
        # a copy, for `latents` belong to the clean arm; columns: [n, m]
        out = latents.clone()
        out[:, columns] = self._substitute(latents[:, columns])
        return out

    def moved_to(self, features: Sequence[int]) -> "Ablate":
        """The same ablation of other features."""
        return replace(self, feature=tuple(features))

    def _substitute(self, chosen: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
        if self.mode == "mean":
            # over all problems, silent ones included: what the feature says of no problem in particular
            return chosen.mean(0, keepdim=True).expand_as(chosen)
        if self.mode == "resample":
            # one order for all columns: a problem gets the features of one other problem, together
            return chosen[derangement(chosen.shape[0], self.seed).to(chosen.device)]
        return torch.full_like(chosen, self.value if self.mode == "set" else 0.0)


@dataclass(frozen=True)
class Amplify:
    """Multiply features by a factor."""

    feature: IntsLike
    """one feature or several"""
    factor: NumberLike
    """2 doubles, 0 ablates, -1 turns the sign"""

    def __post_init__(self) -> None:
        set_fields(self, feature=as_features(self.feature), factor=as_finite("factor", self.factor))
        if self.factor == 1.0:
            raise ConfigError("Factor 1 leaves a feature as it is.", "Choose another factor; 0 ablates the feature.")

    @property
    def features(self) -> tuple[int, ...]:
        """The features that it names."""
        return as_tuple(self.feature)

    @property
    def label(self) -> str:
        """The edit in words."""
        return f"amplify {in_words(self.features)} x {self.factor:g}"

    def edit(self, latents: Float[Tensor, "n d_sae"]) -> Float[Tensor, "n d_sae"]:
        """The latents with the features multiplied; FeatureError where one does not exist."""
        columns = check_features(self.features, latents.shape[1])
        out = latents.clone()
        # columns are distinct (`check_named`), or in-place arithmetic on an index would count only once
        out[:, columns] *= self.factor
        return out

    def moved_to(self, features: Sequence[int]) -> "Amplify":
        """The same amplification of other features."""
        return replace(self, feature=tuple(features))


@dataclass(frozen=True)
class Swap:
    """Exchange the values of two features, or of two sets of features of one size, element by element."""

    a: IntsLike
    """one side"""
    b: IntsLike
    """the other side"""

    def __post_init__(self) -> None:
        set_fields(self, a=as_features(self.a), b=as_features(self.b))
        left, right = as_tuple(self.a), as_tuple(self.b)
        if len(left) != len(right):
            raise ConfigError(
                f"A swap needs two sets of one size, got {len(left)} and {len(right)} features.",
                "Give as many features to swap with as are swapped.",
            )
        if both := sorted(set(left) & set(right)):
            raise ConfigError(f"Feature {both[0]} cannot be swapped with itself.", "Name two different features.")

    @property
    def features(self) -> tuple[int, ...]:
        """Both sides, the first one first."""
        return as_tuple(self.a) + as_tuple(self.b)

    @property
    def label(self) -> str:
        """The edit in words."""
        return f"swap {in_words(as_tuple(self.a))} with {in_words(as_tuple(self.b))}"

    def edit(self, latents: Float[Tensor, "n d_sae"]) -> Float[Tensor, "n d_sae"]:
        """The latents with the two sides exchanged; FeatureError where a feature does not exist."""
        columns = check_features(self.features, latents.shape[1])
        half = len(columns) // 2
        out = latents.clone()
        # [n, 2 * half]; read from `latents`: in `out` the second half would find the first one overwritten
        out[:, columns] = latents[:, columns[half:] + columns[:half]]
        return out

    def moved_to(self, features: Sequence[int]) -> "Swap":
        """The same swap between other features: the first half with the second."""
        half = len(features) // 2
        return Swap(tuple(features[:half]), tuple(features[half:]))


def check_edit(edit: object) -> None:
    """HookError for an object that is no edit, of latents or of the residual."""
    found = as_edit(edit)
    if found.latents is None and found.residual is None:
        raise no_edit(edit)


def can_move(edit: object) -> TypeGuard[MovableEdit]:
    """Whether random-feature controls can be made for an edit: it names features, and all of its parts can move."""
    return as_edit(edit).movable


def check_features(features: Iterable[Any], d_sae: int) -> list[int]:
    """`features` as a list of columns; FeatureError where the SAE has no such feature."""
    columns = [number if (number := whole_or_none(feature)) is not None else feature for feature in features]
    for feature in columns:
        # a negative index would quietly mean a feature from the end
        if isinstance(feature, bool) or not isinstance(feature, int):
            raise FeatureError(f"A feature is a whole number from 0 upwards, got {feature!r}.", "Write 449, say.")
        if not 0 <= feature < d_sae:
            raise FeatureError(
                f"Feature {feature} does not exist: this SAE has features 0 to {d_sae - 1}.",
                "Name one of those, or use a larger SAE.",
            )
    return columns


def derangement(n: int, seed: int) -> Tensor:
    """A seeded order of n rows in which no row keeps its place (a shuffled cycle), so that each gets another's value.

    Raises:
        ConfigError: for a single row, which has no other.
    """
    if n < 2:
        raise ConfigError(
            "Resampling takes values from other problems and needs at least two, got one.", "Give two problems or more."
        )
    # drawn on the CPU, so that every device gets the same order
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    source = torch.empty(n, dtype=torch.long)
    # Row order[i] takes from row order[i - 1]: one cycle through all rows, and a cycle has no fixed point.
    source[order] = order.roll(1)
    return source
