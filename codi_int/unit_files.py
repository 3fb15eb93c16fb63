"""Finished units of a run on disk, a file each, so that a stopped run goes on; gone when the run is finished."""

import json
import shutil
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codi_int.errors import OutputError
from codi_int.files import write_bytes, write_json
from codi_int.run_folder import UNITS_NOTE

UNITS = "finished-units"
Arrays = Mapping[str, NDArray[Any]]


class UnitFiles:
    """Named pieces of a run: a note in plain JSON types, and arrays. That they are this run's says its manifest."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: the run's.
        """
        self._folder, self._note = folder / UNITS, folder / UNITS_NOTE
        if not self._note.is_file():
            shutil.rmtree(self._folder, ignore_errors=True)  # of a run that was replaced

    def __len__(self) -> int:
        return len(list(self._folder.glob("*.npz")))

    def read_all(self) -> Iterator[tuple[str, Any, Arrays]]:
        """Name, note and arrays of every unit; OutputError for a file that is not whole."""
        for path in sorted(self._folder.glob("*.npz")):
            yield _read(path)

    def read(self, name: str) -> tuple[Any, Arrays] | None:
        """Note and arrays of a unit; None where it is not finished."""
        path = self._path(name)
        return _read(path)[1:] if path.is_file() else None

    def keep(self, name: str, note: Any, arrays: Arrays) -> None:
        """Write a unit, in one go."""
        if not self._note.is_file():
            # by this document a folder is known to hold a run that was stopped
            write_json(self._note, {"schema": "codi-int/units@1"}, durable=True)
        text = json.dumps({"name": name, "note": note}, allow_nan=False)
        given: dict[str, Any] = {"note": text, **arrays}
        write_bytes(self._path(name), lambda file: np.savez_compressed(file, **given), durable=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{sha256(name.encode()).hexdigest()[:16]}.npz"

    def remove(self) -> None:
        """Remove all of them: the run is finished."""
        self._note.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)


def _read(path: Path) -> tuple[str, Any, Arrays]:
    try:
        with np.load(path) as kept:
            arrays = dict(kept)
        document = json.loads(str(arrays.pop("note")))
        return document["name"], document["note"], arrays
    except Exception:  # a zip file may be damaged in a dozen ways, each with an error of its own
        raise OutputError(f"{path} cannot be read.", "Remove it, or give another folder.") from None
