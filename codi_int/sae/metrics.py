"""How good an SAE is on some activations: reconstruction, sparsity, dead features."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.errors import DataError
from codi_int.sae.base import SAE
from codi_int.types import Latents

ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class SAEMetrics:
    """Measures of one SAE on one set of activations; everything in the activations' own units."""

    n_rows: int
    """rows that were measured"""
    explained_variance: float
    """1 - var(residual) / var(x) over all entries about one common mean; the published definition"""
    explained_variance_per_dimension: float
    """1 - sum_d var(residual_d) / sum_d var(x_d), each dimension about its own mean; the stricter one"""
    mse: float
    """mean squared error per entry"""
    l0: float
    """non-zero features per row, mean"""
    dead_share: float
    """share of features that fire on none of these rows"""
    mean_activation: float
    """mean magnitude of the non-zero activations"""
    max_activation: float
    """largest magnitude"""
    activation_frequency: Float[Tensor, " d_sae"]
    """for each feature the share of rows on which it fires"""

    @property
    def n_alive(self) -> int:
        """Features that fire at least once."""
        return int((self.activation_frequency > 0).sum())

    def summary(self) -> dict[str, float]:
        """All measures that are one number, by name."""
        return {name: float(value) for name, value in vars(self).items() if not isinstance(value, Tensor)}


@torch.no_grad()
def measure(
    sae: SAE, activations: Float[Tensor, "n d_in"], target: Float[Tensor, "m d_out"] | None = None
) -> SAEMetrics:
    """Measure `sae` on `activations`.

    Args:
        sae: the SAE or transcoder.
        activations: what it reads.
        target: what a transcoder has to rebuild, row by row; None for an SAE, which rebuilds what it reads.

    Raises:
        DataError: fewer than two rows, NaN or inf, no variance at all, or targets that do not match the rows.
    """
    check_activations(activations, least_rows=2)
    if target is not None:
        check_target(activations, target)
    wanted = activations if target is None else target
    # in chunks: the pre-activations [n, d_sae] of all rows at once would be the largest tensor
    residual, latents = torch.empty_like(wanted), _Firing(sae.d_sae)
    for start in range(0, activations.shape[0], ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        found = sae.encode(activations[rows])
        residual[rows] = wanted[rows] - sae.decode(found).to(wanted.dtype)
        latents.add(found)
    n_rows, fired = activations.shape[0], latents.rows_fired
    return SAEMetrics(
        n_rows=n_rows,
        explained_variance=explained_variance(wanted, residual),
        explained_variance_per_dimension=explained_variance_per_dimension(wanted, residual),
        mse=float(residual.double().square().mean()),
        l0=float(fired.sum()) / n_rows,
        dead_share=float((fired == 0).double().mean()),
        mean_activation=latents.magnitude / max(float(fired.sum()), 1.0),
        max_activation=latents.largest,
        activation_frequency=(fired / n_rows).float(),
    )


def explained_variance(x: Float[Tensor, "n d_in"], residual: Float[Tensor, "n d_in"]) -> float:
    """1 - var(residual) / var(x), each taken over all entries at once."""
    return 1.0 - float((residual.double().var() / x.double().var()).detach())


def explained_variance_per_dimension(x: Float[Tensor, "n d_in"], residual: Float[Tensor, "n d_in"]) -> float:
    """1 - sum_d var(residual_d) / sum_d var(x_d): one minus the fraction of variance unexplained."""
    return 1.0 - float(residual.double().var(dim=0).sum() / x.double().var(dim=0).sum())


def check_activations(activations: Tensor, least_rows: int) -> None:
    """DataError unless `activations` is [n, d] with n >= least_rows, finite, and not constant."""
    if activations.ndim != 2 or activations.shape[0] < least_rows:
        raise DataError(
            f"Activations of shape {list(activations.shape)} were given; at least {least_rows} rows [n, d] are needed.",
            "Capture more problems, or take a smaller batch.",
        )
    # aminmax hands NaN on, so two numbers tell of all entries without a mask as large as the rows
    if not all(torch.isfinite(extreme) for extreme in activations.aminmax()):
        raise DataError("The activations contain NaN or inf.", "Capture them again; 16 bit may have overflowed.")
    if not bool((activations != activations[0]).any()):
        raise DataError("The activations are constant: every row is the same.", "Check site and data of the capture.")


def check_target(activations: Tensor, target: Tensor) -> None:
    """DataError unless `target` has a row for each of `activations`, finite, and not all alike."""
    check_activations(target, least_rows=2)
    if target.shape[0] != activations.shape[0]:
        raise DataError(
            f"{activations.shape[0]} rows are read and {target.shape[0]} are to be rebuilt.",
            "Give the activations of the same problems at both sites, in one order.",
        )


class _Firing:
    """Running sums over latents."""

    def __init__(self, d_sae: int) -> None:
        self.rows_fired = torch.zeros(d_sae, dtype=torch.float64)
        self.magnitude = 0.0
        self.largest = 0.0

    def add(self, latents: Latents) -> None:
        """Count one chunk of rows."""
        # `relu` fills its k with zeros where fewer are positive, and `abs` fires below zero too
        fires = (latents.values != 0).cpu()
        self.rows_fired += torch.bincount(latents.indices.cpu()[fires], minlength=latents.d_sae)
        self.magnitude += float(latents.values.abs().double().sum())
        if latents.values.numel():
            self.largest = max(self.largest, float(latents.values.abs().max()))
