"""Many tests at once: p-values adjusted over the family that was tried."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codi_int.errors import ConfigError

METHODS = ("holm", "benjamini-hochberg")


def adjust(p_values: Sequence[float | None], method: str = "holm") -> tuple[float | None, ...]:
    """Adjusted p-values in the order given.

    Args:
        p_values: one per test of the family; None for a member that could not be tested, which stays None and does not
            count.
        method: `holm` (no false finding at all, for a handful) or `benjamini-hochberg` (share of false findings, for
            screens).

    Raises:
        ConfigError: for an unknown method or a value outside 0 to 1.
    """
    if method not in METHODS:
        raise ConfigError(f"Unknown adjustment {method!r}.", f"Known: {', '.join(METHODS)}.")
    # A test that was not made cannot be a false finding, so it must not make the others pay.
    tested = [p for p in p_values if p is not None]
    if wrong := [p for p in tested if not 0.0 <= p <= 1.0]:
        raise ConfigError(
            f"A p-value lies between 0 and 1, got {wrong[0]}.", "Give p-values, or None for a test that was not made."
        )
    if not tested:
        return tuple(None for _ in p_values)
    values = np.array(tested, dtype=np.float64)
    # back into the gaps: the iterator gives the tested ones in their order
    adjusted = iter((_holm(values) if method == "holm" else _benjamini_hochberg(values)).tolist())
    return tuple(None if p is None else next(adjusted) for p in p_values)


def _holm(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Step down: the smallest times m, the next times m - 1, never less than the one before.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
    """
    # ascending; `out[order] = ...` below undoes the sort
    order = values.argsort()
    raw = values[order] * np.arange(values.size, 0, -1)
    out = np.empty_like(values)
    # Step down: a test is rejected only if all smaller p-values were, hence the running maximum from the smallest on.
    out[order] = np.maximum.accumulate(raw).clip(max=1.0)
    return out


def _benjamini_hochberg(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Step up: the i-th smallest times m / i, never more than the one behind it.

    Source: Y. Benjamini and Y. Hochberg, Journal of the Royal Statistical Society B 57 (1995) 289-300. scipy's
    `false_discovery_control` is the same but for the last digit, which kept runs hold.
    """
    order = values.argsort()
    # p / (i / m) as statsmodels writes it: p * m / i rounds to another last digit.
    raw = values[order] / (np.arange(1, values.size + 1) / values.size)
    out = np.empty_like(values)
    # Step up: one rejection takes along all smaller p-values, hence the running minimum from the largest back.
    out[order] = np.minimum.accumulate(raw[::-1])[::-1].clip(max=1.0)
    return out
