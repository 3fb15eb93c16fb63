"""Nothing is written where nothing can be written, and never half of it."""

from pathlib import Path

import pytest

from codi_int.errors import OutputError
from codi_int.files import prepare_folder


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    folder = prepare_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert list(folder.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("taken")
    with pytest.raises(OutputError, match="file"):
        prepare_folder(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "taken"
