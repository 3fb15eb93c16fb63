"""How far a sweep is: captures, epochs with the losses of the SAEs in training, SAEs done."""

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from codi_int.cli._console import SECONDS_BETWEEN_LINES, quieten, tell
from codi_int.sae.grid import SweepRow
from codi_int.sae.many import GridEpoch
from codi_int.types import Site

TRAINING = "SAE epochs"


class SweepProgress(ABC):
    """Turns a sweep's callbacks into (stage, done, total, words) for whoever shows them."""

    def __init__(self, n_epochs: int) -> None:
        """
        Args:
            n_epochs: epochs of all SAEs that are to be trained, summed.
        """
        self._n_epochs, self._epochs, self._saved = n_epochs, 0, 0

    def stage(self, stage: str, done: int, total: int) -> None:
        """Called by captures and splicing."""
        self.show(stage, done, total, "")

    def epoch(self, site: Site, finished: GridEpoch) -> None:
        """Called by a stack in training."""
        # a stack trains many SAEs at once, so one call stands for one epoch of each of them
        self._epochs += len(finished.records)
        losses = sorted(record.mse for record in finished.records)
        # the spread over the stack: a single mean would hide the one that diverges
        mse = f"{losses[0]:.4g}" if len(losses) == 1 else f"{losses[0]:.4g} to {losses[-1]:.4g}"
        words = f"{site}, epoch {finished.records[0].epoch}, mse {mse}, {self._saved} SAEs done"
        self.show(TRAINING, self._epochs, self._n_epochs, words)

    def saved(self, row: SweepRow) -> None:
        """One SAE is on the disk."""
        self._saved += 1

    @abstractmethod
    def show(self, stage: str, done: int, total: int, words: str) -> None:
        """Show it."""


class _Lines(SweepProgress):
    """A line at the start and end of a stage and every few seconds."""

    def __init__(self, n_epochs: int) -> None:
        super().__init__(n_epochs)
        self._last: dict[str, float] = {}

    def show(self, stage: str, done: int, total: int, words: str) -> None:
        """See the class."""
        now = time.monotonic()
        if done < total and now - self._last.get(stage, -SECONDS_BETWEEN_LINES) < SECONDS_BETWEEN_LINES:
            return
        self._last[stage] = now
        tell(f"{stage}: {done:,} of {total:,}{' · ' * bool(words)}{words}")


class _Bars(SweepProgress):
    """A bar for each stage, with the losses behind it."""

    def __init__(self, n_epochs: int, bars: Any) -> None:
        super().__init__(n_epochs)
        self._bars, self._tasks = bars, dict[str, Any]()

    def show(self, stage: str, done: int, total: int, words: str) -> None:
        """See the class."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, words="")
        self._bars.update(self._tasks[stage], completed=done, total=total, words=words)


@contextmanager
def sweep_progress(n_epochs: int) -> Iterator[SweepProgress]:
    """Bars on a terminal, lines elsewhere."""
    quieten()
    if not sys.stderr.isatty():
        yield _Lines(n_epochs)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bars(n_epochs, bars)
