"""False discovery rates of very many exact tests: p-values on a grid of thresholds.

`discrete` knows every value that every test can take, which for tens of thousands of tests with hundreds of values
each is more than a machine holds. Here a p-value is rounded up to the next of a few hundred thresholds. What is rounded
up is a p-value still, and P(rounded p <= t) is known exactly at each threshold t, so the step-down procedure over the
rounded values is that of `discrete_step_down`; it gives away at most one step of the grid, 7%.
"""

import numpy as np
from numpy.typing import NDArray

DECADES, STEPS = 14, 34
"""from 1e-14 to 1, so many thresholds to a factor of ten"""
GRID: NDArray[np.float64] = 10.0 ** (np.arange(-DECADES * STEPS, 1) / STEPS)
"""the thresholds, ascending; the last is 1"""
_SLACK = 1e-9


def to_grid(p_values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The place in `GRID` of the smallest threshold that is not below each p-value."""
    with np.errstate(divide="ignore"):
        places = np.ceil(np.log10(p_values) * STEPS - _SLACK)
    return np.asarray(places.clip(-DECADES * STEPS, 0) + DECADES * STEPS, dtype=np.int64)


def step_down(p_values: NDArray[np.float64], null_sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusted p-values of the step-down procedure: sum over the tests of F(p) / (1 - F(p)), over the rank of p.

    Args:
        p_values: of the family. [m]
        null_sums: sum over the same tests of F / (1 - F) at each threshold of `GRID`; it may be a larger family's.

    Source: S. Doehler, G. Durand and E. Roquain, Electronic Journal of Statistics 12 (2018) 1867-1900, equation (9).
    """
    order = p_values.argsort(kind="stable")
    levels = null_sums[to_grid(p_values[order])] / np.arange(1, p_values.size + 1)
    out = np.empty_like(p_values)
    # step down: rejected only if all smaller ones are
    out[order] = np.maximum.accumulate(levels).clip(max=1.0)
    return out
