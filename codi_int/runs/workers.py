"""Several workers on one list of units: who does what, and what happens where one of them fails or dies.

A crew (`ProcessCrew`, `RayCrew`) knows how workers are started, told and heard; everything else is here, once. Each
worker opens the work once (model, SAEs, problems) and then does unit after unit; results come back to this process,
the only one that writes.
"""

import hashlib
import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from socket import gethostname
from typing import Any, Literal, Protocol, runtime_checkable

import codi_int
from codi_int.errors import CodiError, ConfigError, DataError, UnitError
from codi_int.units import Keep, Unit

MOST_DEATHS = 3
"""workers that may die over one unit, or one after the other before they are ready"""


@dataclass(frozen=True)
class Bench:
    """What a worker has in front of it once everything is loaded."""

    do: Callable[[Any], Any]
    """from a unit's task to what comes of it"""
    inputs: Mapping[str, str]
    """hash of each thing that was read, such as `model`"""


@dataclass(frozen=True)
class Work:
    """What a worker is told before its first unit."""

    opener: str
    """`module:function`, called with the settings; returns a `Bench`"""
    settings: bytes
    """pickled, and read only where the programs are the same"""
    inputs: Mapping[str, str]
    """hashes of what this process has read; a worker that reads something else is refused"""
    threads: int
    """of torch: the order of sums, and with it the last digits, depends on them"""
    program: str
    """as `program_version` says it here"""

    @classmethod
    def of(cls, opener: str, settings: Any, inputs: Mapping[str, str]) -> "Work":
        """The work as this process would do it."""
        import torch

        return cls(opener, pickle.dumps(settings), dict(inputs), torch.get_num_threads(), program_version())

    def open(self) -> Callable[[Any], Any]:
        """Load everything, in a worker; returns what does a unit's task.

        Raises:
            ConfigError: the worker has another version of the program.
            DataError: it has read another model, SAE or data.
        """
        if (here := program_version()) != self.program:
            raise ConfigError(
                f"A worker on {gethostname()} has codi-int {here}, and this is {self.program}.",
                "Install the same version on every machine.",
            )
        import torch

        torch.set_num_threads(self.threads)
        module, function = self.opener.split(":")
        bench: Bench = getattr(import_module(module), function)(pickle.loads(self.settings))
        for name, wanted in self.inputs.items():
            if (found := bench.inputs.get(name, "")) != wanted:
                raise DataError(
                    f"A worker on {gethostname()} has read another {name}: {found[:12]}, not {wanted[:12]}.",
                    f"Put the same {name} in the same place on every machine.",
                )
        return bench.do


@dataclass(frozen=True)
class Report:
    """What a worker has to say."""

    slot: int
    """which worker, counted from 0; one that takes another's place has its number"""
    kind: Literal["ready", "refused", "done", "failed", "died"]
    """it has opened the work, or cannot; a unit is done, or raised; the worker is gone"""
    value: Any = None
    """what came of a unit; the error where the work could not be opened"""
    words: str = ""
    """who speaks, or what went wrong"""


@runtime_checkable  # what checks annotations while it runs, such as beartype in the tests, asks isinstance
class Crew(Protocol):
    """Workers that can be started, told and heard."""

    def start(self, slot: int) -> None:
        """Begin a worker, or put another one in the place of one that has died."""

    def give(self, slot: int, task: Any) -> None:
        """Tell a worker that waits."""

    def wait(self) -> Sequence[Report]:
        """What workers have said since; waits for at least one of them."""

    def close(self) -> None:
        """End all of them, whatever they are doing."""


@dataclass(frozen=True)
class UnitRecord:
    """Who did a unit, for manifests and for plans of larger runs."""

    name: str
    """of the unit"""
    worker: str
    """such as `worker 1 (process 4711 on node3)`"""
    seconds: float
    """from when it was given until it was back"""


