"""Records of a published experiment run again: every number as published, as found here, and by an honest method."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codi_int.runs.published import PublishedExperiment
from codi_int.shown import Finding
from codi_int.types import Problem

SCHEMA = "codi-int/reproduction@1"


@dataclass(frozen=True)
class Honest:
    """A number that says how sure it is."""

    value: float
    """in the unit of its line"""
    low: float | None
    """lower end of its interval; None where the method has none"""
    high: float | None
    """upper end"""
    n: int
    """what was counted or repeated"""
    method: str
    """estimand, interval and test in words"""
    p_value: float | None = None
    """None where nothing was tested"""


@dataclass(frozen=True)
class Line:
    """One number of a published table."""

    subject: str
    """of what, such as K=50"""
    measure: str
    """which quantity"""
    unit: str
    """%, points, or empty for counts and plain numbers"""
    published: float | None = None
    """as the report gives it; None where it gives none"""
    published_n: int | None = None
    """of how many, where it is a share"""
    here: float | None = None
    """by the published method, here; None where it cannot be had"""
    here_n: int | None = None
    """of how many, where it is a share"""
    honest: Honest | None = None
    """by a method that says how sure it is; None where there is nothing to add"""


@dataclass(frozen=True, repr=False)
class Reproduction(Finding):
    """An experiment with all its lines."""

    experiment: str
    """its name"""
    question: str
    """what it asks"""
    report: str
    """where the published numbers come from, see experiments/published.csv"""
    model: str
    """which model was looked at"""
    data: str
    """problems that everything was measured on"""
    n_problems: int
    """how many these are"""
    settings: tuple[str, ...]
    """what was trained or edited here, one line each"""
    lines: tuple[Line, ...]
    """in the order of the published tables"""
    seconds: float
    """how long it took"""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": SCHEMA, **asdict(self)}

    def table_rows(self) -> list[dict[str, Any]]:
        """The same as `rows`, under the name that every kept record has for it."""
        return self.rows()

    def rows(self) -> list[dict[str, Any]]:
        """A flat row for each line."""
        empty = dict.fromkeys(Honest.__dataclass_fields__)
        out = []
        for line in self.lines:
            row = asdict(line)
            honest = row.pop("honest") or empty
            out.append(row | {f"honest_{name}": value for name, value in honest.items()})
        return out


@dataclass(frozen=True)
class ReproductionPlan:
    """What an experiment is run on."""

    experiment: PublishedExperiment
    """which"""
    problems: Sequence[Problem]
    """what everything is measured on"""
    data: str
    """their name"""
    training: Sequence[Problem]
    """what SAEs are trained on"""
    training_name: str
    """their name"""
    confirming: Sequence[Problem] | None
    """what selected nothing; None lets two folds of `problems` confirm each other"""
    out: Path | None
    """keeps activations and SAEs, so that a stopped run goes on; None keeps nothing"""
    epochs: int | None = None
    """of SAE training; None takes the published 25"""
