"""What each feature changed on each problem, kept beside the rows of a screen, where dictionaries are compared."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codi_int.errors import OutputError
from codi_int.files import write_bytes
from codi_int.interventions.screens.changes import ArmChange
from codi_int.types import Site

CHANGES = "changes.npz"


class KeptChanges:
    """Changes of the clean answer's probability, of the problems where there are any; in memory, or in a folder too."""

    def __init__(self, folder: Path | None = None) -> None:
        """
        Args:
            folder: where they are kept; what lies there is read.

        Raises:
            OutputError: for a file that is not whole.
        """
        self._path = None if folder is None else folder / CHANGES
        # feature -> (rows of problems, changes)
        self._of: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        if self._path is not None and self._path.is_file():
            self._of = _read(self._path)

    @property
    def features(self) -> frozenset[int]:
        """Features whose changes are known."""
        return frozenset(self._of)

    def add(self, changes: Mapping[tuple[Site, int], ArmChange]) -> None:
        """Remember what some features changed."""
        for (_, feature), change in changes.items():
            assert change.probability is not None
            rows = np.flatnonzero(change.probability)
            self._of[feature] = (rows, change.probability[rows])

    def save(self) -> None:
        """Write all of them, in one go; nothing without a folder."""
        if self._path is None or not self._of:
            return
        features = sorted(self._of)
        parts = [self._of[feature] for feature in features]
        lengths = np.array([rows.size for rows, _ in parts])
        rows, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        write_bytes(
            self._path,
            lambda file: np.savez(file, features=np.array(features), lengths=lengths, rows=rows, values=values),
        )

    def matrix(self, features: Sequence[int], n: int) -> NDArray[np.float64]:
        """A column for each feature, a row for each problem. [n, features]"""
        out = np.zeros((n, len(features)))
        for column, feature in enumerate(features):
            rows, values = self._of[feature]
            out[rows, column] = values
        return out

    def known_among(self, features: Iterable[int]) -> list[int]:
        """Those of the features whose changes are known, in their order."""
        return [feature for feature in features if feature in self._of]


def _read(path: Path) -> dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    try:
        with np.load(path) as kept:
            ends = np.cumsum(kept["lengths"])[:-1]
            parts = zip(np.split(kept["rows"], ends), np.split(kept["values"], ends), strict=True)
            return {int(feature): part for feature, part in zip(kept["features"], parts, strict=True)}
    except (OSError, ValueError, KeyError):
        raise OutputError(f"{path} cannot be read.", "Remove it, or give another folder.") from None
