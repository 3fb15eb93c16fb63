"""Many tests at once: p-values adjusted over the family that was tried."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.discrete import (
    Support,
    discrete_step_down,
    discrete_step_up,
    first_critical_value,
    heyse,
    mcnemar_support,
)

METHODS = ("holm", "bh", "discrete-bh", "discrete-bh-step-down", "heyse")
ALIASES = {"benjamini-hochberg": "bh"}


def adjust(
    p_values: Sequence[float | int | None] | NDArray[np.float64],
    method: str = "holm",
    counts: Sequence[Any] | NDArray[Any] | None = None,
    supports: Sequence[Any] | None = None,
) -> list[float | None]:
    """Adjusted p-values in the order given.

    Args:
        p_values: one per test of the family; None for a member that could not be tested, which stays None and does not
            count.
        method: `holm` (no false finding at all, for a handful), `bh` (Benjamini and Hochberg: share of false findings),
            `discrete-bh` (the same for exact tests: Doehler, Durand and Roquain's step-up), `discrete-bh-step-down`,
            `heyse`.
        counts: for the discrete ones: flips (discordant problems) of each exact McNemar test.
        supports: in place of counts: the p-values that each test can give; see `attainable_p_values`.

    Raises:
        ConfigError: for an unknown method, a value outside 0 to 1, a discrete method without counts or supports, or a
            p-value that its count or support cannot give.
    """
    method = ALIASES.get(method, method)
    if method not in METHODS:
        raise ConfigError(f"Unknown adjustment {method!r}.", f"Known: {', '.join(METHODS)}.")
    # A test that was not made cannot be a false finding, so it must not make the others pay.
    tested = [i for i, p in enumerate(p_values) if p is not None]
    values = np.array([p_values[i] for i in tested], dtype=np.float64)
    # written so that NaN is refused too
    if (wrong := values[~((values >= 0.0) & (values <= 1.0))]).size:
        raise ConfigError(
            f"A p-value lies between 0 and 1, got {wrong[0]}.", "Give p-values, or None for a test that was not made."
        )
    out: list[float | None] = [None] * len(p_values)
    if not tested:
        return out
    if method in _CONTINUOUS:
        adjusted = _CONTINUOUS[method](values)
    else:
        known = _read_supports(method, tested, len(p_values), counts, supports)
        adjusted = _DISCRETE[method](_as_attained(values, known), known)
    for i, p_value in zip(tested, adjusted.tolist(), strict=True):
        out[i] = p_value
    return out


def _read_supports(
    method: str,
    tested: Sequence[int],
    n: int,
    counts: Sequence[Any] | NDArray[Any] | None,
    supports: Sequence[Any] | None,
) -> list[Support]:
    """What each test of the family could have given."""
    given = counts if supports is None else supports
    if given is None or (counts is not None and supports is not None):
        raise ConfigError(f"{method} needs the flips of each test or its support.", "Give counts=... or supports=...")
    if len(given) != n:
        raise ConfigError(f"{n} p-values and {len(given)} counts or supports.", "Give one for each p-value.")
    return [_one_support(given[i], counted=supports is None) for i in tested]


def _as_attained(values: NDArray[np.float64], supports: Sequence[Support]) -> NDArray[np.float64]:
    """The p-values with those that were copied with few digits put to the one that the test gives."""
    out = values.copy()
    for i, (value, support) in enumerate(zip(values.tolist(), supports, strict=True)):
        # A hundredth of leeway. Without it 0.0156 in place of 0.015625 would count as smaller than all that seven flips
        # can give, that is as if no test could be so extreme.
        if value < 0.99 * support[0]:
            raise ConfigError(
                f"p = {value:g} is below {support[0]:g}, the smallest that its test can give.",
                "Give the flips or the support of the test that made the p-value.",
            )
        nearest = support[min(int(np.searchsorted(support, 0.99 * value)), len(support) - 1)]
        if abs(nearest - value) <= 0.01 * nearest:
            out[i] = nearest
    return out


def _one_support(given: Any, counted: bool) -> Support:
    if given is None:
        raise ConfigError("A test with a p-value has no count or support.", "Give one for each p-value.")
    if counted:
        count = int(given)
        if count != given or count < 0:
            raise ConfigError(
                f"A count of flips is a whole number from 0, got {given}.", "Give broken plus fixed of each test."
            )
        return np.array(mcnemar_support(count))
    support = np.unique(np.asarray(given, dtype=np.float64))
    if not support.size or not (support[0] > 0.0 and abs(support[-1] - 1.0) < 1e-9):
        raise ConfigError("A support holds p-values above 0 up to 1.", "attainable_p_values gives it for cluster sums.")
    return support


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


def critical_level(
    method: str,
    n_tests: int,
    alpha: float = 0.05,
    supports: Sequence[Any] | None = None,
) -> float:
    """The p-value at or below which a test would be found even if it were the only one of its family.

    Args:
        method: as in `adjust`.
        n_tests: tests of the family.
        alpha: level of the family.
        supports: for the discrete methods: the p-values that each test can give.
    """
    if ALIASES.get(method, method) in _CONTINUOUS:
        return alpha / max(n_tests, 1)
    if supports is None:
        raise ConfigError(f"{method} needs the support of each test.", "Give supports=...")
    return first_critical_value([_one_support(one, counted=False) for one in supports], alpha) if n_tests else alpha


# behind the functions that they name
_CONTINUOUS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "holm": _holm,
    "bh": _benjamini_hochberg,
}
_DISCRETE = {"discrete-bh": discrete_step_up, "discrete-bh-step-down": discrete_step_down, "heyse": heyse}
