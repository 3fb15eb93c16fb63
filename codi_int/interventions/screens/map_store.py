"""Finished units of a map on disk."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from codi_int.interventions.screens.changes import ArmChange
from codi_int.interventions.screens.contexts import ContextChange
from codi_int.interventions.screens.map_cells import MapDone
from codi_int.types import RunCounts, Site
from codi_int.unit_files import Arrays, UnitFiles


class MapStore:
    """Where one map keeps its units; see `UnitFiles`."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: the run's.
        """
        self._files = UnitFiles(folder)

    def __len__(self) -> int:
        return len(self._files)

    def finished(self) -> dict[str, MapDone]:
        """Units of an interrupted run, by their names; OutputError for a file that is not whole."""
        found = {}
        for name, note, arrays in self._files.read_all():
            changes = {
                (str(later), Site.parse(site)): ContextChange(_change(arrays, i), right)
                for i, (later, site, right) in enumerate(note["changes"])
            }
            found[name] = MapDone(changes, RunCounts(**note["counts"]), note["n_correct"])
        return found

    def keep(self, name: str, done: MapDone) -> None:
        """Write a unit, in one go."""
        arrays: dict[str, Any] = {}
        for i, one in enumerate(done.changes.values()):
            given = {field.name: getattr(one.change, field.name) for field in fields(ArmChange)}
            arrays |= {f"{i}.{name}": value for name, value in given.items() if value is not None}
        note = {
            "changes": [[later, str(site), one.n_correct] for (later, site), one in done.changes.items()],
            "counts": asdict(done.counts),
            "n_correct": done.n_correct,
        }
        self._files.keep(name, note, arrays)


def _change(arrays: Arrays, i: int) -> ArmChange:
    given: dict[str, Any] = {field.name: arrays.get(f"{i}.{field.name}") for field in fields(ArmChange)}
    return ArmChange(**given)
