"""Progress on a terminal: a bar for each stage, and one that only moves while nothing can be counted yet."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn

from codi_int.cli._literal import Text
from codi_int.cli._progress import LOADING, Shown, timing
from codi_int.report.literal import show_controls

WIDE = 80
"""columns from which on a bar has room for all that it can say"""


class _Count(ProgressColumn):
    """`120/512`; nothing where there is nothing to count."""

    def render(self, task: Task) -> Text:
        """See the class."""
        return Text("" if task.total is None else f"{task.completed:,.0f}/{task.total:,.0f}", no_wrap=True)


class _Timing(ProgressColumn):
    """`0:07 gone, 1:20 left`; in a narrow terminal what is left alone, so that a bar stays one line."""

    def __init__(self, narrow: bool) -> None:
        super().__init__()
        self._narrow = narrow

    def render(self, task: Task) -> Text:
        """See the class."""
        left = None if task.finished else task.time_remaining
        # a stage that is over keeps its time; Rich's own clock would run on
        elapsed = task.finished_time if task.finished else task.elapsed
        gone = 0.0 if self._narrow and left is not None else float(elapsed or 0)
        # a bar of two lines would be drawn over by the next
        return Text(timing(gone, None if left is None else float(left)), no_wrap=True)


class Bars(Shown):
    """A bar for each stage; a spinner from the start on, so that a terminal moves while a model loads."""

    def __init__(self, loading: str = LOADING) -> None:
        """
        Args:
            loading: what is done before anything can be counted.
        """
        # markup off: a stage may carry a name, and Rich would read `[/b]` in it as a tag and fail
        texts = (TextColumn("{task.description}", markup=False), TextColumn("{task.fields[words]}", markup=False))
        console = Console(stderr=True)
        narrow = console.width < WIDE
        bar = BarColumn(bar_width=8 if narrow else 16)
        columns = (SpinnerColumn(), texts[0], bar, _Count(), _Timing(narrow), texts[1])
        # transient: bars are gone when the page is printed; on stderr, so that `> file` holds the result alone
        self._bars = Progress(*columns, console=console, transient=True)
        self._tasks: dict[str, Any] = {}
        self._loading: Any = self._bars.add_task(show_controls(loading), total=None, words="")
        self._bars.start()

    def stop(self) -> None:
        """See the class."""
        self._bars.stop()

    def show(self, stage: str, done: int, total: int, words: str) -> None:
        """See the class."""
        if self._loading is not None:
            self._bars.remove_task(self._loading)
            self._loading = None
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(show_controls(stage), total=total, completed=done, words="")
        self._bars.update(self._tasks[stage], completed=done, total=total, words=show_controls(words))