@dataclass
class Workers:
    """A `UnitRunner` of several workers; they stay for the next list, with everything loaded."""

    crew: Crew
    """how they are reached"""
    n: int
    """how many"""
    log: Callable[[str], None] = lambda words: None
    """told of every unit, and of every worker that comes or goes"""
    done: list[UnitRecord] = field(default_factory=list)
    """units that have been done"""
    openings: list[float] = field(default_factory=list)
    """seconds that each worker needed until it was ready"""
    spent: float = 0.0
    """seconds from the start of the first worker to the last result"""
    _began: dict[int, float] = field(default_factory=dict)
    _first: float | None = None
    _names: dict[int, str] = field(default_factory=dict)
    _idle: set[int] = field(default_factory=set)
    _died_early: int = 0

    def __call__(self, units: Sequence[Unit], keep: Keep) -> None:
        """Have all units done.

        Raises:
            UnitError: some failed on every worker; all others are kept by then.
            CodiError: workers cannot open the work.
        """
        _Round(self, units, keep).run()

    def begin(self, slot: int) -> None:
        """Start a worker."""
        self._idle.discard(slot)
        self._began[slot] = time.perf_counter()
        self._first = self._began[slot] if self._first is None else self._first
        self.crew.start(slot)
        self._names.setdefault(slot, "")

    def hears(self, report: Report) -> None:
        """Note what a report says of its worker."""
        slot = report.slot
        self.spent = round(time.perf_counter() - (self._first or 0.0), 3)
        if report.kind == "refused":
            raise _as_error(report.value)
        if report.kind == "ready":
            self._names[slot] = f"worker {slot + 1} ({report.words})"
            self.openings.append(round(time.perf_counter() - self._began[slot], 3))
            self.log(f"{self._names[slot]} is ready")
        if report.kind == "died":
            self._died(report)
        else:
            self._died_early = 0
            self._idle.add(slot)

    def _died(self, report: Report) -> None:
        slot = report.slot
        was_ready, self._names[slot] = bool(self._names[slot]), ""
        self.log(f"worker {slot + 1} has died: {report.words}")
        self._died_early = 0 if was_ready else self._died_early + 1
        if self._died_early >= MOST_DEATHS:
            raise UnitError(
                f"{MOST_DEATHS} workers one after the other died while they started: {report.words}.",
                "Give fewer workers (--workers), a machine with more memory, or --engine local to see why.",
            )
        self.begin(slot)

    def name_of(self, slot: int) -> str:
        """A worker in words."""
        return self._names.get(slot) or f"worker {slot + 1}"

    @property
    def slots(self) -> list[int]:
        """Workers that have been started."""
        return sorted(self._names)

    def take_idle(self) -> list[int]:
        """Workers that wait for a unit."""
        return sorted(self._idle)

    def give(self, slot: int, unit: Unit) -> None:
        """Let a worker do a unit."""
        self._idle.discard(slot)
        self.crew.give(slot, unit.task)


class _Round:
    """One list of units on the workers."""

    def __init__(self, workers: Workers, units: Sequence[Unit], keep: Keep) -> None:
        self._workers, self._keep = workers, keep
        self._waiting = list(units)
        self._busy: dict[int, tuple[Unit, float]] = {}
        # unit -> worker -> what it said; and unit -> how many died over it
        self._raised: dict[str, dict[int, str]] = {unit.name: {} for unit in units}
        self._deaths = dict.fromkeys(self._raised, 0)
        self._lost: dict[str, str] = {}
        self._n_units = len(units)

    def run(self) -> None:
        """See `Workers`."""
        for slot in range(min(self._workers.n, self._n_units)):
            if slot not in self._workers.slots:
                self._workers.begin(slot)
        while self._waiting or self._busy:
            self._assign()
            for report in self._workers.crew.wait():
                self._hear(report)
        if self._lost:
            name, words = next(iter(self._lost.items()))
            raise UnitError(
                f"{len(self._lost)} of {self._n_units} units failed on every worker: {', '.join(self._lost)}; "
                f"{name} says {words}.",
                "All others are done and kept. Mend the cause and give the same command; it does these alone.",
            )

    def _assign(self) -> None:
        for slot in self._workers.take_idle():
            # what this worker has failed at is left for another one
            unit = next((unit for unit in self._waiting if slot not in self._raised[unit.name]), None)
            if unit is not None:
                self._waiting.remove(unit)
                self._busy[slot] = unit, time.perf_counter()
                self._workers.give(slot, unit)

    def _hear(self, report: Report) -> None:
        unit, began = self._busy.pop(report.slot, (None, 0.0))
        who, seconds = self._workers.name_of(report.slot), time.perf_counter() - began
        self._workers.hears(report)
        if unit is None:
            return
        if report.kind == "done":
            self._keep(unit, report.value)
            self._workers.done.append(UnitRecord(unit.name, who, round(seconds, 3)))
            self._workers.log(f"{unit.name}: done by {who} in {seconds:.2f} s")
        else:
            self._workers.log(f"{unit.name}: {report.kind} on {who}: {report.words}")
            self._again(unit, report)

    def _again(self, unit: Unit, report: Report) -> None:
        """Put a unit back, unless every worker has failed at it."""
        if report.kind == "died":
            self._deaths[unit.name] += 1
        else:
            self._raised[unit.name][report.slot] = report.words
        if self._deaths[unit.name] >= MOST_DEATHS or set(self._workers.slots) <= set(self._raised[unit.name]):
            self._lost[unit.name] = report.words
        else:
            self._waiting.insert(0, unit)


def program_version() -> str:
    """The version of this program and the beginning of a hash of its source, for a checkout keeps its version."""
    root = Path(codi_int.__file__).parent
    whole = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        whole.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return f"{codi_int.__version__} ({whole.hexdigest()[:8]})"


def describe_worker() -> str:
    """This process in words."""
    return f"process {os.getpid()} on {gethostname()}"


def describe_failure(error: BaseException) -> str:
    """An error in one line: its rule where it is ours, else its class too."""
    words = error.rule if isinstance(error, CodiError) else f"{type(error).__name__}: {error}"
    return " ".join(words.split()).rstrip(".")


def refusal_of(error: BaseException) -> tuple[str, str, str]:
    """Why the work cannot be opened, in plain words that every worker can send."""
    if isinstance(error, CodiError):
        return type(error).__name__, error.rule, error.remedy
    return "", f"A worker on {gethostname()} cannot begin: {describe_failure(error)}.", "--engine local shows more."


def _as_error(refusal: tuple[str, str, str]) -> CodiError:
    import codi_int.errors

    name, rule, remedy = refusal
    kind: type[CodiError] = getattr(codi_int.errors, name, UnitError)
    return kind(rule, remedy)
