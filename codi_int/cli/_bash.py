"""Bash breaks words at colons, and `stories:validation` is one name: the words are joined for Typer, and the part that
bash holds to be finished is cut from what it is offered."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO

COMPLETE = "_CODI_INT_COMPLETE"
"""set by the shell's script while it completes"""


def joined(words: Sequence[str], current: int) -> tuple[list[str], int, str]:
    """Words that were broken at colons, joined again.

    Args:
        words: as bash has them, the command first.
        current: index of the one that is being typed; one beyond the end where it is empty.

    Returns:
        the words up to the current one, its index, and the part of it that bash holds to be finished.
    """
    out: list[str] = []
    finished = ""
    glue = False
    for word in [*words[: current + 1], *[""] * (current >= len(words))]:
        if out and (glue or word == ":"):
            finished = out[-1] if glue else f"{out[-1]}:"
            out[-1] += word
        else:
            out.append(word)
            finished = ""
        glue = word == ":"
    return out, len(out) - 1, finished


@contextmanager
def whole_names() -> Iterator[None]:
    """Let a completion of bash see whole names; does nothing elsewhere."""
    if os.environ.get(COMPLETE) != "complete_bash":
        yield
        return
    words, current, finished = joined(os.environ["COMP_WORDS"].split("\n"), int(os.environ["COMP_CWORD"]))
    os.environ |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(current)}
    offered = StringIO()
    try:
        with redirect_stdout(offered):
            yield
    finally:
        print("\n".join(line.removeprefix(finished) for line in offered.getvalue().splitlines()))
