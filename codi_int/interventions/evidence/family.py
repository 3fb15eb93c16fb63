"""The family of a page: which of many edits changed accuracy, once everything that was tried is counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.clusters import Clusters
from codi_int.interventions.evidence.discrete import Support, mcnemar_support, rejects_at
from codi_int.interventions.evidence.families import adjust, critical_level
from codi_int.interventions.evidence.flips import attainable_p_values
from codi_int.interventions.evidence.max_t import max_t

CORRECTIONS = ("discrete", "heyse", "max-t", "holm", "bh")
"""of a family of tests of accuracy; `max-t` and `holm` keep the chance of any false finding, the others their share"""
ALPHA = 0.05
_MANY = 200
"""flips of a test that can give nearly any p-value"""
_OF_ADJUST = {"discrete": "discrete-bh", "heyse": "heyse", "holm": "holm", "bh": "bh"}
_WORDS = {
    "discrete": "discrete false discovery rate",
    "heyse": "Heyse's discrete false discovery rate",
    "max-t": "max-T over sign flips",
    "holm": "Holm",
    "bh": "Benjamini-Hochberg",
}


@dataclass(frozen=True)
class Flips:
    """On which problems an arm changed correctness: what its exact test, its support and its folds follow from."""

    broken: tuple[int, ...]
    """rows of problems that were right and are wrong; one whose change counts twice stands twice"""
    fixed: tuple[int, ...]
    """rows of problems that were wrong and are right"""

    @classmethod
    def of(cls, accuracy: NDArray[np.float64]) -> "Flips":
        """Of whole numbers: -1, 0 and 1, or what does not add up of such. [n]"""
        rows, times = np.arange(accuracy.size), np.abs(accuracy).round().astype(np.int64)
        broken, fixed = (np.repeat(rows[side], times[side]).tolist() for side in (accuracy < 0, accuracy > 0))
        return cls(tuple(broken), tuple(fixed))

    def changes(self, n: int) -> NDArray[np.float64]:
        """The same numbers again, for n problems. [n]"""
        out = np.zeros(n)
        # row by row: plain indexing would count a row that stands twice once
        np.add.at(out, list(self.broken), -1.0)
        np.add.at(out, list(self.fixed), 1.0)
        return out


NO_FLIPS = Flips((), ())


@dataclass(frozen=True)
class Member:
    """One test of a family."""

    p_value: float | None
    """exact; None where nothing was tested"""
    places: NDArray[np.int64]
    """the clusters that changed. [changed]"""
    sums: NDArray[np.float64]
    """whole changes summed over each of them. [changed]"""
    testable: bool = True
    """whether it could ever be significant; what could not is no member"""

    @classmethod
    def of(
        cls, p_value: float | None, changes: NDArray[np.float64], groups: Clusters, testable: bool = True
    ) -> "Member":
        """From a whole number for each problem. [n]"""
        sums = groups.sums(changes)
        places = np.flatnonzero(sums)
        return cls(p_value, places, sums[places], testable)


@dataclass(frozen=True)
class Family:
    """What was found among many."""

    correction: str
    """one of `CORRECTIONS`"""
    p_adjusted: tuple[float | None, ...]
    """in the order given; None for what is no member"""
    found: tuple[bool, ...]
    """which are findings at the level; for `discrete` by the step-up at that level itself"""
    n_tests: int
    """members"""
    critical: float
    """p-value at or below which one alone would be a finding; 0 where none could be"""


def check_correction(name: str) -> str:
    """The name itself; ConfigError where it is none."""
    if name not in CORRECTIONS:
        raise ConfigError(f"There is no correction {name!r}.", f"--correction is one of {', '.join(CORRECTIONS)}.")
    return name


def correction_words(name: str) -> str:
    """How a page names a correction."""
    return _WORDS[name]


def for_means(correction: str) -> str:
    """What corrects p-values of means, which take any value: the error rate of `correction`."""
    # max-T by sign flips would test whether changes are symmetric, which is not what the mean's p-value says
    return "holm" if correction in ("holm", "max-t") else "bh"


def find(members: Sequence[Member], correction: str = "discrete", alpha: float = ALPHA, seed: int = 0) -> Family:
    """Correct a family of exact tests and say which of them are findings.

    Args:
        members: all that was tried; one without a p-value, or that could never be significant, does not count.
        correction: one of `CORRECTIONS`.
        alpha: level of the family.
        seed: of the flips of `max-t`.

    Raises:
        ConfigError: for an unknown correction.
    """
    check_correction(correction)
    inside = [i for i, member in enumerate(members) if member.p_value is not None and member.testable]
    p_values = np.array([members[i].p_value for i in inside], dtype=np.float64)
    supports = [_support(members[i].sums) for i in inside] if correction in ("discrete", "heyse") else None
    adjusted = _adjusted(correction, p_values, [members[i] for i in inside], supports, seed)
    if correction == "discrete" and inside:
        assert supports is not None
        # a higher level may, rarely, reject less, so the adjusted p-value alone does not decide
        found = rejects_at(p_values, supports, alpha).tolist()
    else:
        found = [p < alpha for p in adjusted]
    places = {place: i for i, place in enumerate(inside)}
    return Family(
        correction=correction,
        p_adjusted=tuple(adjusted[places[i]] if i in places else None for i in range(len(members))),
        found=tuple(i in places and bool(found[places[i]]) for i in range(len(members))),
        n_tests=len(inside),
        critical=_critical(correction, len(inside), alpha, supports),
    )


def _adjusted(
    correction: str,
    p_values: NDArray[np.float64],
    members: Sequence[Member],
    supports: Sequence[Support] | None,
    seed: int,
) -> list[float]:
    if not p_values.size:
        return []
    if correction == "max-t":
        # where nothing flipped there is nothing to turn, and no flip does less: p is 1
        return [1.0 if p is None else p for p in max_t(_table(members), seed=seed)]
    return [1.0 if p is None else p for p in adjust(p_values, _OF_ADJUST[correction], supports=supports)]


def _table(members: Sequence[Member]) -> NDArray[np.float64]:
    """Clusters that any member changed by members; the clusters in their order. [clusters, members]"""
    rows = np.unique(np.concatenate([one.places for one in members]))
    # max_t takes at least one row
    out = np.zeros((max(rows.size, 1), len(members)))
    for column, one in enumerate(members):
        out[np.searchsorted(rows, one.places), column] = one.sums
    return out


def _critical(correction: str, n: int, alpha: float, supports: Sequence[Support] | None) -> float:
    # max-T's critical value depends on the dependence; Holm's, which ignores it, is a lower bound
    method = "holm" if correction == "max-t" else _OF_ADJUST[correction]
    # the flips that happened allow few p-values; what could be found beside them may have any
    beside = None if supports is None else [*supports, np.array(mcnemar_support(_MANY))]
    return critical_level(method, n, alpha, beside) if n else alpha


def _support(sums: NDArray[np.float64]) -> Support:
    """The p-values that a test of these cluster sums can give."""
    return np.array(_support_of(tuple(sorted(np.abs(sums).astype(np.int64).tolist()))))


@lru_cache(maxsize=4096)
def _support_of(sizes: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(attainable_p_values(np.array(sizes, dtype=np.int64)).tolist())
