"""One run of a command: try the folder, work with progress, keep what came out, print it as JSON or as a page.

Every command that computes something is one call of `run_job`; what it computes, and what it looks like, are the
functions that it gives. Loaded with every command, so nothing heavy is imported here.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import RenderableType

from codi_int.cli import _console
from codi_int.cli._console import note_kept, print_json, stdout, tell
from codi_int.cli._document import NOT_PART, digest_document, make_document
from codi_int.cli._lazy import called
from codi_int.cli._numbers import counted
from codi_int.cli._spelling import option_values
from codi_int.errors import CodiError
from codi_int.files import prepare_folder, read_json_object, write_json
from codi_int.run_folder import PLAN, UNITS_NOTE, Run, RunFolder

if TYPE_CHECKING:
    from codi_int.sae.base import SAE
    from codi_int.unit_files import UnitFiles

Found = TypeVar("Found")
Document = Mapping[str, Any]

NAMES = ("model", "base", "sae", "saes", "data", "limit", "train_data", "held_out")
"""options that name what is read: two runs are the same where the hashes of that are"""
NOT_COMPARED = (*NOT_PART, "captures", "save")
"""options that change nothing of what a run finds"""


@dataclass(frozen=True)
class Kept:
    """What a job has left in its folder."""

    names: Sequence[str]
    """its files, as stderr names them; empty where nothing is to be said"""
    drawings: Sequence[tuple[Document, Path]] = ()
    """documents whose figures are drawn, each with the folder they go to"""
    files: Sequence[str] = ()
    """all its files, relative to the folder, where these are not the names"""


def run_folder(
    options: Any, *, free: Sequence[str] = (), growing: Sequence[str] = (), own: Sequence[str] = ()
) -> RunFolder:
    """The folder that `--out` names, for a run of the command that was typed.

    Args:
        options: the command's dataclass; has `out` and `force`.
        free: fields in which two runs of one folder may differ.
        growing: fields of several values, to which a later run of the folder may add more.
        own: documents of earlier releases that the command itself checks and goes on from.
    """
    values = option_values(options)
    document = make_document(called(), options)
    compared = {name: pair for name, pair in values.items() if name not in (*NOT_COMPARED, *free)}
    run = Run(
        command=called(),
        settings=dict(pair for name, pair in compared.items() if name not in NAMES),
        names=dict(pair for name, pair in compared.items() if name in NAMES),
        growing=tuple(values[name][0] for name in growing),
        own=tuple(own),
        words=tuple(command_line()),
        experiment={"experiment": document, "digest": digest_document(document)},
        device=getattr(options, "device", "cpu"),
    )
    return RunFolder(options.out, run, options.force)


def keep_as(name: str, document: Callable[[Found], dict[str, Any]]) -> Callable[[Found, Path], Kept]:
    """A `keep` for what is one JSON document with its figures."""

    def keep(found: Found, out: Path) -> Kept:
        whole = document(found)
        write_json(out / name, whole, indent=1)
        return Kept((name,), [(whole, out)])

    return keep


def run_job(
    work: Callable[[Any], Found],
    *,
    document: Callable[[Found], dict[str, Any]],
    page: Callable[[Found], RenderableType],
    as_json: bool,
    out: RunFolder | None = None,
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
        out: the folder to keep it in; asked and tried before the work begins. `work` claims it, once it knows the
            hashes of what it has loaded.
        keep: writes what is found into the folder.
        inside: folders within `out` that are written to, where it is not `out` itself.
        watch: opens what `work` is called with; by default a bar, or lines in a log.

    Raises:
        OutputError: `out` cannot be written to, holds another run, or is being written to by another process.
    """
    if out is None or out.path is None:
        with _console.warnings_on_stderr(), (watch or _console.progress)() as report:
            found = work(report)
    else:
        # before anything is loaded: nobody is to wait an hour for a result that cannot be kept
        out.check()
        with _made_for(out.path, inside), out.hold():
            found = _work_and_keep(work, out, keep, watch, document)
    show(lambda: document(found), lambda: page(found), as_json)
    return found


@contextmanager
def _made_for(path: Path, inside: Sequence[str]) -> Iterator[None]:
    """The folders that a run writes to, tried; those that it made and left empty are gone again after a failure."""
    folders = [path / name for name in inside] or [path]
    made = [folder for folder in (*folders, path) if not folder.exists()]
    for folder in folders:
        prepare_folder(folder)
    try:
        yield
    except BaseException:  # Ctrl-C too
        for folder in made:
            with suppress(OSError):  # not empty: what a run has finished stays
                folder.rmdir()
        raise


