"""The effect on problems of a kind, and whether it differs from that on the others: contrasts, never two p-values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from codi_int.interventions.evidence.contrasts import contrast_accuracy
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.flips import accuracy_by_cluster, count_changes
from codi_int.interventions.evidence.measure import ArmChange
from codi_int.records import Estimate
from codi_int.types import OPERATIONS, Operation, OperationRow, Problem, StepsRow

K = TypeVar("K", Operation, int)


@dataclass(frozen=True)
class _Group:
    """The problems of one kind."""

    n: int
    accuracy: Estimate
    n_broken: int
    n_fixed: int
    contrast: Estimate | None


def operation_rows(problems: Sequence[Problem], change: ArmChange, seed: int = 0) -> tuple[OperationRow, ...]:
    """The effect on the problems that use each operation, with Holm over the operations that occur.

    A problem of several operations stands in several rows. Problems with an operation are contrasted with those without
    of the same number of steps, for long problems use more operations and are harder.
    """
    members: dict[Operation, NDArray[np.bool_]] = {
        operation: np.array([any(step.operation == operation for step in p.steps) for p in problems], dtype=bool)
        for operation in OPERATIONS
    }
    found = _groups(members, change, strata=_n_steps(problems), seed=seed)
    return tuple(OperationRow(operation=operation, **vars(group)) for operation, group in found.items())


def steps_rows(problems: Sequence[Problem], change: ArmChange, seed: int = 0) -> tuple[StepsRow, ...]:
    """The effect on the problems of each number of written steps, contrasted with that on all others."""
    n_steps = _n_steps(problems)
    members = {int(n): n_steps == n for n in np.unique(n_steps) if n}
    found = _groups(members, change, strata=None, seed=seed)
    return tuple(StepsRow(n_steps=n, **vars(group)) for n, group in found.items())


def _groups(
    members: Mapping[K, NDArray[np.bool_]], change: ArmChange, strata: NDArray[np.int64] | None, seed: int
) -> dict[K, _Group]:
    """Kinds that occur; their tests are one family, their contrasts another."""
    # kinds that no problem is of are no tests, and do not make the others pay
    used = {kind: rows for kind, rows in members.items() if rows.any()}
    groups, flips = change.groups, change.accuracy
    estimates = [accuracy_by_cluster(flips[rows], groups.within(rows)) for rows in used.values()]
    contrasts = [
        contrast_accuracy(flips, rows, strata, clusters=groups.codes, seed=seed + i)
        for i, rows in enumerate(used.values())
    ]
    return {
        kind: _Group(
            n=int(rows.sum()),
            accuracy=replace(estimate, p_adjusted=p),
            n_broken=count_changes(flips[rows]).broken,
            n_fixed=count_changes(flips[rows]).fixed,
            contrast=None if difference is None else replace(difference, p_adjusted=q),
        )
        for (kind, rows), estimate, p, difference, q in zip(
            used.items(),
            estimates,
            adjust([estimate.p_value for estimate in estimates]),
            contrasts,
            adjust([None if one is None else one.p_value for one in contrasts]),
            strict=True,
        )
    }


def _n_steps(problems: Sequence[Problem]) -> NDArray[np.int64]:
    return np.array([len(problem.steps) for problem in problems], dtype=np.int64)
