"""Where output goes: results to stdout; progress and warnings to stderr."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from codi_int.progress import Progress
from codi_int.report.literal import show_controls

SECONDS_BETWEEN_LINES = 5.0

Report = Progress


def stdout() -> Console:
    """For tables; plain text of 100 columns where nobody looks on."""
    # markup and emoji off: `[/b]` or `:smile:` in a name is part of the name
    # a fixed width off a terminal: what is piped into a file must not depend on the window that was open at the time
    return Console(width=None if sys.stdout.isatty() else 100, highlight=False, markup=False, emoji=False)


def tell(message: str) -> None:
    """One message on stderr; control characters in names are shown, not sent to the terminal."""
    print(show_controls(message), file=sys.stderr, flush=True)


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on stdout."""
    # Strict JSON: the NaN and Infinity that Python would write are refused by other readers. Escaped to ASCII, so that
    # no name can send a control character to the terminal or fail to be encoded.
    print(json.dumps(document, allow_nan=False))


@contextmanager
def progress() -> Iterator[Report]:
    """A bar on a terminal; elsewhere a line at the start and end of a stage and every few seconds."""
    quieten()
    if not sys.stderr.isatty():
        yield _Lines()
        return
    # imported here and not above: listing the commands loads this module, and bars are needed by few of them
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    # markup off: a stage may carry a name, and Rich would read `[/b]` in it as a tag and fail
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # transient: bars are gone when the page is printed; on stderr, so that `> file` holds the result alone
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report


class _Lines:
    """Progress for logs."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        # the last call of a stage is never dropped, however short after the one before: a log must say that it ended
        if done < total and now - self._last.get(stage, -SECONDS_BETWEEN_LINES) < SECONDS_BETWEEN_LINES:
            return
        self._last[stage] = now
        tell(f"{stage}: {done:,} of {total:,}")


def quieten() -> None:
    """Keep other libraries' notices out of the way; our own warnings go to stderr."""
    # stderr is ours: progress bars of weights and advice about tokenizers would stand between our lines
    if "transformers" in sys.modules:
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        return
    # Most commands never import transformers, which takes longer than all else before they compute; it and the hub's
    # library read these when they are imported.
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
