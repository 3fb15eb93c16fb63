"""Finished units of a map on disk, a file each, so that a stopped map goes on; gone when the map is finished."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from codi_int.errors import OutputError
from codi_int.files import write_bytes, write_json
from codi_int.interventions.screens.changes import ArmChange
from codi_int.interventions.screens.contexts import ContextChange
from codi_int.interventions.screens.map_cells import MapDone
from codi_int.run_folder import UNITS_NOTE
from codi_int.types import RunCounts, Site

UNITS = "finished-units"
"""the folder of the units"""


class MapStore:
    """Where one map keeps its units; that the folder is this map's is known by its manifest."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: the run's.
        """
        self._folder, self._note = folder / UNITS, folder / UNITS_NOTE

    def finished(self) -> dict[str, MapDone]:
        """Units of an interrupted run, by their names.

        Raises:
            OutputError: a file that is not whole.
        """
        if not self._note.is_file():
            shutil.rmtree(self._folder, ignore_errors=True)  # of a run that was replaced
            return {}
        return dict(_read(path) for path in sorted(self._folder.glob("*.npz")))

    def keep(self, name: str, done: MapDone) -> None:
        """Write a unit, in one go."""
        if not self._note.is_file():
            write_json(self._note, {"schema": "codi-int/units@1"}, durable=True)
        arrays: dict[str, Any] = {}
        for i, one in enumerate(done.changes.values()):
            given = {field.name: getattr(one.change, field.name) for field in fields(ArmChange)}
            arrays |= {f"{i}.{name}": value for name, value in given.items() if value is not None}
        note = {
            "name": name,
            "changes": [[later, str(site), one.n_correct] for (later, site), one in done.changes.items()],
            "counts": asdict(done.counts),
            "n_correct": done.n_correct,
        }
        path = self._folder / f"{sha256(name.encode()).hexdigest()[:16]}.npz"
        write_bytes(path, lambda file: np.savez_compressed(file, note=json.dumps(note), **arrays), durable=True)

    def remove(self) -> None:
        """Remove them: the map is finished."""
        self._note.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)


def _read(path: Path) -> tuple[str, MapDone]:
    try:
        with np.load(path) as kept:
            note = json.loads(str(kept["note"]))
            changes = {
                (str(later), Site.parse(site)): ContextChange(_change(kept, i), n_correct)
                for i, (later, site, n_correct) in enumerate(note["changes"])
            }
            return note["name"], MapDone(changes, RunCounts(**note["counts"]), note["n_correct"])
    except (OSError, ValueError, KeyError, TypeError):
        raise OutputError(f"{path} cannot be read.", "Remove it, or give another folder.") from None


def _change(kept: Mapping[str, Any], i: int) -> ArmChange:
    return ArmChange(**{f.name: kept[f"{i}.{f.name}"] for f in fields(ArmChange) if f"{i}.{f.name}" in kept})
