"""False discovery rates of discrete tests: exact p-values that can take few values, most of them large.

An exact McNemar test of two flips gives 0.5 or 1 and nothing else, so in a family of hundreds of such tests next to
none can ever be a false discovery. Benjamini and Hochberg's procedure charges for all of them; these do not. Every
p-value comes with its support, the values that it can take; under the null P(p <= t) is then the largest of them that
is not above t.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codi_int.interventions.evidence.flips import attainable_p_values

Support = NDArray[np.float64]
_SLACK = 1e-9
"""relative: p-values that different sums of the same probabilities give are one"""


@lru_cache(maxsize=4096)
def mcnemar_support(discordant: int) -> tuple[float, ...]:
    """The p-values that an exact McNemar test of so many flips can give, ascending; the last is 1."""
    return tuple(attainable_p_values(np.ones(discordant)).tolist())


@dataclass(frozen=True)
class _Family:
    """A family's p-values and what each test could have given."""

    p_values: NDArray[np.float64]
    """ascending. [m]"""
    thresholds: NDArray[np.float64]
    """every value that any of them can take below 1, and the p-values themselves, ascending. [a]"""
    kinds: NDArray[np.float64]
    """null probability P(p <= threshold) of each distinct support. [kinds, a]"""
    numbers: NDArray[np.int64]
    """tests that have each support. [kinds]"""

    def transformed(self, at: int) -> NDArray[np.float64]:
        """Sum over the tests of P(p <= t) / (1 - P(p <= thresholds[at])), for every threshold t. [a]"""
        left = 1.0 - self.kinds[:, at]
        # a test that is surely below its threshold allows no level at all
        weights = np.divide(self.numbers, left, out=np.full(left.size, np.inf), where=left > 0)
        with np.errstate(invalid="ignore"):
            parts = weights[:, None] * self.kinds
        return np.asarray(np.nan_to_num(parts, nan=0.0, posinf=np.inf).sum(0))

    def places(self) -> NDArray[np.int64]:
        """Where each p-value stands among the thresholds; those of 1 stand behind all of them. [m]"""
        return np.searchsorted(self.thresholds, self.p_values * (1 - _SLACK))


def discrete_step_up(p_values: NDArray[np.float64], supports: Sequence[Support]) -> NDArray[np.float64]:
    """Adjusted p-values of the heterogeneous step-up procedure (HSU): the smallest level that rejects each.

    At level a, tau_m is the largest threshold t with sum_i F_i(t) / (1 - F_i(t)) <= a m, tau_k the largest t <= tau_m
    with sum_i F_i(t) / (1 - F_i(tau_m)) <= a k, and the k smallest p-values are rejected for the largest k whose p(k)
    is at most tau_k. The false discovery rate is at most a for independent p-values. A larger level raises tau_m, and
    with it all sums, by jumps: now and then it rejects less. `rejects_at` is the procedure at one level.

    Source: S. Doehler, G. Durand and E. Roquain, Electronic Journal of Statistics 12 (2018) 1867-1900, equations (7)
    and (8).
    """
    return _in_order(p_values, supports, _step_up)


def discrete_step_down(p_values: NDArray[np.float64], supports: Sequence[Support]) -> NDArray[np.float64]:
    """Adjusted p-values of the step-down procedure (HSD): tau_k is the largest t with sum F / (1 - F) <= a k.

    Source: as `discrete_step_up`, equation (9).
    """
    return _in_order(p_values, supports, _step_down)


def heyse(p_values: NDArray[np.float64], supports: Sequence[Support]) -> NDArray[np.float64]:
    """Heyse's adjusted p-values: min over l >= k of sum_i F_i(p(l)) / l; no bound on its rate is known in general.

    Source: J. Heyse, A false discovery rate procedure for categorical data, in Recent Advances in Biostatistics
    (2011) 43-58.
    """
    return _in_order(p_values, supports, _heyse)


def rejects_at(p_values: NDArray[np.float64], supports: Sequence[Support], level: float) -> NDArray[np.bool_]:
    """What `discrete_step_up` rejects at one level. [m]"""
    order = p_values.argsort(kind="stable")
    family = _make_family(p_values[order], [supports[i] for i in order])
    top = _last_at_most(_own_sums(family), level * p_values.size)
    out = np.zeros(p_values.size, dtype=np.bool_)
    if top is None:
        return out
    sums, places = family.transformed(top), family.places()
    ranks = np.arange(1, p_values.size + 1)
    allowed = (places <= top) & (_at(sums, places) <= level * ranks * (1 + _SLACK))
    if allowed.any():
        out[order[: int(ranks[allowed].max())]] = True
    return out


