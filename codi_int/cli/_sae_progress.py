"""How far a sweep is: captures, epochs with the losses of the SAEs in training, SAEs done."""

from collections.abc import Iterator
from contextlib import contextmanager

from codi_int.cli._console import progress
from codi_int.cli._progress import Shown
from codi_int.sae.grid import SweepRow
from codi_int.sae.many import GridEpoch
from codi_int.types import Site

TRAINING = "SAE epochs"


class SweepProgress:
    """Turns a sweep's callbacks into (stage, done, total, words) for what shows them."""

    def __init__(self, n_epochs: int, shown: Shown) -> None:
        """
        Args:
            n_epochs: epochs of all SAEs that are to be trained, summed.
            shown: bars or lines.
        """
        self._shown = shown
        self._n_epochs, self._epochs, self._saved = n_epochs, 0, 0

    def stage(self, stage: str, done: int, total: int) -> None:
        """Called by captures and splicing."""
        self._shown.show(stage, done, total, "")

    def epoch(self, site: Site, finished: GridEpoch) -> None:
        """Called by a stack in training."""
        # a stack trains many SAEs at once, so one call stands for one epoch of each of them
        self._epochs += len(finished.records)
        losses = sorted(record.mse for record in finished.records)
        # the spread over the stack: a single mean would hide the one that diverges
        mse = f"{losses[0]:.4g}" if len(losses) == 1 else f"{losses[0]:.4g} to {losses[-1]:.4g}"
        words = f"{site}, epoch {finished.records[0].epoch}, mse {mse}, {self._saved} SAEs done"
        self._shown.show(TRAINING, self._epochs, self._n_epochs, words)

    def saved(self, row: SweepRow) -> None:
        """One SAE is on the disk."""
        self._saved += 1


@contextmanager
def sweep_progress(n_epochs: int) -> Iterator[SweepProgress]:
    """Bars on a terminal, lines elsewhere."""
    with progress() as shown:
        yield SweepProgress(n_epochs, shown)
