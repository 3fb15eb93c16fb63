"""Ridge regression in closed form: one decomposition of the rows gives the weights for every penalty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PENALTIES = 10.0 ** np.arange(-4.0, 4.0)
"""in units of the rows' mean variance times their number: 1 shrinks an average direction by half"""


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe: `x @ weights + offset`."""

    weights: Array
    """[d, outputs]"""
    offset: Array
    """[outputs]"""
    penalty: float
    """in units of `PENALTIES`; for a logistic probe 1 / C"""

    def outputs(self, x: Array) -> Array:
        """One column for each class, or the number. [n, outputs]"""
        return np.asarray(x @ self.weights + self.offset)


class Ridge:
    """The weighted ridge regression of some rows, ready for any penalty.

    Minimises sum_i w_i |y_i - x_i W - b|^2 + penalty * s * |W|^2 with an offset b that is not penalised; s is the mean
    variance of the rows times their number, so that a penalty means the same at every site.

    Source: A. Hoerl and R. Kennard, Technometrics 12 (1970) 55-67.
    """

    def __init__(self, x: Array, y: Array, weights: Array) -> None:
        """
        Args:
            x: rows. [n, d]
            y: outputs. [n, outputs]
            weights: of the rows; their mean is 1. [n]
        """
        total = weights.sum()
        self._x_mean, self._y_mean = weights @ x / total, weights @ y / total
        root = np.sqrt(weights)[:, None]
        rows, out = root * (x - self._x_mean), root * (y - self._y_mean)
        n, d = rows.shape
        # whichever square is smaller: [d, d], or [n, n] where there are more dimensions than rows
        if d <= n:
            values, self._basis = np.linalg.eigh(rows.T @ rows)
            self._projected = self._basis.T @ (rows.T @ out)
        else:
            values, left = np.linalg.eigh(rows @ rows.T)
            length = np.sqrt(values.clip(min=0.0))
            kept = length > 1e-10 * max(float(length.max()), 1e-300)
            values, length, left = values[kept], length[kept], left[:, kept]
            self._basis = rows.T @ left / length
            self._projected = length[:, None] * (left.T @ out)
        self._values = values.clip(min=0.0)
        # rows that are all alike have no variance: any unit will do, for the weights are 0
        self._unit = float(self._values.sum()) / d or 1.0

    def at(self, penalty: float) -> LinearProbe:
        """The probe with this penalty."""
        shrunk = self._projected / (self._values + penalty * self._unit)[:, None]
        weights = self._basis @ shrunk
        return LinearProbe(weights, self._y_mean - self._x_mean @ weights, float(penalty))

    def errors(self, x: Array, y: Array, weights: Array, penalties: Sequence[float] | Array = PENALTIES) -> Array:
        """Weighted squared error on other rows, for every penalty. [penalties]"""
        turned = (x - self._x_mean) @ self._basis
        missing = y - self._y_mean
        scale = [1.0 / (self._values + penalty * self._unit) for penalty in penalties]
        residues = (missing - (turned * one) @ self._projected for one in scale)
        return np.array([float((weights[:, None] * residue**2).sum()) for residue in residues])
