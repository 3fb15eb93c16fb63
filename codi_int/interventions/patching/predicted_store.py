"""A result with its predictions on disk: what `store` keeps, and predictions.parquet beside it."""

from collections.abc import Sequence
from pathlib import Path

from codi_int.files import prepare_folder, replace_file, write_json
from codi_int.interventions.engine.store import save_result
from codi_int.interventions.patching.patch import ValueContrast
from codi_int.interventions.patching.predicted import PredictedResult
from codi_int.types import Number

PREDICTIONS, CONTRAST = "predictions.parquet", "contrast.json"


def save_predicted(result: PredictedResult, folder: str | Path, command: Sequence[str] = ()) -> Path:
    """Write a result and the predictions for single problems into `folder`.

    Raises:
        OutputError: where the folder cannot be written to.
    """
    folder = prepare_folder(folder)
    _write_predictions(result, folder / PREDICTIONS)
    # last, since it writes the manifest, which hashes the table and marks the folder as finished
    return save_result(result, folder, command, also=(PREDICTIONS,))


def save_contrast(contrast: ValueContrast, folder: str | Path) -> None:
    """Write how patches of two kinds compare, beside the folders of the two."""
    write_json(Path(folder) / CONTRAST, contrast.to_dict(), indent=1, allow_nan=True)


def _write_predictions(result: PredictedResult, path: Path) -> None:
    """One row per problem."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = result.predictions
    table = pa.table(
        {
            "problem_id": [row.problem_id for row in rows],
            # types are given: a column of nothing but None would be of no type, and two files would not fit together
            "source_id": pa.array([row.source_id for row in rows], pa.string()),
            "predicted": _make_column([row.answer for row in rows]),
            "informative": [row.informative for row in rows],
            "ambiguous": [row.ambiguous for row in rows],
            "why_not": pa.array([row.why_not for row in rows], pa.string()),
            "source_answer": _make_column([row.source_answer for row in rows]),
            "clean": _make_column([outcome.answer for outcome in result.outcomes["clean"]]),
            "intervened": _make_column([outcome.answer for outcome in result.outcomes["intervened"]]),
        }
    )
    replace_file(path, lambda part: pq.write_table(table, part))


def _make_column(values: Sequence[Number | None]) -> "object":
    import pyarrow as pa

    return pa.array([None if value is None else float(value) for value in values], pa.float64())
