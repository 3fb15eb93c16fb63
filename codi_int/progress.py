"""How long work tells how far it is: one callable type for the whole package, and two helpers.

Every `progress=` (and a sweep's `SweepCallbacks.stage`) takes a `Progress` or None. What shows it, a bar or lines, lies
in the CLI; a library function never prints. Only the workers of `training`, processes of their own that no callable
reaches, write their lines on stderr themselves, where `RunOptions.verbose` asks for it.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable


@runtime_checkable  # what checks annotations while it runs, such as beartype in the tests, asks isinstance
class Progress(Protocol):
    """Called after every piece of work; an exception that it raises, such as Ctrl-C, ends the work there."""

    # The parameters are positional (`/`), so that any function of three fits, whatever it calls them.
    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """
        Args:
            stage: what is being done, in words for a user; one work may have several, one after the other or mixed.
            done: how much of the stage is done, from the beginning; a resumed run does not begin at 0.
            total: how much there is in it.
        """


def count_up(progress: Progress | None, stage: str, total: int) -> Callable[[int], None]:
    """A function that is told how much was done since its last call, and tells `progress` the sum.

    For loops over batches of different sizes; where nobody looks on it does nothing, so that loops need no `if`.
    """
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(stage, done, total)

    return add


def rename_stage(progress: Progress | None, stage: str) -> Progress | None:
    """`progress` that hears every stage as `stage`: a caller knows better than `think` what the thoughts are for."""
    if progress is None:
        return None
    # A closure over arguments, never over a loop's variable: that one would have moved on when the stage is told.
    return lambda _, done, total: progress(stage, done, total)
