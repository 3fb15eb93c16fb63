"""What shows how far work is: bars and lines are two ways to."""

from abc import ABC, abstractmethod

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


def timing(elapsed: float, left: float | None) -> str:
    """`0:07 gone, 1:20 left`; nothing in the first second, when there is nothing to say."""
    gone = f"{clock(elapsed)} gone" if elapsed >= 1 else ""
    return ", ".join(filter(None, [gone, "" if left is None else f"{clock(left)} left"]))


def clock(seconds: float) -> str:
    """`0:07`, `1:02:33`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