def first_critical_value(supports: Sequence[Support], level: float) -> float:
    """The p-value at or below which a single test of the family would be rejected alone; 0 where none can be."""
    family = _make_family(np.ones(len(supports)), supports)
    top = _last_at_most(_own_sums(family), level * len(supports))
    if top is None:
        return 0.0
    first = _last_at_most(family.transformed(top)[: top + 1], level)
    return 0.0 if first is None else float(family.thresholds[first])


def _in_order(
    p_values: NDArray[np.float64],
    supports: Sequence[Support],
    adjust: Callable[[_Family], NDArray[np.float64]],
) -> NDArray[np.float64]:
    order = p_values.argsort(kind="stable")
    out = np.empty_like(p_values)
    out[order] = adjust(_make_family(p_values[order], [supports[i] for i in order])).clip(max=1.0)
    return out


def _make_family(p_values: NDArray[np.float64], supports: Sequence[Support]) -> _Family:
    distinct: dict[bytes, tuple[Support, int]] = {}
    for support in supports:
        key = support.tobytes()
        distinct[key] = (support, distinct.get(key, (support, 0))[1] + 1)
    values = np.unique(np.concatenate([p_values, *(support for support, _ in distinct.values())]))
    values = values[values < 1.0 - _SLACK]
    # one threshold for values that differ by rounding alone: the largest of them
    if values.size:
        values = values[np.append(np.diff(values) > _SLACK * values[1:], True)]
    kinds = np.array([_null_probability(support, values) for support, _ in distinct.values()])
    return _Family(p_values, values, kinds, np.array([number for _, number in distinct.values()]))


def _null_probability(support: Support, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(p <= t): the largest attainable value that is not above t, 0 where there is none."""
    place = np.searchsorted(support, thresholds * (1 + _SLACK), side="right")
    return np.asarray(np.concatenate([[0.0], support])[place])


def _own_sums(family: _Family) -> NDArray[np.float64]:
    """Sum of F(t) / (1 - F(t)) for every threshold. [a]"""
    left = 1.0 - family.kinds
    odds = np.divide(family.kinds, left, out=np.full(left.shape, np.inf), where=left > 0)
    return np.asarray(family.numbers @ odds) if np.isfinite(odds).all() else _sum_with_infinities(family, odds)


def _sum_with_infinities(family: _Family, odds: NDArray[np.float64]) -> NDArray[np.float64]:
    # a matrix product would make 0 * inf of them
    return np.asarray((family.numbers[:, None] * odds).sum(0))


def _last_at_most(ascending: NDArray[np.float64], level: float) -> int | None:
    """The last place whose value is at most `level`; None where there is none."""
    place = int(np.searchsorted(ascending, level * (1 + _SLACK), side="right")) - 1
    return None if place < 0 else place


def _at(sums: NDArray[np.float64], places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums at the places of p-values; infinite for those of 1."""
    return np.asarray(np.append(sums, np.inf)[places])


def _step_up(family: _Family) -> NDArray[np.float64]:
    m, places = family.p_values.size, family.places()
    ranks, own = np.arange(1, m + 1), _own_sums(family)
    # tau_m is thresholds[top] for levels from own[top] / m up to the next one's
    begins, ends = own / m, np.append(own[1:], np.inf) / m
    best = np.full(m, np.inf)
    for top in np.flatnonzero((ends > begins) & np.isfinite(begins)).tolist():
        levels = np.maximum(_at(family.transformed(top), places) / ranks, begins[top])
        levels[(places > top) | (levels >= ends[top])] = np.inf
        # step up: who is rejected takes along all smaller ones
        best = np.minimum(best, np.minimum.accumulate(levels[::-1])[::-1])
    return best


def _step_down(family: _Family) -> NDArray[np.float64]:
    levels = _at(_own_sums(family), family.places()) / np.arange(1, family.p_values.size + 1)
    # step down: rejected only if all smaller ones are
    return np.maximum.accumulate(levels)


def _heyse(family: _Family) -> NDArray[np.float64]:
    sums = np.append(family.numbers @ family.kinds, family.numbers.sum())
    levels = sums[family.places()] / np.arange(1, family.p_values.size + 1)
    return np.minimum.accumulate(levels[::-1])[::-1]
