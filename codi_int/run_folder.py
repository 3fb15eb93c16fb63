"""The one rule for folders that keep a run: another run's folder is refused, the same run goes on in it.

A manifest says which run a folder holds: the command with its settings, the hashes of what it read (model, SAE, data),
and the files that it left. A run asks twice: `check` before anything is loaded compares the settings, `claim` the
hashes. `force` replaces what is there: files of the kept run and no others are removed.
"""

import hashlib
import json
import os
import platform
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import gethostname
from typing import Any

from codi_int.errors import OutputError
from codi_int.files import read_json_object, write_json
from codi_int.run_log import LOG, RunLog, describe_machine, now

MANIFEST = "manifest.json"
SCHEMA = "codi-int/manifest@1"
UNITS_NOTE = "finished-units.json"
"""by which a folder is known to hold finished units of a run that was stopped"""
DOCUMENTS = (
    *("result.json", "results.json", "screen.json", "finished.json", "map.json", "curve.json", "roads.json"),
    *("lens.json", "eval.json", "evaluation.json", "thoughts.json", "doctor.json", "capture.json"),
    *("grid.json", "sweep.json", "contrast.json", "cfg.json", "features-rank.json", "comparison.json"),
    *("stop.json", "reproduction.json", UNITS_NOTE),
    *("probe.json", "finished-probes.json"),
    *("features-show.json", "features-specialize.json", "features-pairs.json", "features-export.json"),
)
"""what runs leave behind: by these a folder without a manifest is known to hold one"""
GROWING = "finished"
"""a folder of JSON files, one for each part of a long run that is finished"""
ROWS = "finished"
"""folder of the rows that a screen has finished"""
BESIDE = (".parquet", ".csv", ".png", ".svg")
"""endings of the files that lie beside a document under its name"""
NOT_HASHED = (".safetensors", LOG)
"""weights and activations: gigabytes, and their own sidecars say what they are; a log may go on"""
PLAN = "plan.json"
"""what `--plan` expects of the run that a folder is for; goes into its manifest"""
LOCK = ".lock"
"""held by whoever writes to the folder; its text says who that is"""
LONGEST_NAME = 255
"""bytes of a file's name that every system takes"""
MOST_NAMED = 4
"""files of another run that a refusal names"""


@dataclass(frozen=True)
class Run:
    """What makes two runs the same one."""

    command: str
    """such as `ablate`, or what was saved from Python"""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """option to value, plain JSON types"""
    names: Mapping[str, Any] = field(default_factory=dict)
    """the same for options that name what is read; compared by the hashes of that, kept for messages"""
    growing: tuple[str, ...] = ()
    """settings of several values to which a run of the same folder may add more; no value at all means every one"""
    own: tuple[str, ...] = ()
    """documents without a manifest that the command itself checks and goes on from"""
    words: tuple[str, ...] = ()
    """the command as it was typed"""
    experiment: Mapping[str, Any] = field(default_factory=dict)
    """the command with all its options as one document, and under `digest` the hash of that; for the manifest"""
    device: str = "cpu"
    """where it runs, for the manifest"""


@dataclass(frozen=True)
class KeptRun:
    """What a folder holds."""

    files: tuple[str, ...]
    """relative to the folder, those that are there"""
    run: Mapping[str, Any]
    """`command`, `settings`, `names` and `inputs` of its manifest; empty where that is missing or older"""
    words: str
    """the command as it was typed; empty where nobody knows"""
    finished: bool = True
    """whether it came to its end, as far as its manifest knows"""
    started: str | None = None
    """when it first began"""


