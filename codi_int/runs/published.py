"""The published experiments as they are committed: one config each, and the numbers that the reports give."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codi_int.errors import ConfigError
from codi_int.files import read_json_object

SCHEMA = "codi-int/published-experiment@1"
NUMBERS = "published.csv"
PLACES = (Path(__file__).parents[1] / "experiments", Path(__file__).parents[2] / "experiments")
"""beside the package's own files in a wheel, at the root of a checkout"""


@dataclass(frozen=True)
class PublishedExperiment:
    """One experiment: what it is called, how it is run, and where the published numbers stand."""

    name: str
    """such as k50-specialization"""
    kind: str
    """which file of `runs` runs it: dictionaries or ablations"""
    report: str
    """in published.csv: k50, dict, grid, act or sem"""
    question: str
    """what it asks"""
    settings: Mapping[str, Any]
    """everything else, as the kind reads it"""


class PublishedNumbers:
    """The numbers of all reports; one that is not there is None."""

    def __init__(self, path: Path) -> None:
        self._values: dict[tuple[str, ...], tuple[float, int | None]] = {}
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                key = tuple(row[name] for name in ("report", "quantity", "k", "d", "layer"))
                self._values[key] = (float(row["value"]), int(row["n"]) if row["n"] else None)

    def find(self, report: str, quantity: str, k: int, d_sae: int, layer: int = 14) -> tuple[float, int | None] | None:
        """A number and what it is a count of; None where the report gives none."""
        return self._values.get((report, quantity, str(k), str(d_sae), str(layer)))


def experiments() -> dict[str, Path]:
    """Name to config, of all that are committed."""
    names = (path for place in PLACES for path in sorted(place.glob("*.json")))
    return {path.stem: path for path in names if SCHEMA in path.read_text(encoding="utf-8")}


def load_experiment(name: str) -> PublishedExperiment:
    """One of them; ConfigError for a name that is none."""
    known = experiments()
    if name not in known:
        raise ConfigError(f"There is no published experiment {name!r}.", f"Name one of {', '.join(sorted(known))}.")
    document = read_json_object(known[name])
    about = {key: str(document[key]) for key in ("name", "kind", "report", "question")}
    rest = {key: value for key, value in document.items() if key not in about and key != "schema"}
    return PublishedExperiment(**about, settings=rest)


def published_numbers() -> PublishedNumbers:
    """The table of the reports' numbers."""
    return PublishedNumbers(next(place / NUMBERS for place in PLACES if (place / NUMBERS).is_file()))
