"""The loop of everything that scores many arms: in groups, which are kept as they finish."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

from codi_int.interventions.screens.changes import NO_WORK, add_counts
from codi_int.types import RunCounts

ROWS_PER_GROUP = 12_288
"""(arm, problem) rows that are scored before their arms count as finished: enough that a problem has several rows to
share its prefix (eight with 1,495 problems), few enough to keep what is done in between"""
ROWS_PER_GROUP_GPU = 65_536
"""the same on a GPU, whose chunks are larger and whose groups take seconds"""
T = TypeVar("T")


def rows_per_group(device: torch.device) -> int:
    """How many rows a group has at least, on a device."""
    return ROWS_PER_GROUP_GPU if device.type == "cuda" else ROWS_PER_GROUP


def group_by_rows(items: Iterable[T], n_rows: Callable[[T], int], limit: int | None = None) -> Iterator[list[T]]:
    """Items in groups of about `limit` rows (default `ROWS_PER_GROUP`), in their order.

    Args:
        items: such as features with their plans; taken one at a time, so that plans can be made on the way.
        n_rows: how many (arm, problem) rows an item has.
        limit: a group is full when its rows reach it.
    """
    limit = ROWS_PER_GROUP if limit is None else limit
    group: list[T] = []
    rows = 0
    for item in items:
        group.append(item)
        rows += n_rows(item)
        if rows >= limit:
            yield group
            group, rows = [], 0
    if group:
        yield group


def run_groups(
    groups: Iterable[list[T]],
    score: Callable[[list[T]], RunCounts],
    is_finished: Callable[[list[T]], bool] | None = None,
    keep: Callable[[], None] | None = None,
    advance: Callable[[int], None] | None = None,
) -> RunCounts:
    """Score one group after the other.

    Args:
        groups: of arms. They are made before finished ones are left out: what shares a batch, and so its rounding,
            is then the same in a run that goes on where another was stopped.
        score: runs a group and remembers what came of it.
        is_finished: whether a group is known from an earlier run; it is not scored again.
        keep: called after each group that was scored, to write what is known so far.
        advance: called after each group with the number of its items; see `count_up`.

    Returns:
        the work of the groups that were scored.
    """
    counts = NO_WORK
    for group in groups:
        if is_finished is None or not is_finished(group):
            counts = add_counts(counts, score(group))
            if keep is not None:
                keep()
        if advance is not None:
            advance(len(group))
    return counts
