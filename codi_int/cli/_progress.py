"""How far work is, as a log shows it, and what a terminal's bars have in common with that."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from threading import Timer

SECONDS_BETWEEN_LINES = 5.0
SILENCE = 1.0
"""seconds after which a log is told that something is being loaded"""
LOADING = "loading model and problems"


class Shown(ABC):
    """Progress as it is shown; as a function of (stage, done, total) it is a `Progress`."""

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """See `Progress`."""
        self.show(stage, done, total, "")

    @abstractmethod
    def show(self, stage: str, done: int, total: int, words: str) -> None:
        """Show how far a stage is, with a few words more."""

    @abstractmethod
    def stop(self) -> None:
        """Show nothing any more."""


class Lines(Shown):
    """A line at the start and end of a stage and every few seconds, for logs."""

    def __init__(self, tell: Callable[[str], None], loading: str = LOADING) -> None:
        """
        Args:
            tell: says a line on stderr.
            loading: what is done before anything can be counted.
        """
        self._tell = tell
        self._last: dict[str, float] = {}
        self._first: dict[str, tuple[float, int]] = {}
        # A line after a second of silence, and not at once: what is over by then, such as an error in an option, needs
        # none. A timer, because loading does not report anything.
        self._silence = Timer(SILENCE, lambda: tell(f"{loading} ..."))
        self._silence.daemon = True
        self._silence.start()

    def stop(self) -> None:
        """See the class."""
        self._silence.cancel()

    def show(self, stage: str, done: int, total: int, words: str) -> None:
        """See the class."""
        self._silence.cancel()
        now = time.monotonic()
        began, before = self._first.setdefault(stage, (now, done))
        # the last call of a stage is never dropped, however short after the one before: a log must say that it ended
        if done < total and now - self._last.get(stage, -SECONDS_BETWEEN_LINES) < SECONDS_BETWEEN_LINES:
            return
        self._last[stage] = now
        # what was done before this run, where a run goes on, says nothing about its pace
        left = (now - began) * (total - done) / (done - before) if done > before else None
        parts = [f"{stage}: {done:,} of {total:,}", words, timing(now - began, left if done < total else None)]
        self._tell(" · ".join(filter(None, parts)))


def timing(elapsed: float, left: float | None) -> str:
    """`0:07 gone, 1:20 left`; nothing in the first second, when there is nothing to say."""
    gone = f"{clock(elapsed)} gone" if elapsed >= 1 else ""
    return ", ".join(filter(None, [gone, "" if left is None else f"{clock(left)} left"]))


def clock(seconds: float) -> str:
    """`0:07`, `1:02:33`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
