"""A finished experiment on disk: result.json, outcomes.parquet, manifest.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codi_int.files import prepare_folder, write_json, write_text
from codi_int.interventions.engine.documents import write_table
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
    write_table(folder / OUTCOMES, _outcome_rows(result), {"answer": "float64", "answer_margin": "float64"})
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


def _outcome_rows(result: Result) -> list[dict[str, Any]]:
    """One row per arm and problem: arms one after the other, each in the order of the problems."""
    return [
        {
            "arm": arm,
            "problem_id": outcome.problem_id,
            # a column has one type, and answers are int or float
            "answer": None if outcome.answer is None else float(outcome.answer),
            "correct": outcome.correct,
            "answer_logprob": outcome.answer_logprob,
            "answer_margin": outcome.answer_margin,
            "touched": outcome.touched,
        }
        for arm, outcomes in result.outcomes.items()
        for outcome in outcomes
    ]
