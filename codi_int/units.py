"""Units of work: pieces of a run that may be done anywhere and in any order, and come out the same to the last bit.

A run that can be spread takes a `UnitRunner`, which is given the units and hands each result back to the one process
that keeps them. `run_here` does them where it stands; `runs.workers` in other processes, on this machine or others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Unit:
    """One piece of work."""

    name: str
    """for the log and for errors, such as `L14.P3 features 0-40`"""
    task: Any
    """what a worker is told; plain values that can be pickled"""


Keep = Callable[[Unit, Any], None]
"""called with every unit that is done and what came of it, in whatever order they end"""


@runtime_checkable  # what checks annotations while it runs, such as beartype in the tests, asks isinstance
class UnitRunner(Protocol):
    """Has units done; returns when all of them are kept."""

    def __call__(self, units: Sequence[Unit], keep: Keep, /) -> None:
        """See the class."""


def run_here(do: Callable[[Any], Any]) -> UnitRunner:
    """One unit after the other, in this process.

    Args:
        do: what a worker would do with a unit's task.
    """

    def run(units: Sequence[Unit], keep: Keep) -> None:
        for unit in units:
            keep(unit, do(unit.task))

    return run
