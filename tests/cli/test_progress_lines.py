"""Progress: bars on stderr while somebody looks on, lines for a log; stdout is left to the result."""

import io
import sys

import pytest

from codi_int.cli import _console
from codi_int.cli._console import progress


class Terminal(io.StringIO):
    """A stderr that somebody looks at."""

    def isatty(self) -> bool:
        return True


def test_bars_go_to_stderr_and_are_gone_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with progress() as report:
        report("clean [/b]pass", 1, 4)
        report("clean [/b]pass", 3, 4)
    assert capsys.readouterr().out == ""
    shown = terminal.getvalue()
    assert "clean [/b]pass" in shown
    assert "3/4" in shown
    # ANSI: what follows the last bar erases its line, so that the page does not stand below a bar
    assert "\x1b[2K" in shown[shown.rindex("3/4") :]


def test_a_log_gets_the_start_the_end_and_a_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter((100.0, 104.9, 105.0, 105.1, 109.9, 109.95, 110.0, 110.1))
    monkeypatch.setattr(_console.time, "monotonic", lambda: next(clock))
    with progress() as report:
        for done in range(1, 7):
            report("screen", done, 6)
        report("other", 1, 2)
        report("other", 2, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["screen: 1 of 6", "screen: 3 of 6", "screen: 6 of 6", "other: 1 of 2", "other: 2 of 2"]
