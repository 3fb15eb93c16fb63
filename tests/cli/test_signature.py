"""Commands of a dataclass of options: what Typer reads, and what the command gets."""

from dataclasses import dataclass, field
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from codi_int.cli._signature import with_options


def numbers(texts: list[str]) -> tuple[int, ...]:
    return tuple(int(word) for text in texts for word in text.split(","))


@dataclass(frozen=True, kw_only=True)
class Base:
    shared: Annotated[bool, typer.Option("--shared")] = False
    where: Annotated[str, typer.Option(help="Base's help.")] = "base"
    hidden: Annotated[int, typer.Option()] = 1


@dataclass(frozen=True, kw_only=True)
class Options(Base):
    must: Annotated[str, typer.Option("--needed")]
    sizes: Annotated[tuple[int, ...], typer.Option("--n"), numbers] = (1, 2)
    where: Annotated[str, typer.Option(help="Own help.")] = "own"
    hidden: int = field(default=7, init=False)


seen: list[Options] = []


@with_options
def command(options: Options) -> None:
    """What it does."""
    seen.append(options)


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(command)
    return app


def test_the_command_gets_its_options(app: typer.Typer) -> None:
    for words, expected in (
        (["--needed", "x"], Options(must="x", sizes=(1, 2), where="own")),
        (["--needed", "x", "--n", "5", "--n", "6,7"], Options(must="x", sizes=(5, 6, 7), where="own")),
        (["--needed", "x", "--where", "here", "--shared"], Options(must="x", where="here", shared=True)),
    ):
        assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
        assert seen.pop() == expected


def test_what_is_required_is_asked_for(app: typer.Typer) -> None:
    ran = CliRunner().invoke(app, [])
    assert ran.exit_code == 2
    assert "--needed" in ran.output


def test_help_has_the_own_fields_first_and_none_twice(app: typer.Typer) -> None:
    page = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120", "TERM": "dumb", "NO_COLOR": "1"}).output
    names = ["--needed", "--n", "--where", "--shared"]
    assert [word for word in page.split() if word in names] == names
    assert "What it does." in page
    assert "1,2" in page
    assert "Own help." in page
    assert "Base's help." not in page
    assert "--hidden" not in page


def test_name_and_documentation_are_kept() -> None:
    assert (command.__name__, command.__doc__) == ("command", "What it does.")
