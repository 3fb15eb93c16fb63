"""Documents and tables on disk: what a reader gets back, and which types columns have."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from codi_int.interventions.engine.documents import save_document, write_table

ROWS = [{"problem_id": "a", "answer": None, "n": 1}, {"problem_id": "b", "answer": None, "n": 2}]


def test_a_table_reads_back_as_it_was_written(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", ROWS)
    found = pq.read_table(tmp_path / "t.parquet")
    assert found.to_pylist() == ROWS
    assert found.schema.types == [pa.string(), pa.null(), pa.int64()]
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_a_column_of_nothing_but_none_has_the_type_that_it_is_given(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", ROWS, {"answer": "float64"})
    found = pq.read_table(tmp_path / "t.parquet")
    assert found.to_pylist() == ROWS
    assert found.schema.types == [pa.string(), pa.float64(), pa.int64()]


def test_a_document_has_a_file_for_each_table_that_has_rows(tmp_path: Path) -> None:
    names = save_document(tmp_path, "map", {"schema": "s", "cells": 2}, {"cells": ROWS, "splits": []})
    assert names == ["map.json", "cells.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.parquet", "map.json"]
    assert json.loads((tmp_path / "map.json").read_text()) == {"schema": "s", "cells": 2}
    assert pq.read_table(tmp_path / "cells.parquet").to_pylist() == ROWS
