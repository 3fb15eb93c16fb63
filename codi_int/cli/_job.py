"""One run of a command: try the folder, work with progress, keep what came out, print it as JSON or as a page.

Every command that computes something is one call of `run_job`; what it computes, and what it looks like, are the
functions that it gives. Loaded with every command, so nothing heavy is imported here.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import RenderableType

from codi_int.cli import _console
from codi_int.cli._console import print_json, stdout, tell
from codi_int.files import prepare_folder

Found = TypeVar("Found")
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """What a job has left in its folder."""

    names: Sequence[str]
    """its files, as stderr names them; empty where nothing is to be said"""
    drawings: Sequence[tuple[Document, Path]] = ()
    """documents whose figures are drawn, each with the folder they go to"""


def run_job(
    work: Callable[[Any], Found],
    *,
    document: Callable[[Found], dict[str, Any]],
    page: Callable[[Found], RenderableType],
    as_json: bool,
    out: Path | None = None,
    keep: Callable[[Found, Path], Kept] | None = None,
    inside: Sequence[str] = (),
    watch: Callable[[], AbstractContextManager[Any]] | None = None,
) -> Found:
    """Run `work`, keep what it finds in `out` where that is given, and print it.

    Args:
        work: called with what shows progress.
        document: what is found as plain JSON types.
        page: the same for people.
        as_json: print the document, not the page.
        out: the folder to keep it in; tried before the work begins.
        keep: writes what is found into `out`.
        inside: folders within `out` that are written to, where it is not `out` itself.
        watch: opens what `work` is called with; by default a bar, or lines in a log.

    Raises:
        OutputError: `out` cannot be written to.
    """
    if out is not None:
        # before anything is loaded: nobody is to wait an hour for a result that cannot be kept
        for folder in [out / name for name in inside] or [out]:
            prepare_folder(folder)
    # looked up at the time of the call, so that a test can put another one in its place
    with _console.warnings_on_stderr(), (watch or _console.progress)() as report:
        found = work(report)
    # First kept, then printed: a reader that goes away (`| head`) must not cost the files.
    if out is not None and keep is not None:
        _tell(keep(found, out), out)
    show(lambda: document(found), lambda: page(found), as_json)
    return found


def show(document: Callable[[], dict[str, Any]], page: Callable[[], RenderableType], as_json: bool) -> None:
    """Print one of the two; the other is not made."""
    if as_json:
        print_json(document())
    else:
        stdout().print(page())


@contextmanager
def keep_on_interrupt(kept: Callable[[], str]) -> Iterator[None]:
    """Where Ctrl-C ends the block, say on stderr what is kept and that the same command goes on; it stays Ctrl-C.

    Args:
        kept: such as `12 features are kept in runs/screen`; empty where nothing is.
    """
    try:
        yield
    except KeyboardInterrupt:
        if words := kept():
            tell(f"{words}; the command goes on there.")
        raise


def command_line() -> list[str]:
    """The command as it was typed, for a manifest."""
    return ["codi-int", *sys.argv[1:]]


def _tell(kept: Kept, out: Path) -> None:
    """Say what lies in the folder, then draw: drawing takes seconds, and the files are safe by then."""
    if kept.names:
        tell(f"Kept in {out}: {', '.join(kept.names)}")
    if kept.drawings:
        from codi_int.cli._figures import keep_figures  # matplotlib takes half a second to load

        for document, folder in kept.drawings:
            keep_figures(document, folder)
