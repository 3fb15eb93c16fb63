"""Files that are there whole or not at all."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codi_int.errors import OutputError


def replace_file(path: Path, content: bytes) -> None:
    """Write in one go: a reader sees the old file or the new one, never half of it."""
    part = path.with_suffix(".part")
    part.write_bytes(content)
    os.replace(part, path)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as a Parquet file, in one go."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    part = path.with_suffix(".part")
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), part)
    os.replace(part, path)


def save_document(
    folder: Path, name: str, document: Mapping[str, Any], tables: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[str]:
    """Write `<name>.json` and a Parquet file for each table that has rows; returns the names of the files.

    Raises:
        OutputError: where the folder cannot be written to.
    """
    names = [f"{name}.json", *(f"{table}.parquet" for table, rows in tables.items() if rows)]
    try:
        replace_file(folder / names[0], (json.dumps(document, allow_nan=False) + "\n").encode())
        for table, rows in tables.items():
            if rows:
                write_table(folder / f"{table}.parquet", rows)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written to: {error.strerror}.", "Free some space or give another folder."
        ) from None
    return names
