"""Workers as processes of this machine, started anew (not forked): no requirement, and a kill harms nobody else."""

import os
import pickle
import signal
import warnings
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

from codi_int.errors import CodiWarning
from codi_int.runs.workers import Report, Work, describe_failure, describe_worker, refusal_of


class ProcessCrew:
    """See `Crew`."""

    def __init__(self, work: Work, gpus: float = 0.0) -> None:
        """
        Args:
            work: what every worker opens.
            gpus: of each worker: 1, or 0.5 where two share one; 0 leaves what they see as it is.
        """
        self._work, self._gpus = work, gpus
        # spawned: a fork would copy torch's threads as they stand, with their locks held
        self._context = get_context("spawn")
        self._pipes: dict[int, Connection] = {}
        self._processes: dict[int, Any] = {}

    def start(self, slot: int) -> None:
        """See `Crew`."""
        self._end(slot)
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._work, self._visible(slot)), daemon=True)
        process.start()
        theirs.close()  # so that the pipe ends where the worker does
        self._pipes[slot], self._processes[slot] = ours, process

    def give(self, slot: int, task: Any) -> None:
        """See `Crew`."""
        with suppress(OSError):  # it has died, as `wait` will say
            self._pipes[slot].send_bytes(pickle.dumps(task))

    def wait(self) -> Sequence[Report]:
        """See `Crew`."""
        slots = {id(pipe): slot for slot, pipe in self._pipes.items()}
        return [self._heard(slots[id(pipe)]) for pipe in connection.wait(list(self._pipes.values()))]

    def close(self) -> None:
        """See `Crew`."""
        for slot in list(self._pipes):
            self._end(slot)

    def _heard(self, slot: int) -> Report:
        try:
            kind, value, words = pickle.loads(self._pipes[slot].recv_bytes())
        except (EOFError, OSError):
            self._processes[slot].join(timeout=5)
            return Report(slot, "died", words=f"exit code {self._processes[slot].exitcode}")
        return Report(slot, kind, value, words)

    def _end(self, slot: int) -> None:
        if slot in self._pipes:
            self._pipes.pop(slot).close()
            process = self._processes.pop(slot)
            process.kill()  # it writes no file, so nothing is cut short
            process.join()

    def _visible(self, slot: int) -> str | None:
        """The GPU that a worker sees: as many workers on each as its share allows."""
        if not self._gpus:
            return None
        first = int(slot * self._gpus + 1e-9)
        return ",".join(str(first + i) for i in range(max(1, round(self._gpus))))


def _serve(pipe: Connection, work: Work, visible: str | None) -> None:
    """A worker's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one decides
    Thread(target=_end_with_parent, daemon=True).start()
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible  # before torch looks
    warnings.simplefilter("ignore", CodiWarning)  # the process that keeps results says them, once
    try:
        do = work.open()
    except BaseException as error:
        _say(pipe, "refused", refusal_of(error))
        return
    _say(pipe, "ready", words=describe_worker())
    while True:
        try:
            task = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            answer = ("done", do(task), "")
        except Exception as error:
            answer = ("failed", None, describe_failure(error))
        _say(pipe, *answer)


def _say(pipe: Connection, kind: str, value: Any = None, words: str = "") -> None:
    # Plain pickle: that of `send` would hand tensors over in shared memory, which is gone if the worker dies.
    pipe.send_bytes(pickle.dumps((kind, value, words)))


def _end_with_parent() -> None:
    """Leave where the process that keeps results is killed: nobody would hear what comes of a unit."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
