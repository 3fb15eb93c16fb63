"""Pairs of specialists that a swap could tell something of: what it should do, and on how many problems that shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from codi_int.errors import DataError
from codi_int.features.profiles import Profiles
from codi_int.features.specialization_records import PropertyEvidence, Specialization, SpecializationRow
from codi_int.files import read_json_object
from codi_int.interventions.evidence.paired import power
from codi_int.interventions.patching.predicted import ALPHA, CHANCE, HIT_RATE, needed_problems
from codi_int.interventions.patching.predictions import parse_claim, predict_answers
from codi_int.records import flatten, unflatten
from codi_int.shown import Shown
from codi_int.types import OPERATIONS, Problem, Site

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "codi-int/swap-pairs@1"
MOST = 20
"""pairs that are kept, the best first"""
LOOKED_AT = 200
"""pairs whose predictions are worked out: those that touch most problems for which something could be predicted"""


@dataclass(frozen=True)
class SwapPair:
    """Two specialists, what exchanging them should do, and whether it would show."""

    feature: int
    """one of them"""
    other: int
    """the other"""
    claim: str
    """what should happen, as `codi-int swap --predict` takes it: addition:subtraction or value:12:50"""
    n_firing: int
    """problems on which the first fires"""
    n_firing_other: int
    """problems on which the second fires"""
    n_both: int
    """problems on which both fire"""
    n_touched: int
    """problems on which the exchange changes anything: either fires, and not as strongly"""
    n_informative: int
    """of them, problems whose predicted answer is not the true one"""
    n_needed: int
    """such problems that it takes to find 10% predicted answers, where 1% come by chance, with 80% power"""
    power: float
    """to find them with n_informative problems; exact sign flips at 0.05"""
    problems_needed: int | None
    """problems of this kind that it would take to have n_needed; None where none is informative"""
    difference: float | None = None
    """of the first, share of its property given firing minus base rate, on the problems that confirm; None where the
    rule does not test"""
    difference_other: float | None = None
    """the same of the second"""

    @property
    def has_power(self) -> bool:
        """Whether a swap would be run at all."""
        return self.n_informative >= self.n_needed


@dataclass(frozen=True, repr=False)
class SwapPairs(Shown):
    """The pairs of one SAE by one rule."""

    rule: str
    """of specialization"""
    site: Site | None
    """where the SAE reads"""
    model: str
    """name of the model"""
    sae: str
    """name of the SAE"""
    data: str
    """name of the problems that the counts are of"""
    n_problems: int
    """how many"""
    n_pairs: int
    """pairs of specialists of different operations, or of different numbers"""
    rows: tuple[SwapPair, ...]
    """the best: with power first, then by the weaker of the two differences, then by informative problems"""

    schema = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": self.schema, **flatten(self)}

    def to_frame(self) -> "pd.DataFrame":
        """One row per pair, as pandas' data frame."""
        import pandas as pd

        return pd.DataFrame([flatten(row) for row in self.rows])


@dataclass(frozen=True)
class _Claimed:
    """A specialist, and what it is claimed to stand for."""

    feature: int
    kind: str
    """operation or value"""
    name: str
    difference: float | None


def swap_pairs(profiles: Profiles, found: Specialization, most: int = MOST) -> SwapPairs:
    """Pairs of specialists by a rule, each with the power of a swap on these problems.

    Args:
        profiles: of the features; their problems are those that a swap would be run on.
        found: what the rule made of them.
        most: pairs to keep.

    Returns:
        by the tested rule every two features confirmed for different operations, or for different numbers; by a
        published one what the reports would swap, the first operation specialists of each two operations.
    """
    by_kind = [_claimed(row, found.rule) for row in found.rows]
    claimed = [one for several in by_kind for one in several]
    if found.rule != "tested":
        claimed = _first_of_each(claimed)
    pairs = [(a, b) for a, b in combinations(claimed, 2) if a.kind == b.kind and a.name != b.name and a != b]
    pairs = [(a, b) for a, b in pairs if a.feature != b.feature]
    counts = _Counts(profiles, claimed)
    kept = sorted(pairs, key=lambda pair: -counts.most_informative(*pair))[:LOOKED_AT]
    rows = [counts.judge(*pair) for pair in kept]
    rows.sort(key=lambda row: (not row.has_power, -_weaker(row), -row.n_informative))
    return SwapPairs(
        rule=found.rule,
        site=found.site,
        model=found.model,
        sae=found.sae,
        data=found.data,
        n_problems=found.n_problems,
        n_pairs=len(pairs),
        rows=tuple(rows[:most]),
    )


def swap_power(n_informative: int) -> float:
    """Chance that a swap shows 10% predicted answers, where 1% come by chance, on so many informative problems."""
    return power(n_informative, CHANCE * (1 - HIT_RATE), HIT_RATE * (1 - CHANCE), ALPHA) if n_informative else 0.0


