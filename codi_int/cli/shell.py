"""`codi-int shell`: several commands in one process, which keeps models and their clean passes from one to the next."""

import shlex
import sys
from collections.abc import Iterator

import typer

from codi_int.cli._console import tell
from codi_int.errors import ConfigError

PROMPT = "codi-int> "
LEAVE = ("exit", "quit")


def shell() -> None:
    """Type commands one after the other; model and clean pass stay in memory from one to the next.

    Each line is a command as it is typed elsewhere, with or without `codi-int` before it. Ctrl-C ends the command that
    runs, `exit` or Ctrl-D the shell. Lines may come from a file, too: codi-int shell < commands.txt

    Example: codi-int shell
    """
    from codi_int.cli import _sites
    from codi_int.cli.main import run_words

    failed = 0
    before = sys.argv
    with _sites.kept_warm():
        for words in _lines():
            # manifests and errors repeat the command as it was typed
            sys.argv = [before[0], *words]
            failed = run_words(words) or failed
    sys.argv = before
    if failed:
        raise typer.Exit(failed)


def _lines() -> Iterator[list[str]]:
    """The words of each line, until `exit` or the end of what is read."""
    prompt = PROMPT if sys.stdin.isatty() else ""
    if prompt:
        import readline  # noqa: F401  # arrow keys and history for `input`
    while True:
        try:
            line = input(prompt)
        except EOFError:
            if prompt:
                print()
            return
        except KeyboardInterrupt:  # at the prompt it clears the line, as in any shell
            print()
            continue
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            tell(f"codi-int: This line cannot be split into words: {error}.\nClose the quotes.")
            continue
        if words[:1] == ["codi-int"]:
            words = words[1:]
        if words[:1] == ["shell"]:
            tell(f"codi-int: {ConfigError('This is a shell already.', 'Type another command, or exit.')}")
            continue
        if words[:1] and words[0] in LEAVE:
            return
        if words:
            yield words
