"""What random draws say: the p-value, and the order statistics that end the interval which belongs to it."""

import math

import numpy as np
from numpy.typing import NDArray


def two_sided_p(
    above: NDArray[np.int64] | np.int64, below: NDArray[np.int64] | np.int64, draws: int
) -> NDArray[np.float64]:
    """2 * min(tail + 1) / (draws + 1), at most 1.

    Args:
        above: draws at least as large as what was observed.
        below: draws at most as large.
        draws: all of them. The observed value counts as one more, so that no p-value is 0.

    Source: B. Phipson and G. Smyth, Statistical Applications in Genetics and Molecular Biology 9 (2010) article 39.
    """
    return np.asarray(np.minimum(2 * (np.minimum(above, below) + 1) / (draws + 1), 1.0))


def interval_place(draws: int, confidence: float) -> int:
    """Which draw from either end, from 0, ends the interval: outside it `two_sided_p` is below 1 - confidence."""
    # p is below the level where at most `place` draws lie beyond. A hair off, for 1 - 0.95 is a hair above 0.05.
    return max(math.ceil((draws + 1) * (1.0 - confidence) / 2 - 1e-9) - 2, 0)