class RunFolder:
    """A folder for one run; without a path nothing is kept and nothing is asked."""

    def __init__(self, path: str | Path | None, run: Run, force: bool = False, remedy: str = "add --force") -> None:
        """
        Args:
            path: the folder; None where the run is not kept.
            run: what will be in it.
            force: whether another run is replaced.
            remedy: how that is asked for.
        """
        self.path = None if path is None else Path(path)
        self._run, self._force, self._remedy = run, force, remedy
        self.inputs: dict[str, str] = {}
        self.log = RunLog()
        self._cleared = False
        self._made = False
        self._started = now()
        self._more: dict[str, Any] = {}

    def check(self) -> None:
        """Before anything is loaded.

        Raises:
            OutputError: where the folder holds another run; says which, and where the two differ.
        """
        kept = self._kept()
        if kept is None or self._force:
            return
        if not kept.run:
            # from before there were manifests: only the command that left them can tell whether it goes on there
            if not set(kept.files) & set(DOCUMENTS) <= set(self._run.own):
                raise self._refusal(kept, "")
        elif kept.run["command"] != self._run.command:
            raise self._refusal(kept, "")
        elif difference := self._difference(kept.run["settings"]):
            raise self._refusal(kept, difference)

    def hold(self) -> AbstractContextManager[None]:
        """Keep other processes out while the run lasts; see `hold_folder`. The folder exists by then."""
        return nullcontext() if self.path is None else hold_folder(self.path, self._run.words)

    def claim(self, **inputs: str) -> None:
        """Once everything is loaded and before anything is computed: compare the hashes of what the run reads.

        Args:
            inputs: hash of each, such as `model`, `sae`, `data`.

        Raises:
            OutputError: as for `check`.
        """
        self.inputs = inputs
        kept = self._kept()
        if self.path is None:
            return
        if kept is not None and self._force and self._run.own:
            self.clear()  # a run that goes on from what it finds must find nothing
            kept = None
        if kept is not None and not self._force and kept.run:
            self._compare_inputs(kept)
        if kept is None:
            self._made = not self.path.exists()
            self._write([], finished=False)
        elif not kept.finished and not self._force:
            self._started = kept.started or self._started  # it goes on, and began when it first began
        if kept is None or not self._force:  # else the other run keeps its log until its files go
            self.log.begin(self.path, anew=False)
        self.log(f"{shlex.join(self._run.words) or self._run.command} (process {os.getpid()} on {gethostname()})")

    @property
    def digest(self) -> str:
        """Of the experiment; empty where the run is none of a command."""
        return str(self._run.experiment.get("digest", ""))

    @property
    def device(self) -> str:
        """Where the run is carried out, such as `cpu`."""
        return self._run.device

    def note(self, **more: Any) -> None:
        """Entries for the manifest that are known while the run goes on, in plain JSON types."""
        self._more |= more

    def release(self) -> None:
        """After a run that did not end: a folder in which it left nothing is as it was."""
        if self.path is not None and (self.path / MANIFEST).is_file() and self._kept() is None:
            (self.path / MANIFEST).unlink()
            self.log.drop()
            with suppress(OSError):
                if self._made:
                    self.path.rmdir()

    def clear(self, keep: Sequence[str] = ()) -> None:
        """Remove the files of the run that is there, where it is to be replaced.

        Args:
            keep: files that this run has put in the place of the other's.
        """
        kept = self._kept()
        if self.path is None or kept is None or not self._force or self._cleared:
            return
        self._cleared = True  # what comes later is this run's own
        for name in {*kept.files, MANIFEST} - {*keep, *([LOG] if self.log.begun else [])}:
            (self.path / name).unlink(missing_ok=True)
        for folder in sorted({(self.path / name).parent for name in kept.files} - {self.path}, reverse=True):
            with suppress(OSError):  # files that are none of the run's are in it
                folder.rmdir()
        self.log.begin(self.path, anew=not self.log.begun)

    def finish(self, files: Iterable[str]) -> None:
        """Write the manifest of a run whose files are all there; the last thing a run does."""
        if self.path is not None:
            self.log.begin(self.path, anew=self._force and not self.log.begun)  # if neither claim nor clear has
            self.log("finished")
            self._write([*files, LOG], finished=True)

    def _kept(self) -> KeptRun | None:
        return None if self.path is None else read_kept(self.path)

    def _write(self, files: Iterable[str], finished: bool) -> None:
        assert self.path is not None
        run = {
            "command": self._run.command,
            "settings": dict(self._run.settings),
            "names": dict(self._run.names),
            "inputs": self.inputs,
        }
        times = {"started": self._started, "ended": now() if finished else None}
        machine = {"device": self._run.device, "host": gethostname(), **describe_machine()}
        more = {**self._run.experiment, "finished": finished, **times, **machine, **self._more, "run": run}
        write_manifest(self.path, list(files), self._run.words, more)

    def _difference(self, settings: Mapping[str, Any]) -> str:
        """The first setting in which the kept run differs, in words; empty where there is none."""
        for name in {**settings, **self._run.settings}:
            there, here = settings.get(name), self._run.settings.get(name)
            if there != here and not (name in self._run.growing and _covers(here, there)):
                name, there, here = _where_different(name, there, here)
                return f"{name} is {_shown(there)} there, {_shown(here)} here"
        return ""

    def _compare_inputs(self, kept: KeptRun) -> None:
        there, names = kept.run["inputs"], kept.run["names"]
        for name in (name for name in self.inputs if there.get(name) != self.inputs[name]):
            # by what was typed, where that differs; else the file behind the name has changed
            words = [
                f"{option} is {_shown(names.get(option))} there, {_shown(given)} here"
                for option, given in self._run.names.items()
                if names.get(option) != given
            ]
            changed = f"its {name} is {str(there.get(name))[:12]} there, {self.inputs[name][:12]} here"
            raise self._refusal(kept, ", ".join(words) or changed)

    def _refusal(self, kept: KeptRun, difference: str) -> OutputError:
        files = [name for name in kept.files if name != LOG]
        names = ", ".join(files[:MOST_NAMED]) + (", ..." if len(files) > MOST_NAMED else "")
        what = f"{kept.words} ({names})" if kept.words else names
        return OutputError(
            f"{self.path} holds another run: {what}{'; ' if difference else ''}{difference}.",
            f"Give another folder, or {self._remedy} to replace what is there.",
        )


