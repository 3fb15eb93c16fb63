"""A screen on disk: finished rows while it runs, so that an interrupted one goes on; table and JSON at its end."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from codi_int.errors import CodiError, OutputError
from codi_int.files import read_json_object, write_text
from codi_int.interventions.engine.documents import save_document
from codi_int.interventions.screens.additivity import PairRow
from codi_int.interventions.screens.screen import ScreenRow
from codi_int.records import differing_key, plain_row, table_row, unflatten
from codi_int.types import Site

FINISHED = "finished.json"
Row = TypeVar("Row", ScreenRow, PairRow)


@dataclass(frozen=True)
class Finished:
    """What an interrupted screen has left."""

    rows: tuple[ScreenRow, ...] = ()
    """features"""
    pairs: tuple[PairRow, ...] = ()
    """pairs of features"""


class ScreenFolder:
    """Where one screen keeps its rows. Rows of another screen in the same folder are refused, not mixed."""

    def __init__(self, folder: Path, settings: dict[str, str | int]) -> None:
        """
        Args:
            folder: an existing folder.
            settings: what makes two screens the same one; compared when the folder holds rows already.
        """
        self._path = folder / FINISHED
        self._folder, self._settings = folder, settings

    def finished(self) -> Finished:
        """What an interrupted run of the same screen has left.

        Raises:
            OutputError: where the folder holds rows of another screen, or a file that is none of ours.
        """
        if not self._path.exists():
            return Finished()
        remedy = "Remove it, or give another folder."
        try:
            kept = read_json_object(self._path, error=OutputError, remedy=remedy)
            rows = tuple(_read(ScreenRow, row) for row in kept["rows"])
            found = Finished(rows, tuple(_read(PairRow, row) for row in kept["pairs"]))
            settings = dict(kept["settings"])
        except OutputError:
            raise
        except (ValueError, KeyError, TypeError, CodiError):
            raise OutputError(f"{self._path} cannot be read.", remedy) from None
        if settings != self._settings:
            other = differing_key(settings, self._settings)
            raise OutputError(
                f"{self._folder} holds a screen with {other} {settings.get(other)}, not {self._settings.get(other)}.",
                "Give another folder, or the settings of that screen.",
            )
        return found

    def keep(self, rows: Sequence[ScreenRow], pairs: Sequence[PairRow] = ()) -> None:
        """Write everything that is finished, in one go."""
        kept = {"settings": self._settings, "rows": list(map(table_row, rows)), "pairs": list(map(table_row, pairs))}
        write_text(self._path, json.dumps(kept, allow_nan=False), durable=True)

    def finish(self, document: dict[str, Any], rows: Sequence[ScreenRow], pairs: Sequence[PairRow] = ()) -> list[str]:
        """Write the finished screen: Parquet tables of its features and pairs, and the whole as JSON.

        Returns:
            the names of the files.
        """
        tables = {"screen": [plain_row(row) for row in rows], "pairs": [plain_row(row) for row in pairs]}
        return save_document(self._folder, "screen", document, tables)


def _read(kind: type[Row], row: dict[str, Any]) -> Row:
    return unflatten(kind, {**row, "site": Site.parse(row["site"])})
