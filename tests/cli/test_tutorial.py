"""The tutorial: its commands are those that benchmarks/tutorial.py ran, they parse, and its Python runs."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from codi_int.cli.main import make_app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
SCRIPT = (ROOT / "benchmarks" / "tutorial.py").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ codi-int (.*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line: str) -> None:
    command, words = typer.main.get_command(make_app()), shlex.split(line)
    while hasattr(command, "resolve_command"):
        _, command, words = command.resolve_command(command.make_context("codi-int", words[:]), words)
    assert not command.make_context("codi-int", words).args


def test_every_marker_is_filled_in() -> None:
    blocks = re.findall(r"<!-- (\w+): begin -->\n```\n(.*?)```\n<!-- \1: end -->", PAGE, re.DOTALL)
    assert [name for name, text in blocks if text.strip()] == ["think", "map", "train", "screen", "ablate", "python"]
    assert len(COMMANDS) == 5
    assert all(f'"{line.split()[0]}"' in SCRIPT for line in COMMANDS)


def test_the_python_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "tutorial.md", "exec"), {})
    (shown,) = re.findall(r"<!-- python: begin -->\n```\n(.*?)```", PAGE, re.DOTALL)
    assert capsys.readouterr().out == shown