@contextmanager
def hold_folder(folder: Path, words: Sequence[str] = ()) -> Iterator[None]:
    """Keep every other process from writing to a folder while this one does.

    The system holds the lock for the process (flock), so where that was killed the folder is free at once, whatever its
    lock file still says. Where a file system knows no such locks, the file itself is one, with its owner's process.

    Args:
        folder: an existing folder.
        words: the command as it was typed, for those who are refused.

    Raises:
        OutputError: another process writes there; says which.
    """
    from filelock import FileLock, Timeout

    file = folder / LOCK
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"{folder} is being written to by {_owner(file)}.", "Wait until it has ended, or give another folder."
        ) from None
    try:
        # into the very file that is locked: one put in its place would be another file
        with suppress(OSError):
            file.write_text(json.dumps({"pid": os.getpid(), "host": gethostname(), "command": list(words)}))
        yield
    finally:
        # while it is still held: who has opened the old file meanwhile sees that it is gone, and takes a new one
        with suppress(OSError):
            file.unlink()
        lock.release()


def _owner(file: Path) -> str:
    """Who holds a lock, in words."""
    try:
        found = json.loads(file.read_text())
        return f"{shlex.join(map(str, found['command'])) or 'another run'} (process {found['pid']} on {found['host']})"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"


def read_kept(folder: Path) -> KeptRun | None:
    """The run that a folder holds; None for none, and for one that was stopped before it left anything.

    Raises:
        OutputError: a manifest that cannot be read.
    """
    # a screen keeps the rows of each site in a file of its own while it runs
    rows = [f"{ROWS}/{path.name}" for path in sorted((folder / ROWS).glob("*.json"))]
    documents = [*(name for name in DOCUMENTS if (folder / name).is_file()), *rows]
    parts = sorted(f"{GROWING}/{path.name}" for path in (folder / GROWING).glob("*.json"))
    beside = [Path(name).stem + end for name in documents for end in BESIDE]
    beside += ["outcomes.parquet", "predictions.parquet", "report.html"]
    also = [name for name in beside if (folder / name).is_file()]
    known = tuple(dict.fromkeys([*documents, *(also if documents else []), *parts]))
    if not (folder / MANIFEST).is_file():
        return KeptRun(known, {}, "") if known else None
    manifest = _read_manifest(folder / MANIFEST)
    listed = [name for name in (*manifest["files"], *manifest["sha256"]) if (folder / name).is_file()]
    files = tuple(dict.fromkeys([*listed, *known]))
    words, began = shlex.join(map(str, manifest["command"])), manifest.get("started")
    finished = manifest.get("finished") is not False
    return KeptRun(files, manifest["run"], words, finished, str(began) if began else None) if files else None


