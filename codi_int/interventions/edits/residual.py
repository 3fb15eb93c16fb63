"""Edits of the residual itself: they need no SAE.

A residual edit has a `label` and one method, `edit_residual(activations [n, d_model]) -> [n, d_model]`, which gets the
activations of all problems of a run at once, in their order, and must not write into them. It works at every site,
also at `thought`, where a whole thought can come from another problem. An edit that takes values from other problems'
clean runs has `edit_residual_from(activations, clean)` besides, because an earlier site may have changed what arrives.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.interventions.edits.naming import set_fields
from codi_int.interventions.edits.sources import check_sources, take_from
from codi_int.numeric import as_number


@runtime_checkable
class ResidualEdit(Protocol):
    """What the engine needs of an edit of the residual."""

    @property
    def label(self) -> str:
        """The edit in words."""

    def edit_residual(self, activations: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_model"]:
        """The activations as they should be."""


# eq=False: comparing tensors gives a tensor, and the == of a dataclass would raise on it
@dataclass(frozen=True, eq=False)
class SteerAlong:
    """Add a multiple of one vector to the residual of every problem."""

    vector: Float[Tensor, " d_model"]
    """the direction, also an array of numpy; its length counts"""
    by: float | int = 1.0
    """what the vector is multiplied with"""
    name: str = "a vector"
    """what to call the direction"""
    # no annotation, so a class attribute and no field
    kind = "steer_along"

    def __post_init__(self) -> None:
        vector = torch.as_tensor(self.vector) if isinstance(self.vector, np.ndarray | list | tuple) else self.vector
        set_fields(self, vector=vector, by=as_number("by", self.by))
        if not isinstance(self.vector, Tensor) or self.vector.ndim != 1:
            raise ConfigError("A direction is a tensor [d_model].", "Give one vector of the model's width.")
        if not bool(torch.isfinite(self.vector).all()) or not math.isfinite(self.by):
            raise ConfigError(
                f"The direction and `by` must be finite, got by={self.by}.", "Give numbers other than nan and inf."
            )
        if self.by == 0.0 or not bool(self.vector.any()):
            raise ConfigError("Steering by nothing changes nothing.", "Give a vector and a `by` that are not zero.")

    @property
    def label(self) -> str:
        """The edit in words."""
        return f"steer along {self.name} by {self.by:g}"

    def edit_residual(self, activations: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_model"]:
        """The activations moved; ConfigError where the vector has another width."""
        if self.vector.shape[0] != activations.shape[1]:
            raise ConfigError(
                f"The direction has width {self.vector.shape[0]}, the residual {activations.shape[1]}.",
                "Give one vector of the model's width.",
            )
        # multiplied in the vector's own dtype, rounded to the model's once
        return activations + (self.by * self.vector).to(activations)


@dataclass(frozen=True, eq=False)
class RemoveSubspace:
    """Put what the residual has along some directions to its mean over the problems that the directions come from."""

    basis: Float[Tensor, "k d_model"]
    """orthonormal rows"""
    mean: Float[Tensor, " d_model"]
    """where every problem's activation ends up along them"""
    name: str = "a subspace"
    """what to call it"""
    kind = "remove_subspace"

    def __post_init__(self) -> None:
        gram = self.basis.double() @ self.basis.double().T
        if not torch.allclose(gram, torch.eye(len(gram), dtype=gram.dtype, device=gram.device), atol=1e-4):
            raise ConfigError("The rows of the basis are not orthonormal.", "Take those of a QR decomposition.")

    @property
    def label(self) -> str:
        """The edit in words."""
        return f"without {self.name}"

    def edit_residual(self, activations: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_model"]:
        """The activations, moved along the directions alone; ConfigError where these have another width."""
        if self.basis.shape[1] != activations.shape[1]:
            raise ConfigError(
                f"The directions have width {self.basis.shape[1]}, the residual {activations.shape[1]}.",
                "Give directions of the model's width.",
            )
        basis = self.basis.to(activations.device, torch.float32)
        away = (activations.float() - self.mean.to(activations.device, torch.float32)) @ basis.T  # [n, k]
        return activations - (away @ basis).to(activations)


@dataclass(frozen=True)
class InterchangeResidual:
    """Replace a problem's activation with that of another problem's clean run."""

    sources: tuple[int, ...]
    """for each problem of the run, the row that it is taken from; -1 leaves a problem alone"""
    kind = "interchange_residual"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", check_sources(self.sources))

    @property
    def label(self) -> str:
        """The edit in words."""
        return f"the activation of another problem on {sum(source >= 0 for source in self.sources)} problems"

    def edit_residual(self, activations: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_model"]:
        """The activations with the chosen ones exchanged; ConfigError where the sources do not fit."""
        # one site: what arrives is the clean run
        return self.edit_residual_from(activations, activations)

    def edit_residual_from(
        self, activations: Float[Tensor, "n d_model"], clean: Float[Tensor, "n d_model"]
    ) -> Float[Tensor, "n d_model"]:
        """The same, with the new values taken from the clean run: another site may have changed the sources."""
        return take_from(self.sources, activations, clean)


@dataclass(frozen=True)
class ReplaceByMean:
    """Replace every problem's activation with a constant: the mean over the problems of the run."""

    kind = "replace_by_mean"

    @property
    def label(self) -> str:
        """The edit in words."""
        return "the mean over problems in place of the activation"

    def edit_residual(self, activations: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_model"]:
        """The mean in every row."""
        # The sum of many bfloat16 rows would lose digits, so the mean is taken in float32.
        # [1, d_model] -> [n, d_model], expanded and not copied
        return activations.float().mean(0, keepdim=True).to(activations).expand_as(activations)
