"""An edit against its controls: problem by problem, and among controls that are like it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.betting import estimate_bounded
from codi_int.interventions.evidence.clusters import ClusterLabels
from codi_int.records import Estimate

CALIPER = math.log(1.5)
"""a control touches at most half as many problems again, or a third fewer, and moves the residual as nearly as far"""


Pair = tuple[float | int, float | int]
"""problems touched, or their share, and the mean norm of what is added"""


@dataclass(frozen=True)
class Comparison:
    """An edit beside its controls."""

    difference: Estimate
    """effect minus the controls' mean, paired by problem; betting interval on [-2, 2]"""
    rank_p: float
    """(1 + controls whose mean change is at least as large) / (1 + controls): a rank, for the controls are few"""
    n_as_strong: int
    """controls whose mean change is at least as large in magnitude"""
    draws: int
    """controls"""


def compare_with_controls(
    effect: ArrayLike, controls: ArrayLike, clusters: ClusterLabels | None = None, confidence: float = 0.95
) -> Comparison:
    """How much more an edit does than its controls do, on the same problems.

    Args:
        effect: change of each problem, in [-1, 1]. [n]
        controls: the same under each control. [draws, n]
        clusters: label of each problem's cluster.
        confidence: level of the interval.

    Raises:
        ConfigError: for no control, or controls of other problems.

    Source: for the interval see `estimate_bounded`; B. Phipson and G. Smyth, Statistical Applications in Genetics and
    Molecular Biology 9 (2010) article 39, for the rank.
    """
    values, others = np.asarray(effect, dtype=np.float64), np.asarray(controls, dtype=np.float64)
    if others.ndim != 2 or not others.shape[0] or others.shape[1:] != values.shape:
        raise ConfigError(
            f"Controls are [draws, {values.size}] and at least one, got {others.shape}.",
            "Give one row for each control, with one change for each problem.",
        )
    difference = estimate_bounded(values - others.mean(0), 2.0, clusters=clusters, confidence=confidence)
    # rounding of means must not make a control that does exactly as much weaker
    as_strong = int((np.abs(others.mean(1)) >= abs(float(values.mean())) - 1e-12).sum())
    draws = others.shape[0]
    return Comparison(difference, (1 + as_strong) / (1 + draws), as_strong, draws)


@dataclass(frozen=True)
class Matching:
    """Controls that were drawn, and how like the edit they are."""

    chosen: tuple[int, ...]
    """places of the candidates, in the order drawn"""
    n_within: int
    """candidates that lie within the caliper"""
    touched: float | int
    """problems that the edit touches, or their share"""
    touched_median: float | None
    """median over the chosen; None without any"""
    size: float
    """mean norm of what the edit adds"""
    size_median: float | None
    """median over the chosen; None without any"""
    asked: int
    """controls that were asked for"""

    @property
    def note(self) -> str | None:
        """What a reader has to know where fewer controls were found than asked for; None where all were."""
        if len(self.chosen) == self.asked:
            return None
        return (
            f"{len(self.chosen)} of {self.asked} controls: no more features touch about as many problems "
            f"({self.touched:g}) and move the residual about as far ({self.size:.3g})."
        )


def match_controls(
    edit: Pair,
    candidates: Sequence[Pair],
    draws: int = 20,
    seed: int | Sequence[int] = 0,
    caliper: float = CALIPER,
) -> Matching:
    """Draw controls among the candidates that touch as many problems and move the residual as far, within a caliper.

    All within the caliper are as likely; none beyond it is ever taken, so fewer may come back than were asked for, and
    the result says so. The distance is the larger of the two differences in logs.

    Args:
        edit: of the edit.
        candidates: the same of everything that may be drawn; the edit itself is not among them.
        draws: how many.
        seed: of the draw.
        caliper: the largest distance.

    Source: P. Rosenbaum and D. Rubin, The American Statistician 39 (1985) 33-38.
    """
    if draws < 0:
        raise ConfigError(f"The number of controls cannot be negative, got {draws}.", "0 runs without controls.")
    table = np.array(candidates, dtype=np.float64).reshape(-1, 2)
    within = np.flatnonzero(_distance(table, edit) <= caliper + 1e-12)
    order = np.random.default_rng(seed).permutation(within)[:draws]
    medians = [float(m) for m in np.median(table[order], axis=0)] if order.size else [None, None]
    return Matching(
        chosen=tuple(order.tolist()),
        n_within=within.size,
        touched=edit[0],
        touched_median=medians[0],
        size=float(edit[1]),
        size_median=medians[1],
        asked=draws,
    )


def nearest_controls(edit: Pair, candidates: Sequence[Pair]) -> list[int]:
    """Places of the candidates that do anything at all, the most alike first: where too few are within a caliper."""
    distance = _distance(np.array(candidates, dtype=np.float64).reshape(-1, 2), edit)
    order = distance.argsort(kind="stable")
    return [int(i) for i in order if np.isfinite(distance[i])]


def _distance(table: NDArray[np.float64], edit: Pair) -> NDArray[np.float64]:
    """Larger difference of logs, in problems touched and in size; infinite for what does nothing."""
    if min(edit) <= 0:
        return np.full(table.shape[0], np.inf)
    with np.errstate(divide="ignore"):
        return np.asarray(np.abs(np.log(table) - np.log(np.array(edit, dtype=np.float64))).max(1, initial=0.0))