def _read_manifest(path: Path) -> dict[str, Any]:
    """A manifest with the entries that are asked for, all of the right kind."""
    remedy = "Remove it, or give another folder."
    empty: dict[str, Any] = {"files": [], "sha256": {}, "command": [], "run": {}}
    found = empty | read_json_object(path, error=OutputError, remedy=remedy)
    if is_newer(found.get("schema"), SCHEMA):
        raise OutputError(
            f"{path} is of schema {found['schema']!r}, newer than this program's {SCHEMA!r}.",
            "Install the release that wrote it, or give another folder.",
        )
    whole = _are(found, files=list, sha256=dict, command=list, run=dict)
    if not whole or (found["run"] and not _are(found["run"], command=str, settings=dict, names=dict, inputs=dict)):
        raise OutputError(f"{path} is no manifest of a run.", remedy)
    for name in (*found["files"], *found["sha256"]):
        # --force removes what a manifest lists, and a folder may be a stranger's: nothing that lies elsewhere
        if not isinstance(name, str) or not _is_inside(name):
            raise OutputError(f"{path} names {str(name)[:80]!r}, which is no file of its folder.", remedy)
    return found


def is_newer(schema: object, known: str) -> bool:
    """Whether a document is of a later version of a schema, such as `codi-int/manifest@2` of `codi-int/manifest@1`."""
    name, _, number = str(schema).rpartition("@")
    own, _, highest = known.rpartition("@")
    return name == own and number.isdecimal() and int(number) > int(highest)


def _is_inside(name: str) -> bool:
    """Whether a file of this name can lie in a folder, at any depth; longer ones have no system that takes them."""
    outside = Path(name).is_absolute() or ".." in Path(name).parts
    return not outside and "\0" not in name and len(name.encode()) <= LONGEST_NAME


def _are(found: Mapping[str, Any], **kinds: type) -> bool:
    """Whether entries are there, each of its kind."""
    return all(isinstance(found.get(name), kind) for name, kind in kinds.items())


def write_manifest(
    folder: Path, files: Sequence[str], words: Sequence[str] = (), more: Mapping[str, Any] | None = None
) -> None:
    """Write what is in a folder and how it came about.

    Args:
        files: names of the run's files, relative to the folder; those that are not there are passed over.
        words: the command as it was typed.
        more: further entries.
    """
    there = [name for name in dict.fromkeys(files) if name != MANIFEST and (folder / name).is_file()]
    hashes = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in there
        if not name.endswith(NOT_HASHED)
    }
    manifest = {"schema": SCHEMA, "command": list(words), **(more or {}), "python": platform.python_version()}
    write_json(folder / MANIFEST, {**manifest, "files": there, "sha256": hashes}, indent=1)


def _where_different(name: str, there: Any, here: Any) -> tuple[str, Any, Any]:
    """A setting and its two values; of mappings, such as the experiment of a result, the first entry that differs."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in (key for key in {**there, **here} if there.get(key) != here.get(key)):
            return f"{key} of {name}", there.get(key), here.get(key)
    return name, there, here


def _covers(here: Any, there: Any) -> bool:
    """Whether a list of values holds all of another; an empty one stands for every value."""
    return not here or (isinstance(there, list) and bool(there) and all(value in here for value in there))


def _shown(value: Any) -> str:
    """A value as it would be typed."""
    if value is None or value == []:
        return "not given"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
