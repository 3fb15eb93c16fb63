"""Many tests at once: p-values adjusted over the family that was tried."""

from collections.abc import Sequence

from codi_int.errors import ConfigError

METHODS = {"holm": "holm", "benjamini-hochberg": "fdr_bh"}


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
    tested = [p for p in p_values if p is not None]
    if wrong := [p for p in tested if not 0.0 <= p <= 1.0]:
        raise ConfigError(f"A p-value lies between 0 and 1, got {wrong[0]}.")
    if not tested:
        return tuple(None for _ in p_values)
    from statsmodels.stats.multitest import multipletests

    adjusted = iter(multipletests(tested, method=METHODS[method])[1].tolist())
    return tuple(None if p is None else next(adjusted) for p in p_values)
