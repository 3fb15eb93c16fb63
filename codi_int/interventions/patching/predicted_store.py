"""A result with its predictions on disk: what `store` keeps, and predictions.parquet beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codi_int.files import prepare_folder, write_json
from codi_int.interventions.engine.documents import write_table
from codi_int.interventions.engine.store import save_result
from codi_int.interventions.patching.patch import ValueContrast
from codi_int.interventions.patching.predicted import PredictedResult
from codi_int.types import Number

PREDICTIONS, CONTRAST = "predictions.parquet", "contrast.json"
TYPES = {
    **dict.fromkeys(("source_id", "why_not"), "string"),
    **dict.fromkeys(("predicted", "source_answer", "clean", "intervened"), "float64"),
}
"""of the columns that may hold nothing but None"""


def save_predicted(result: PredictedResult, folder: str | Path, command: Sequence[str] = ()) -> Path:
    """Write a result and the predictions for single problems into `folder`.

    Raises:
        OutputError: where the folder cannot be written to.
    """
    folder = prepare_folder(folder)
    write_table(folder / PREDICTIONS, _prediction_rows(result), TYPES)
    # last, since it writes the manifest, which hashes the table and marks the folder as finished
    return save_result(result, folder, command, also=(PREDICTIONS,))


def save_contrast(contrast: ValueContrast, folder: str | Path) -> None:
    """Write how patches of two kinds compare, beside the folders of the two."""
    write_json(Path(folder) / CONTRAST, contrast.to_dict(), indent=1, allow_nan=True)


def _prediction_rows(result: PredictedResult) -> list[dict[str, Any]]:
    """One row per problem."""
    arms = (result.predictions, result.outcomes["clean"], result.outcomes["intervened"])
    return [
        {
            "problem_id": predicted.problem_id,
            "source_id": predicted.source_id,
            "predicted": _as_float(predicted.answer),
            "informative": predicted.informative,
            "ambiguous": predicted.ambiguous,
            "why_not": predicted.why_not,
            "source_answer": _as_float(predicted.source_answer),
            "clean": _as_float(clean.answer),
            "intervened": _as_float(intervened.answer),
        }
        for predicted, clean, intervened in zip(*arms, strict=True)
    ]


def _as_float(value: Number | None) -> float | None:
    return None if value is None else float(value)