def _work_and_keep(
    work: Callable[[Any], Found],
    out: RunFolder,
    keep: Callable[[Found, Path], Kept] | None,
    watch: Callable[[], AbstractContextManager[Any]] | None,
    document: Callable[[Found], dict[str, Any]],
) -> Found:
    """Do the work and keep what it finds, before anything is printed: `| head` must not cost the files."""
    assert out.path is not None
    started = time.perf_counter()
    try:
        # looked up at the time of the call, so that a test can put another one in its place
        with _console.logged(out.log):
            with _console.warnings_on_stderr(), (watch or _console.progress)() as report:
                found = work(report)
            if keep is not None:
                out.clear()
                kept = keep(found, out.path)
                _remove_units(out.path)
                _hold_against_plan(out, lambda: document(found), time.perf_counter() - started)
                drawn = _tell(kept, out.path)
                out.finish([*(kept.files or kept.names), *drawn])
    except BaseException as error:
        out.log(f"stopped: {type(error).__name__}: {error}")
        out.release()
        raise
    return found


def _hold_against_plan(out: RunFolder, document: Callable[[], dict[str, Any]], seconds: float) -> None:
    """Where `--plan` has left a plan of this very experiment: note it for the manifest, with what the run took."""
    assert out.path is not None
    if not (out.path / PLAN).is_file():
        return
    try:
        plan = read_json_object(out.path / PLAN)
    except CodiError:  # a broken plan must not cost the run
        plan = {}
    if plan.get("digest") != out.digest:
        tell(f"{out.path / PLAN} is of another experiment: this run is not held against it.")
        return
    import torch

    from codi_int.runs.plan import peak_memory

    found = document()
    parts = found.get("results", [found])
    # a curve of two folds is two curves
    parts = [*parts, *(other for one in parts if (other := one.get("exchanged")) is not None)]
    took = {
        "rows": sum(one["counts"]["suffix_rows"] for one in parts),
        "memory": peak_memory(torch.device(out.device)),
        "seconds": round(sum(one["environment"]["seconds"] for one in parts), 3),
        "with_loading": round(seconds, 3),
    }
    out.note(plan=plan, took=took)


def _remove_units(out: Path) -> None:
    """What only a stopped run needs is removed as soon as the whole is kept."""
    if (out / UNITS_NOTE).is_file():
        from codi_int.unit_files import UnitFiles  # loads numpy

        UnitFiles(out).remove()


def show(document: Callable[[], dict[str, Any]], page: Callable[[], RenderableType], as_json: bool) -> None:
    """Print one of the two; the other is not made."""
    if as_json:
        print_json(document())
    else:
        stdout().print(page())


@contextmanager
def keep_on_interrupt(kept: Callable[[], str]) -> Iterator[None]:
    """Where Ctrl-C ends the block, note what is kept, for the message that the command ends with; it stays Ctrl-C.

    Args:
        kept: such as `12 features are kept in runs/screen`; empty where nothing is.
    """
    try:
        yield
    except KeyboardInterrupt:
        words = kept()
        if words and not words.startswith("0 "):
            note_kept(words)
        raise


def units_of(folder: RunFolder) -> "UnitFiles | None":
    """Where a run keeps its finished units, which `run_job` removes at its end; says how many there are already."""
    if folder.path is None:
        return None
    from codi_int.unit_files import UnitFiles

    files = UnitFiles(folder.path)
    if len(files):
        tell(f"Going on: {counted(len(files), 'unit')} of the run are finished in {folder.path}.")
    return files


def command_line() -> list[str]:
    """The command as it was typed, for a manifest."""
    return ["codi-int", *sys.argv[1:]]


def _tell(kept: Kept, out: Path) -> list[str]:
    """Say what lies in the folder, then draw, for drawing takes seconds and the files are safe by then; the figures."""
    if kept.names:
        tell(f"Kept in {out}: {', '.join(kept.names)}")
    drawn = [path for document, folder in kept.drawings for path in keep_figures(document, folder)]
    return [str(path.relative_to(out)) for path in drawn]


def keep_figures(document: Mapping[str, Any], out: Path) -> list[Path]:
    """Draw a document into the folder that keeps it, and say so; returns the files."""
    from codi_int.report.figures import left_out, save_figures  # matplotlib takes half a second to load

    paths = save_figures(document, out)
    # PNG and SVG share a stem; a dict keeps the order in which they were drawn, a set would not
    names = ", ".join(dict.fromkeys(path.stem for path in paths))
    if names:
        tell(f"Figures in {out}, as PNG and SVG: {names}")
    for words in left_out(document):
        tell(f"left out: {words}")
    return paths


def sae_folder(out: Path, source: str, force: bool) -> RunFolder:
    """The folder of an SAE that is put there as it is, asked before anything is loaded.

    Args:
        out: where the SAE goes.
        source: where it comes from, as it was typed.
        force: whether another run is replaced.

    Raises:
        OutputError: the folder holds another run.
    """
    folder = RunFolder(out, Run(called(), names={"the source": source}, words=tuple(command_line())), force)
    folder.check()
    return folder


def keep_sae(sae: "SAE", folder: RunFolder) -> None:
    """Save it there, in the place of another one where that is forced; OutputError where another one lies there."""
    from codi_int.sae.store import CONFIG_FILE, WEIGHTS_FILE, save_sae

    assert folder.path is not None
    folder.claim(sae=sae.sha256)
    save_sae(sae, folder.path)
    folder.clear(keep=(CONFIG_FILE, WEIGHTS_FILE))
    folder.finish([CONFIG_FILE, WEIGHTS_FILE])
