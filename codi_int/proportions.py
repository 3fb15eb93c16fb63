"""The interval of a share, for every package that counts: Wilson's."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def wilson_interval(
    hits: ArrayLike | float | int,
    n: float | int,
    alpha: float = 0.05,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's score interval for a share of `n` trials.

    Args:
        hits: how many of the trials hit; one number or an array of any shape.
        n: trials, at least one; no whole number where dependent ones were deflated to what they are worth.
        alpha: one minus the level of the interval: 0.05 for 95%. (1 - 0.95 is another number in its last digit.)

    Returns:
        lower and upper ends, in the shape of `hits`.

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927) 209-212.
    """
    from scipy.special import ndtri  # scipy.stats has the interval for single numbers only, and takes a second to load

    share = np.asarray(hits, dtype=np.float64) / n
    z = -float(ndtri(alpha / 2))
    denominator = 1 + z**2 / n
    center = (share + z**2 / (2 * n)) / denominator
    reach = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / denominator
    # rounding carries the ends up to 2e-16 beyond 0 and 1; asarray, since numpy makes one number of a 0-d array
    low, high = (center - reach).clip(0.0, 1.0), (center + reach).clip(0.0, 1.0)
    return np.asarray(low), np.asarray(high)
