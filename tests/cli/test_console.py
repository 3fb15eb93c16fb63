"""How progress is shown: from the first second on, and what is left."""

import io
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from codi_int.cli import _console, _progress
from codi_int.cli._console import begin, progress, tell
from codi_int.cli._progress import Lines, clock, timing


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock that progress is timed by."""

    def set_clock(seconds: float) -> None:
        monkeypatch.setattr(_progress.time, "monotonic", lambda: float(seconds))

    set_clock(100.0)
    return set_clock


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (7, "0:07"), (59.6, "1:00"), (80, "1:20"), (3753, "1:02:33")]
)
def test_times_are_read_like_those_of_a_clock(seconds: float, text: str) -> None:
    assert clock(float(seconds)) == text


def test_what_is_gone_and_left_is_said_as_soon_as_it_is_known() -> None:
    assert (timing(0.2, None), timing(7.0, None), timing(7.0, 80.0)) == ("", "0:07 gone", "0:07 gone, 1:20 left")


def test_lines_say_the_time_that_is_left(now: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(tell)
    for seconds, done in ((100, 10), (102, 20), (106, 40), (120, 50)):
        now(seconds)
        lines("screen", done, 50)
    # at 106: 30 of them in six seconds, 10 are left; at 102 the last line was two seconds old
    assert capsys.readouterr().err.splitlines() == [
        "screen: 10 of 50",
        "screen: 40 of 50 · 0:06 gone, 0:02 left",
        "screen: 50 of 50 · 0:20 gone",
    ]


def test_words_stand_between_count_and_time(now: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(tell)
    lines.show("epochs", 0, 4, "mse 0.5")
    now(106)
    lines.show("epochs", 2, 4, "mse 0.4")
    assert capsys.readouterr().err.splitlines()[1] == "epochs: 2 of 4 · mse 0.4 · 0:06 gone, 0:06 left"


def wait_for(text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """stderr, as soon as `text` is in it."""
    err, deadline = "", time.monotonic() + 30
    while text not in err and time.monotonic() < deadline:
        err += capsys.readouterr().err
        time.sleep(0.01)
    return err


def test_a_log_is_told_that_something_loads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_progress, "SILENCE", 0.0)
    with begin(), progress() as report:
        assert wait_for("...", capsys) == "loading model and problems ...\n"
        report("thoughts", 1, 1)
    assert capsys.readouterr().err == "thoughts: 1 of 1\n"


def test_whoever_reports_in_time_needs_no_such_line(capsys: pytest.CaptureFixture[str]) -> None:
    with begin(), progress() as report:
        assert isinstance(report, Lines)
        report("thoughts", 1, 1)
        assert not report._silence.is_alive() or report._silence.finished.is_set()
    assert capsys.readouterr().err == "thoughts: 1 of 1\n"


def test_an_error_ends_the_waiting() -> None:
    begun: list[Lines] = []

    def slip() -> None:
        with begin():
            assert isinstance(_console._begun, Lines)
            begun.append(_console._begun)
            raise ValueError("slip")

    with pytest.raises(ValueError, match="slip"):
        slip()
    assert begun[0]._silence.finished.is_set()
    assert _console._begun is None


class Terminal(io.StringIO):
    """A stderr that somebody looks at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("columns", "gone"), [(60, False), (120, True)])
def test_a_bar_is_one_line_in_a_narrow_terminal_too(monkeypatch: pytest.MonkeyPatch, columns: int, gone: bool) -> None:

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    clock = [0.0]
    with progress() as shown:
        shown._bars.stop()
        shown._bars.get_time = lambda: clock[0]
        for done in (100, 700, 1_408):
            shown("thoughts to train on", done, 1_495)
            clock[0] += 10.0
        (line,) = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", _rendered(shown)).strip("\n").split("\n")
    assert "thoughts to train on" in line
    assert "1,408/1,495" in line
    assert "left" in line
    assert ("gone" in line) == gone
    assert len(line.rstrip()) <= columns


def _rendered(shown: Any) -> str:
    """What the bars look like now."""
    with shown._bars.console.capture() as seen:
        shown._bars.console.print(shown._bars.get_renderable())
    return str(seen.get())


def test_a_terminal_has_a_spinner_and_then_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    from codi_int.cli._bars import Bars

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with progress() as shown:
        assert isinstance(shown, Bars)
        shown._bars.refresh()
        assert "loading model and problems" in screen.getvalue()
        loaded = len(screen.getvalue())
        shown("screen [/b]", 10, 40)
        shown("screen [/b]", 15, 40)
        time.sleep(0.01)  # a pace needs two reports at two times
        shown("screen [/b]", 20, 40)
        shown._bars.refresh()
        seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()[loaded:])
    assert "screen [/b]" in seen
    assert "20/40" in seen
    assert "left" in seen
    assert "loading" not in seen.splitlines()[-1]
    assert max(map(len, seen.replace("\r", "\n").splitlines())) <= 80
