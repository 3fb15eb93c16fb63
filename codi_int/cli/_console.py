"""Where output goes: results to stdout; progress and warnings to stderr."""

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from codi_int.cli._progress import LOADING, Lines, Shown
from codi_int.errors import CodiWarning
from codi_int.progress import Progress
from codi_int.report.literal import show_controls

Report = Progress
_begun: Shown | None = None
"""what `begin` shows, until `progress` takes it over"""
_muted = False
"""whether this process is a worker, whose user reads another one's stderr"""
_TOLD: set[str] = set()
"""warnings of this job that stderr has"""
_LOGS: list[Callable[[str], None]] = []
"""where what is said on stderr goes as well: the log of the run, at most one"""
_KEPT: list[str] = []
"""what a stopped command has kept, in words; at most one"""


def stdout() -> Console:
    """For tables; plain text of 100 columns where nobody looks on."""
    # markup and emoji off: `[/b]` or `:smile:` in a name is part of the name
    # a fixed width off a terminal: what is piped into a file must not depend on the window that was open at the time
    return Console(width=None if sys.stdout.isatty() else 100, highlight=False, markup=False, emoji=False)


def tell(message: str) -> None:
    """One message on stderr; control characters in names are shown, not sent to the terminal."""
    if not _muted:
        print(show_controls(message), file=sys.stderr, flush=True)
    for log in _LOGS:
        log(show_controls(message))


@contextmanager
def logged(log: Callable[[str], None]) -> Iterator[None]:
    """Inside, what `tell` says goes to the log of a run as well."""
    _LOGS.append(log)
    try:
        yield
    finally:
        _LOGS.remove(log)


def begin_worker() -> None:
    """From here on this process says nothing: the one that keeps results says it, once."""
    global _muted
    _muted = True
    quieten()


def plain_streams() -> None:
    """Let stdout and stderr put `?` where their encoding has no such character, instead of failing over a `·`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def note_kept(words: str) -> None:
    """Note what a command that is being stopped has kept, such as `12 features are kept in runs/screen`."""
    _KEPT[:] = [words]


def kept_so_far() -> str:
    """What `note_kept` was told since it was last asked; empty for nothing."""
    return _KEPT.pop() if _KEPT else ""


@contextmanager
def warnings_on_stderr() -> Iterator[None]:
    """Our own warnings as a line each on stderr, as soon as they are known and each once; others as Python has them."""
    _TOLD.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("always", CodiWarning)
        of_others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, CodiWarning):
                of_others(message, category, *where, **more)
            elif str(message) not in _TOLD:
                _TOLD.add(str(message))
                tell(f"warning: {message}")

        warnings.showwarning = show
        yield


def untold(notes: Iterable[str]) -> tuple[str, ...]:
    """The notes for a page: each once, without those that stderr has as warnings."""
    return tuple(note for note in dict.fromkeys(notes) if note not in _TOLD)


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on stdout."""
    # Strict JSON: the NaN and Infinity that Python would write are refused by other readers. Escaped to ASCII, so that
    # no name can send a control character to the terminal or fail to be encoded.
    print(json.dumps(document, allow_nan=False))


@contextmanager
def begin() -> Iterator[None]:
    """Show that something happens from here on: what a command imports takes a second or two before it can report."""
    global _begun
    _begun = _show()
    try:
        yield
    finally:
        if _begun is not None:  # nothing has reported, or it ended with an error
            _begun.stop()
        _begun = None


@contextmanager
def progress(loading: str = LOADING) -> Iterator[Shown]:
    """What shows how far work is; goes on with what `begin` shows.

    Args:
        loading: what is done before anything can be counted, where `begin` has not said it.
    """
    global _begun
    shown = _begun or _show(loading)
    _begun = None  # a second stretch of work shows its own
    try:
        quieten()  # inside, for it takes a second by itself
        yield shown
    finally:
        shown.stop()


def _show(loading: str = LOADING) -> Shown:
    """Bars on a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        return Lines(tell, loading)
    # imported here and not above: listing the commands loads this module, and bars are needed by few of them
    from codi_int.cli._bars import Bars

    return Bars(loading)


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
