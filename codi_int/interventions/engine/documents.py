"""A document and its tables: JSON, and Parquet for what has rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codi_int.files import write_bytes, write_json


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], types: Mapping[str, str] | None = None) -> None:
    """Rows as a Parquet file, in one go. Every Parquet file of ours is written here.

    Args:
        path: where to.
        rows: column to value; at least one row, whose names are the columns.
        types: type of a column, such as `string`, where it may hold nothing but None: a column of no type would not fit
            together with that of another file.

    Raises:
        OutputError: where the file cannot be written to.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = types or {}
    table = pa.table({name: pa.array([row[name] for row in rows], types.get(name)) for name in rows[0]})
    write_bytes(path, lambda file: pq.write_table(table, file))


def save_document(
    folder: Path, name: str, document: Mapping[str, Any], tables: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[str]:
    """Write `<name>.json` and a Parquet file for each table that has rows; returns the names of the files.

    Raises:
        OutputError: where the folder cannot be written to.
    """
    # no rows, no file: pyarrow could not tell the types of the columns
    names = [f"{name}.json", *(f"{table}.parquet" for table, rows in tables.items() if rows)]
    write_json(folder / names[0], document)
    for table, rows in tables.items():
        if rows:
            write_table(folder / f"{table}.parquet", rows)
    return names
