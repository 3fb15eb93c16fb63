"""What the figures of a sweep read from its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codi_int.errors import CodiError, DataError
from codi_int.files import read_json, read_json_object
from codi_int.report.literal import literal_document, show_controls
from codi_int.sae.sweep_table import FREQUENCIES, TABLE


@dataclass(frozen=True)
class SweepMeasure:
    """One column of a sweep's table."""

    key: str
    """its name in grid.json"""
    label: str
    """what the axis says, with its unit"""
    factor: float = 1.0
    """from the table's unit to the axis'"""


EXPLAINED = SweepMeasure("explained_variance", "explained variance")
DEAD_TRAIN = SweepMeasure("dead_share_train", "dead features, training rows (%)", 100.0)
MSE = SweepMeasure("mse", "mean squared error")
MEASURES = (
    EXPLAINED,
    SweepMeasure("explained_variance_per_dimension", "explained var. per dimension"),
    MSE,
    SweepMeasure("l0", "L0 (features per row)"),
    DEAD_TRAIN,
    SweepMeasure("dead_share", "dead features, held-out rows (%)", 100.0),
    SweepMeasure("mean_activation", "mean activation"),
    SweepMeasure("max_activation", "largest activation"),
    SweepMeasure("accuracy_spliced", "accuracy, spliced in (%)", 100.0),
    SweepMeasure("loss_recovered", "loss recovered, spliced in"),
    SweepMeasure("specialized_share", "specialized features (%)", 100.0),
)
"""in the order of their panels; a table need not have all of them"""


@dataclass(frozen=True)
class SweepData:
    """A finished sweep."""

    rows: tuple[Mapping[str, Any], ...]
    """one for each SAE, as in grid.json"""
    frequencies: Mapping[str, NDArray[np.float32]]
    """folder of an SAE to the share of held-out rows on which each feature fires; may lack some or all"""
    about: str
    """model and data, where the sweep says them"""

    @property
    def sites(self) -> list[str]:
        """In the order of the table."""
        return list(dict.fromkeys(row["site"] for row in self.rows))

    @property
    def ks(self) -> list[int]:
        """Ascending."""
        return sorted({row["k"] for row in self.rows})

    @property
    def d_saes(self) -> list[int]:
        """Ascending."""
        return sorted({row["d_sae"] for row in self.rows})

    @property
    def n_rows(self) -> int:
        """Held-out rows on which the SAEs were measured."""
        return max((int(row["n_rows"]) for row in self.rows), default=0)

    @property
    def caption(self) -> str:
        """Model and data, rows, and what the values are means of."""
        seeds = len({row.get("seed", 0) for row in self.rows})
        means = f" Means of {seeds} seeds." if seeds > 1 else ""
        return f"{f'{self.about}. ' if self.about else ''}Measured on {self.n_rows:,} held-out rows.{means}"

    def at(self, site: str) -> "SweepData":
        """The same sweep with only one of its sites."""
        return SweepData(tuple(row for row in self.rows if row["site"] == site), self.frequencies, self.about)

    def values(self, measure: SweepMeasure, k: int, d_sae: int) -> list[float]:
        """The measure of every SAE of one shape, in the axis' unit; seeds and sites together."""
        shaped = [row.get(measure.key) for row in self.rows if row["k"] == k and row["d_sae"] == d_sae]
        return [measure.factor * value for value in shaped if value is not None]

    def mean(self, measure: SweepMeasure, k: int, d_sae: int) -> float | None:
        """Their mean; None where there is none."""
        values = self.values(measure, k, d_sae)
        return sum(values) / len(values) if values else None

    def has(self, measure: SweepMeasure) -> bool:
        """Whether any SAE has it."""
        return any(row.get(measure.key) is not None for row in self.rows)

    def firing(self, k: int, d_sae: int) -> NDArray[np.float32]:
        """Firing rates of the alive features of the first SAE of one shape, highest first; empty where unknown."""
        # the first of several seeds: a mean over sorted rates of different SAEs would be a curve that none of them has
        for row in self.rows:
            if row["k"] == k and row["d_sae"] == d_sae and row["folder"] in self.frequencies:
                rates = self.frequencies[row["folder"]]
                return np.sort(rates[rates > 0])[::-1]
        return np.zeros(0, np.float32)


def read_sweep(folder: str | Path) -> SweepData:
    """Read `grid.json`, `frequencies.safetensors` and `sweep.json`; the latter two may be missing.

    Raises:
        DataError: no sweep, or a broken one.
    """
    from safetensors.numpy import load_file

    folder = Path(folder)
    path = folder / f"{TABLE}.json"
    if not path.exists():
        raise DataError(f"{folder} holds no sweep: {path.name} is missing.", "Give the --out of a sweep.")
    rows = read_json(path, remedy="Run the sweep again.")
    try:
        for row in rows:
            # read here for a missing key to be found now, with words, rather than in the middle of a figure
            _ = row["site"], row["k"], row["d_sae"], row["folder"], row["n_rows"], row[EXPLAINED.key]
        frequencies = load_file(folder / FREQUENCIES) if (folder / FREQUENCIES).exists() else {}
    except Exception as error:
        raise DataError(f"The sweep in {folder} cannot be read: {error!r}.", "Run the sweep again.") from None
    if not rows:
        raise DataError(f"The sweep in {folder} has no SAEs.", "Run the sweep again.")
    return SweepData(tuple(map(literal_document, rows)), frequencies, show_controls(_about(folder / "sweep.json")))


def _about(path: Path) -> str:
    try:
        known = read_json_object(path, finite=False)
    except CodiError:
        return ""  # a caption less is no reason to draw nothing
    words: Sequence[str] = [known[key] for key in ("model", "training_data") if known.get(key)]
    return ", trained on ".join(words)
