"""Max-T: family-wise error over features that share their problems, by flipping the signs of whole problems."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.clusters import ClusterLabels, read_clusters

DRAWS = 10_000
_CHUNK = 1_000
_SLACK = 1e-5
"""relative: flips that only renumber equal changes give the same total but for rounding, in float32"""


def max_t(
    changes: ArrayLike,
    clusters: ClusterLabels | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[float | None]:
    """Adjusted p-values that keep the chance of any false finding below the level, whatever the features' dependence.

    A flip turns the signs of a cluster's changes in all features at once, so it keeps what the features have in
    common. The statistic is the sum over clusters divided by the root of the sum of squares, which no flip changes; it
    orders as the t statistic does. p = (1 + flips whose largest statistic is at least as large) / (1 + draws). The
    null is that changes are symmetric about 0. All 2^(clusters - 1) flips are taken where they are no more than
    `draws`.

    Args:
        changes: one row per problem, one column per feature. [n, features]
        clusters: label of each problem's cluster; without them every problem is its own.
        draws: sign flips.
        seed: of the flips.

    Returns:
        one per feature; None where nothing changed, for there is nothing to flip.

    Raises:
        ConfigError: for values that are not finite, or no problem.

    Source: P. Westfall and S. Young, Resampling-Based Multiple Testing (1993), section 2.3; T. Nichols and A. Holmes,
    Human Brain Mapping 15 (2002) 1-25.
    """
    values = np.asarray(changes, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] == 0 or draws < 1:
        raise ConfigError(
            f"max_t takes [n, features] and at least one draw, got {values.shape} and {draws}.",
            "Give one row for each problem.",
        )
    if not np.isfinite(values).all():
        raise ConfigError("A change is not finite: the edited activations have overflowed.", "Make the edit smaller.")
    sums = read_clusters(clusters, values.shape[0]).sums(values)
    # clusters that change nothing and features that nothing changes take no part
    sums = sums[sums.any(1)]
    alive = sums.any(0)
    if not alive.any():
        return [None] * values.shape[1]
    lengths = np.abs(sums[:, alive]).max(0)
    scaled = sums[:, alive] / lengths
    scaled = (scaled / np.sqrt((scaled**2).sum(0))).astype(np.float32)
    observed = np.abs(scaled.sum(0)) * (1 - _SLACK)
    largest = np.concatenate([np.abs(signs @ scaled).max(1) for signs in _signs(scaled.shape[0], draws, seed)])
    largest.sort()
    above = largest.size - np.searchsorted(largest, observed, side="left")
    # the observed signs are one of all patterns, but none of drawn ones
    exact = largest.size != draws
    p_values = above / largest.size if exact else (1 + above) / (1 + draws)
    out: list[float | None] = [None] * values.shape[1]
    for place, p_value in zip(np.flatnonzero(alive).tolist(), p_values.tolist(), strict=True):
        out[place] = p_value
    return out


def _signs(n: int, draws: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Random signs in chunks of [draws, n]; every pattern once, up to a common sign, where these are fewer."""
    if n <= 62 and 2 ** (n - 1) < draws:
        patterns = (np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1
        yield (1 - 2 * patterns).astype(np.float32)
        return
    generator = np.random.default_rng(seed)
    for start in range(0, draws, _CHUNK):
        rows = min(_CHUNK, draws - start)
        bits = np.unpackbits(generator.integers(0, 256, size=(rows, -(-n // 8)), dtype=np.uint8), axis=1, count=n)
        yield bits.astype(np.float32) * 2 - 1
