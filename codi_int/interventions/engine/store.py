"""A finished experiment on disk: result.json, outcomes.parquet, manifest.json."""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from codi_int.errors import OutputError
from codi_int.interventions.engine.summary import ResultFamily
from codi_int.types import Result

RESULT, OUTCOMES, MANIFEST = "result.json", "outcomes.parquet", "manifest.json"
FAMILY = "results.json"


def prepare_folder(folder: str | Path) -> Path:
    """The folder, made where missing and tried; OutputError where nothing can be written there.

    Called before a run, so that nobody waits for a result that cannot be kept.
    """
    folder = Path(folder)
    probe = folder / ".codi-int-probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"{folder} cannot be written to: {reason}.", "Give a folder you may write to.") from None
    return folder


def save_result(result: Result, folder: str | Path, command: Sequence[str] = (), also: Sequence[str] = ()) -> Path:
    """Write a result into `folder`.

    Args:
        result: what to write.
        folder: where; made where missing, files of an earlier result are replaced.
        command: the command line that led to it, for the manifest.
        also: names of further files of this result that lie in the folder already, for the manifest.

    Raises:
        OutputError: where the folder cannot be written to.
    """
    folder = prepare_folder(folder)
    try:
        _replace(folder / RESULT, (result.to_json(indent=1) + "\n").encode())
        _write_outcomes(result, folder / OUTCOMES)
        _replace(folder / MANIFEST, (json.dumps(_manifest(folder, command, also), indent=1) + "\n").encode())
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written to: {error.strerror}.", "Free some space or give another folder."
        ) from None
    return folder


def save_family(family: ResultFamily, names: Sequence[str], folder: str | Path, command: Sequence[str] = ()) -> Path:
    """Write each result into a folder of its own below `folder`, and all of them with their adjusted p-values.

    Raises:
        OutputError: where a folder cannot be written to.
    """
    folder = prepare_folder(folder)
    for name, result in zip(names, family.results, strict=True):
        save_result(result, folder / name, command)
    try:
        _replace(folder / FAMILY, (json.dumps(family.to_dict(), indent=1, allow_nan=False) + "\n").encode())
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written to: {error.strerror}.", "Free some space or give another folder."
        ) from None
    return folder


def _write_outcomes(result: Result, path: Path) -> None:
    """One row per arm and problem."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [(arm, o) for arm, outcomes in result.outcomes.items() for o in outcomes]
    table = pa.table(
        {
            "arm": [arm for arm, _ in rows],
            "problem_id": [o.problem_id for _, o in rows],
            "answer": pa.array([None if o.answer is None else float(o.answer) for _, o in rows], pa.float64()),
            "correct": [o.correct for _, o in rows],
            "answer_logprob": [o.answer_logprob for _, o in rows],
            "touched": [o.touched for _, o in rows],
        }
    )
    part = path.with_suffix(".part")
    pq.write_table(table, part)
    os.replace(part, path)


def _manifest(folder: Path, command: Sequence[str], also: Sequence[str] = ()) -> dict[str, object]:
    """What is in the folder and how it came about."""
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (RESULT, OUTCOMES, *also)}
    return {
        "schema": "codi-int/manifest@1",
        "command": list(command),
        "python": sys.version.split()[0],
        "sha256": files,
    }


def _replace(path: Path, content: bytes) -> None:
    """Write in one go: a reader sees the old file or the new one, never half of it."""
    part = path.with_suffix(".part")
    part.write_bytes(content)
    os.replace(part, path)