def read_swap_pairs(path: str | Path) -> SwapPairs:
    """Pairs that `features pairs --out` has kept: its document, or the folder of it.

    Raises:
        DataError: nothing there, or something else.
    """
    path = Path(path)
    file = path / "features-pairs.json" if path.is_dir() else path
    document = read_json_object(file, remedy="Give the folder of codi-int features pairs --out.")
    chosen = document.get("tested", document)
    try:
        if chosen["schema"] != SCHEMA:
            raise KeyError(chosen["schema"])
        return unflatten(SwapPairs, {name: value for name, value in chosen.items() if name != "schema"})
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(f"{file} holds no swap pairs.", "Give the folder of codi-int features pairs --out.") from None


def _claimed(row: SpecializationRow, rule: str) -> list[_Claimed]:
    """What a row is a specialist of: at most one operation and one number."""
    if rule != "tested":
        return _published_claim(row)
    out = []
    for kind in ("operation", "value"):
        confirmed = [one for one in row.confirmed if _stands_for(one, kind)]
        if confirmed:
            name = confirmed[0].name.split(": ")[-1]
            out.append(_Claimed(row.feature, kind, name, confirmed[0].confirmation.difference))
    return out


def _stands_for(one: PropertyEvidence, kind: str) -> bool:
    return one.kind == "value" if kind == "value" else one.kind in ("operation", "operation of step")


def _published_claim(row: SpecializationRow) -> list[_Claimed]:
    """Operation specialists only, as the reports pair them."""
    if row.type != "operation-specialized" or row.label not in OPERATIONS:
        return []
    return [_Claimed(row.feature, "operation", row.label, None)]


def _first_of_each(claimed: Sequence[_Claimed]) -> list[_Claimed]:
    first: dict[str, _Claimed] = {}
    for one in claimed:
        first.setdefault(one.name, one)
    return list(first.values())


def _claim(a: _Claimed, b: _Claimed) -> str:
    return f"value:{a.name}:{b.name}" if a.kind == "value" else f"{a.name}:{b.name}"


class _Counts:
    """On how many problems each exchange would show; what several pairs need is worked out once."""

    def __init__(self, profiles: Profiles, claimed: Sequence[_Claimed]) -> None:
        self._profiles, self._informative = profiles, dict[str, NDArray[np.bool_]]()
        self._parts = {kind: [_parts(p, kind) for p in profiles.problems] for kind in ("operation", "value")}
        self._columns = {one.feature: profiles.column(one.feature) for one in claimed}
        self._has = {key: self._having(*key) for key in {(one.kind, one.name) for one in claimed}}

    def _having(self, kind: str, name: str) -> NDArray[np.bool_]:
        """Which problems have an operation, or a number in their steps."""
        return np.array([name in parts for parts in self._parts[kind]], dtype=np.bool_)

    def most_informative(self, a: _Claimed, b: _Claimed) -> int:
        """An upper limit of the informative problems, cheaply: touched ones that have one of the two."""
        touched = self._columns[a.feature] != self._columns[b.feature]
        return int((touched & (self._has[a.kind, a.name] | self._has[b.kind, b.name])).sum())

    def informative(self, claim: str) -> NDArray[np.bool_]:
        """Problems whose answer the claim predicts to be another one."""
        if claim not in self._informative:
            rows = predict_answers(parse_claim(claim), self._profiles.problems).rows
            self._informative[claim] = np.array([row.informative for row in rows], dtype=np.bool_)
        return self._informative[claim]

    def judge(self, a: _Claimed, b: _Claimed) -> SwapPair:
        """What exchanging the two should do, and the power to see it."""
        left, right = self._columns[a.feature], self._columns[b.feature]
        touched, claim = left != right, _claim(a, b)
        n, needed = int((touched & self.informative(claim)).sum()), needed_problems()
        return SwapPair(
            feature=a.feature,
            other=b.feature,
            claim=claim,
            n_firing=int((left != 0).sum()),
            n_firing_other=int((right != 0).sum()),
            n_both=int(((left != 0) & (right != 0)).sum()),
            n_touched=int(touched.sum()),
            n_informative=n,
            n_needed=needed,
            power=swap_power(n),
            problems_needed=-(-needed * self._profiles.n_problems // n) if n else None,
            difference=a.difference,
            difference_other=b.difference,
        )


def _parts(problem: Problem, kind: str) -> set[str]:
    """The operations of a problem's steps, or the numbers in them."""
    if kind == "operation":
        return {step.operation for step in problem.steps}
    return {f"{value:g}" for step in problem.steps for value in (step.left, step.right, step.result)}


def _weaker(row: SwapPair) -> float:
    known = [value for value in (row.difference, row.difference_other) if value is not None]
    return min(known, default=0.0)
