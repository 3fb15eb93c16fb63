"""Workers as actors of Ray: of a cluster that is there already, or of one that is begun on this machine for the run.

What Ray leaves behind stays in the run's folder, under `.ray`: its sessions, and the token without which no port of
the cluster answers (it listens on all interfaces). Both are removed when the run ends.
"""

import importlib
import importlib.util
import os
import secrets
import shutil
import socket
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from codi_int.errors import CodiWarning, ConfigError
from codi_int.runs.workers import Report, Work, describe_failure, describe_worker, refusal_of

FOLDER, TOKEN = ".ray", "token"
OBJECT_STORE = 256 * 2**20
"""bytes of memory for what travels between the processes of a cluster of this machine"""
ANSWER = 5.0
"""seconds in which an address has to answer"""


def require_ray() -> None:
    """ConfigError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "--engine ray needs Ray, which is not installed.",
            "Install it: pip install 'codi-int[ray]'; --engine processes needs nothing.",
        )


def check_address(address: str) -> None:
    """ConfigError where no cluster can be at an address; asked before anything is loaded."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"--address {address} is no HOST:PORT.", "Write 10.0.0.1:6379, or auto on a node of it.")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except OSError as error:
        raise _no_cluster(address, str(error.strerror or error).lower()) from None


class UnitActor:
    """A worker, in a process of Ray's."""

    def __init__(self, work: Work) -> None:
        """
        Args:
            work: what is opened before the first unit.
        """
        self._work = work
        self._do: Any = None

    def open(self) -> tuple[str, Any, str]:
        """Open the work."""
        warnings.simplefilter("ignore", CodiWarning)  # the process that keeps results says them, once
        try:
            self._do = self._work.open()
        except Exception as error:
            return "refused", refusal_of(error), ""
        return "ready", None, describe_worker()

    def do(self, task: Any) -> tuple[str, Any, str]:
        """Do a unit."""
        try:
            return "done", self._do(task), ""
        except Exception as error:
            return "failed", None, describe_failure(error)


class RayCrew:
    """See `Crew`."""

    def __init__(
        self, work: Work, n: int, address: str | None = None, folder: Path | None = None, gpus: float = 0.0
    ) -> None:
        """
        Args:
            work: what every worker opens.
            n: how many workers there will be.
            address: of a cluster; None begins one on this machine.
            folder: where one of this machine keeps its token and its temporary files.
            gpus: of each worker; two workers of 0.5 share one.

        Raises:
            ConfigError: no cluster at the address, or one that has not enough GPUs.
        """
        require_ray()
        self._home = None if address is not None or folder is None else _Home(folder)
        self._ray: Any = None
        try:
            self._ray = _begin(n, address, self._home, gpus)
            actor = self._ray.remote(UnitActor)
            # one core for each thread, so that a cluster does not put more on a machine than it has
            cpus = 1 if address is None else work.threads
            self._actor = actor.options(num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0)
        except BaseException:
            self.close()
            raise
        self._work = self._ray.put(work)
        self._actors: dict[int, Any] = {}
        self._waiting: dict[Any, int] = {}

    def start(self, slot: int) -> None:
        """See `Crew`."""
        self._actors[slot] = self._actor.remote(self._work)
        self._waiting[self._actors[slot].open.remote()] = slot

    def give(self, slot: int, task: Any) -> None:
        """See `Crew`."""
        self._waiting[self._actors[slot].do.remote(task)] = slot

    def wait(self) -> Sequence[Report]:
        """See `Crew`."""
        ready, _ = self._ray.wait(list(self._waiting), num_returns=1)
        return [self._heard(reference) for reference in ready]

    def close(self) -> None:
        """See `Crew`."""
        if self._ray is not None:
            with suppress(Exception):
                for actor in getattr(self, "_actors", {}).values():
                    self._ray.kill(actor)
            self._ray.shutdown()
        if self._home is not None:
            self._home.remove()

    def _heard(self, reference: Any) -> Report:
        slot = self._waiting.pop(reference)
        try:
            kind, value, words = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            # it may be there still (ActorUnavailableError after a lost connection); another one takes its place
            with suppress(Exception):
                self._ray.kill(self._actors[slot])
            return Report(slot, "died", words=describe_failure(error)[:300])
        return Report(slot, kind, value, words)


class _Home:
    """Where a cluster of this machine keeps what it writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve() / FOLDER
        shutil.rmtree(self.folder, ignore_errors=True)  # of a run that was killed
        self.folder.mkdir(parents=True)
        self.token = self.folder / TOKEN
        with open(os.open(self.token, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        # Names of sockets have 107 characters at most, and Ray's lie 70 below its folder: a short link leads there.
        self.link = Path(tempfile.mkdtemp(prefix="ci-")) / "r"
        self.link.symlink_to(self.folder)

    def remove(self) -> None:
        """Remove everything; daemons that are about to end may still write into it."""
        shutil.rmtree(self.link.parent, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _begin(n: int, address: str | None, home: _Home | None, gpus: float) -> Any:
    """Ray, connected to a cluster."""
    # and workers at the priority of everybody else, not at the lowest
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    if home is not None:
        # read when Ray is imported: without them it would write a token into the user's home
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(home.token)}
    ray = importlib.import_module("ray")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    try:
        if home is None:
            ray.init(address=address, **quiet)
        else:
            ray.init(
                num_cpus=n,
                _temp_dir=str(home.link),
                include_dashboard=False,
                object_store_memory=OBJECT_STORE,
                **quiet,
            )
    except Exception as error:  # Ray has a dozen kinds of these, and plain ones of Python besides
        raise _no_cluster(address or "of this machine", describe_failure(error)[:200]) from None
    if gpus > (there := ray.cluster_resources().get("GPU", 0.0)):
        ray.shutdown()
        raise ConfigError(
            f"--gpus-per-worker {gpus:g}: the cluster has {there:g} GPUs.", "Give --gpus-per-worker 0, or add nodes."
        )
    return ray


def _no_cluster(address: str, reason: str) -> ConfigError:
    return ConfigError(
        f"--address {address}: no Ray cluster answers there ({reason}).",
        "Start one (ray start --head), with the same token here and there, or leave --address out.",
    )
