"""A screen on disk: finished rows while it runs, so that an interrupted one goes on; table and JSON at its end."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from codi_int.errors import OutputError
from codi_int.interventions.screen import Screen, ScreenRow

FINISHED, TABLE, SUMMARY = "finished.json", "screen.parquet", "screen.json"


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

    def rows(self) -> dict[int, ScreenRow]:
        """Rows that an interrupted run of the same screen has left.

        Raises:
            OutputError: where the folder holds rows of another screen, or a file that is none of ours.
        """
        if not self._path.exists():
            return {}
        try:
            kept = json.loads(self._path.read_text())
            rows = {row["feature"]: ScreenRow(**row) for row in kept["rows"]}
            settings = kept["settings"]
        except (OSError, ValueError, KeyError, TypeError):
            raise OutputError(f"{self._path} cannot be read.", "Remove it, or give another folder.") from None
        if settings != self._settings:
            other = next(k for k in {**settings, **self._settings} if settings.get(k) != self._settings.get(k))
            raise OutputError(
                f"{self._folder} holds a screen with {other} {settings.get(other)}, not {self._settings.get(other)}.",
                "Give another folder, or the settings of that screen.",
            )
        return rows

    def keep(self, rows: Sequence[ScreenRow]) -> None:
        """Write all finished rows, in one go."""
        text = json.dumps({"settings": self._settings, "rows": [asdict(row) for row in rows]}, allow_nan=False)
        _replace(self._path, text.encode())

    def finish(self, screen: Screen) -> None:
        """Write the finished screen: a Parquet table with a row per feature, and the whole as JSON."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        part = (self._folder / TABLE).with_suffix(".part")
        pq.write_table(pa.Table.from_pylist([asdict(row) for row in screen.rows]), part)
        os.replace(part, self._folder / TABLE)
        _replace(self._folder / SUMMARY, (json.dumps(screen.to_dict(), allow_nan=False) + "\n").encode())


def _replace(path: Path, content: bytes) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(content)
    os.replace(part, path)
