"""A finished experiment on disk: result.json, outcomes.parquet, manifest.json."""

from collections.abc import Sequence
from pathlib import Path

from codi_int.files import prepare_folder as prepare_folder  # also imported from here
from codi_int.files import replace_file, write_json, write_text
from codi_int.interventions.engine.summary import ResultFamily
from codi_int.run_folder import MANIFEST as MANIFEST
from codi_int.run_folder import write_manifest
from codi_int.types import Result

RESULT, OUTCOMES = "result.json", "outcomes.parquet"
FAMILY = "results.json"


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
    write_text(folder / RESULT, result.to_json(indent=1) + "\n")
    _write_outcomes(result, folder / OUTCOMES)
    # last: a folder with a manifest is a finished one, whose hashes are of the files beside it
    write_manifest(folder, [RESULT, OUTCOMES, *also], command)
    return folder


def save_family(family: ResultFamily, names: Sequence[str], folder: str | Path, command: Sequence[str] = ()) -> Path:
    """Write each result into a folder of its own below `folder`, and all of them with their adjusted p-values.

    Raises:
        OutputError: where a folder cannot be written to.
    """
    folder = prepare_folder(folder)
    for name, result in zip(names, family.results, strict=True):
        save_result(result, folder / name, command)
    write_json(folder / FAMILY, family.to_dict(), indent=1)
    return folder


def _write_outcomes(result: Result, path: Path) -> None:
    """One row per arm and problem."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # long form: arms one after the other, each in the order of the problems
    rows = [(arm, o) for arm, outcomes in result.outcomes.items() for o in outcomes]
    table = pa.table(
        {
            "arm": [arm for arm, _ in rows],
            "problem_id": [o.problem_id for _, o in rows],
            # a column has one type, and answers are int or float; the type is given for a column of nothing but None
            "answer": pa.array([None if o.answer is None else float(o.answer) for _, o in rows], pa.float64()),
            "correct": [o.correct for _, o in rows],
            "answer_logprob": [o.answer_logprob for _, o in rows],
            "touched": [o.touched for _, o in rows],
        }
    )
    replace_file(path, lambda part: pq.write_table(table, part))
