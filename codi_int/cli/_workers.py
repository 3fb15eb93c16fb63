"""`--engine`: the workers that a command's options ask for, and what each of them is told."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from codi_int.cli import _options as o
from codi_int.cli._console import tell
from codi_int.errors import ConfigError
from codi_int.run_folder import Run, RunFolder

if TYPE_CHECKING:
    from codi_int.runs.workers import Crew, Work
    from codi_int.units import UnitRunner

DEFAULT_WORKERS = 2


def check_engine(options: o.EngineOptions, out: Any) -> None:
    """Slips that need nothing loaded; ConfigError says which options go together."""
    given = {"--workers": options.workers, "--address": options.address, "--gpus-per-worker": options.gpus_per_worker}
    if options.engine == "local":
        for name, value in given.items():
            if value is not None:
                raise ConfigError(
                    f"{name} {value} says how other processes work, and --engine is local.",
                    "Add --engine processes, or --engine ray for several machines.",
                )
    if options.engine == "processes" and options.address is not None:
        raise ConfigError(
            f"--address {options.address} is that of a Ray cluster, and --engine is processes.", "Add --engine ray."
        )
    if options.engine == "ray":
        from codi_int.runs.ray_cluster import check_address, require_ray

        require_ray()
        if options.address is not None:
            check_address(options.address)
        elif out is None:
            raise ConfigError(
                "--engine ray keeps its token and its temporary files in the run's folder, and --out is missing.",
                "Add --out FOLDER.",
            )


@contextmanager
def open_workers(options: Any, folder: RunFolder, opener: str) -> "Iterator[UnitRunner | None]":
    """Workers for the units of a run that has claimed its folder; None where this process does everything itself.

    Args:
        options: of the command; an `EngineOptions`.
        folder: the run's; its hashes are what workers must find too, and its log and manifest name their units.
        opener: `module:function` that makes a `Bench` of the options, in each worker.
    """
    if options.engine == "local":
        yield None
        return
    from codi_int.runs.workers import Work, Workers

    n = options.workers or DEFAULT_WORKERS
    work = Work.of(opener, replace(options, engine="local"), folder.inputs)
    _warn_of_threads(n, work.threads, options)
    crew = _crew(options, work, folder)
    workers = Workers(crew, n, folder.log)
    try:
        yield workers
    finally:
        crew.close()
        folder.note(
            workers={
                "engine": options.engine,
                "n": n,
                "seconds": workers.spent,
                "openings": workers.openings,
                "units": [asdict(record) for record in workers.done],
            }
        )


def no_folder() -> RunFolder:
    """What a worker has for a folder: it keeps nothing, and notes the hashes of what was read."""
    return RunFolder(None, Run(""))


def _crew(options: Any, work: "Work", folder: RunFolder) -> "Crew":
    gpus = options.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if str(options.device).startswith("cuda") else 0.0
    if options.engine == "processes":
        from codi_int.runs.processes import ProcessCrew

        return ProcessCrew(work, gpus)
    from codi_int.runs.ray_cluster import RayCrew

    return RayCrew(work, options.workers or DEFAULT_WORKERS, options.address, folder.path, gpus)


def _warn_of_threads(n: int, threads: int, options: Any) -> None:
    """More threads than cores slow every worker down; fewer of them would change the last digits."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if options.address is None and n * threads > cores:
        tell(
            f"{n} workers of {threads} threads each share {cores} cores: OMP_NUM_THREADS={max(1, cores // n)} before "
            "the command is faster."
        )
