"""Evidence in records that nest, and the one place where they become flat rows of documents and tables.

A program reads `row.effect.accuracy.low`; a table shows a column `low`. A record that nests says in `columns` which
flat names its row has, in the order of the table, and an `Alias` under each of these names says where the value lies.
`flatten` writes such rows, `unflatten` reads them back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
R = TypeVar("R")


Conclusion = Literal["changed", "equivalent", "untested", "unresolved"]
"""what the evidence on accuracy comes to, in the order in which they are asked"""


class Alias(Generic[T]):
    """A flat name for a value that lies deeper in a record, such as `effect.accuracy.low`.

    None where a record on the way is None, as for a cell of a map that has no effect.
    """

    def __init__(self, path: str) -> None:
        self.path = tuple(path.split("."))

    def __get__(self, record: Any, owner: type) -> T:
        if record is None:  # asked of the class, as dataclasses and documentation tools do
            return self  # type: ignore[return-value]
        for name in self.path:
            record = None if record is None else getattr(record, name)
        return record  # type: ignore[no-any-return]


def flat_names(cls: type) -> tuple[str, ...]:
    """The aliases that a class itself has, in the order in which they stand: the columns that it brings to a table."""
    return tuple(name for name, value in vars(cls).items() if isinstance(value, Alias))


@dataclass(frozen=True)
class Estimate:
    """A mean over problems, how sure it is, and its test. In a document of its own it is a row of `columns`."""

    value: float
    """the mean"""
    low: float | None
    """lower end of its interval; None where too few problems carry the mean"""
    high: float | None
    """upper end of its interval; None where too few problems carry the mean"""
    p_value: float | None = None
    """two-sided; None where nothing was tested"""
    p_adjusted: float | None = None
    """the same, corrected over the family that was tried; None before that is known, or where nothing was tested"""
    # two estimates are equal where their numbers are: rows of tables do not carry the words
    method: str = field(default="", compare=False)
    """how interval and p-value were made, and whether by cluster; empty where the record around it says so"""

    estimate = Alias[float]("value")

    columns = ("estimate", "low", "high", "p_value", "p_adjusted", "method")


@dataclass(frozen=True)
class ArmEffect:
    """What one arm did to the answers, paired by problem with the clean arm."""

    accuracy: Estimate
    """change of accuracy; exact sign flips of cluster sums (McNemar's test where each problem is its own cluster)"""
    logprob: Estimate
    """mean change of the clean answer's log-probability, nats; bootstrap-t, where enough problems carry it"""
    n_touched: int
    """problems on which the arm changed anything at all"""
    n_broken: int
    """right before, wrong after"""
    n_fixed: int
    """wrong before, right after"""
    n_answer_changed: int
    """problems that got another answer, right or wrong"""
    margin: Estimate | None = None
    """mean change of the margin (logit of the clean answer's token minus the best other, smallest over its tokens)"""
    probability: Estimate | None = None
    """mean change of the clean answer's probability; betting interval, which holds however few problems carry it"""
    n_effective: float | None = None
    """(sum d^2)^2 / sum d^4 of the log-probability changes: how many problems carry their mean"""
    share_of_largest: float | None = None
    """share of the sum of absolute log-probability changes that the three largest hold"""
    bound: float | None = None
    """the smallest change of accuracy that matters, declared beforehand"""
    p_equivalence: float | None = None
    """that accuracy changes by less than the bound: the larger of two exact one-sided tests, not corrected"""
    p_equivalence_adjusted: float | None = None
    """the same, corrected over the equivalence tests of the family"""
    testable: bool | None = None
    """whether the arm touches enough clusters ever to be significant; what is not is no member of the family"""
    largest_possible: float | None = None
    """n_touched / n: accuracy on these problems cannot change by more"""
    largest_in_population: float | None = None
    """upper 95% limit of that share on other problems of the population (Clopper and Pearson)"""
    conclusion: Conclusion | None = None
    """about accuracy: changed, equivalent, untested or unresolved; None before the family is known"""


@dataclass(frozen=True)
class MeanEffect:
    """Mean change of something that the model says of the clean arm's answer."""

    estimate: float
    """mean over all problems of intervened minus clean"""
    low: float | None
    """lower end of the interval; None where too few problems carry the mean"""
    high: float | None
    """upper end of the interval; None where too few problems carry the mean"""
    p_value: float | None
    """two-sided; None where nothing was tested, or too few problems carry the mean"""
    method: str
    """test and interval, in words"""


LogprobEffect = MeanEffect
"""the former name; goes with the next release"""


class FlatEvidence:
    """Flat names of what is known besides of a row's `effect: ArmEffect`; None where a row has none."""

    margin = Alias[float | None]("effect.margin.value")
    margin_low = Alias[float | None]("effect.margin.low")
    margin_high = Alias[float | None]("effect.margin.high")
    margin_p = Alias[float | None]("effect.margin.p_value")
    probability = Alias[float | None]("effect.probability.value")
    probability_low = Alias[float | None]("effect.probability.low")
    probability_high = Alias[float | None]("effect.probability.high")
    probability_p = Alias[float | None]("effect.probability.p_value")
    n_effective = Alias[float | None]("effect.n_effective")
    share_of_largest = Alias[float | None]("effect.share_of_largest")
    bound = Alias[float | None]("effect.bound")
    p_equivalence = Alias[float | None]("effect.p_equivalence")
    p_equivalence_adjusted = Alias[float | None]("effect.p_equivalence_adjusted")
    testable = Alias[bool | None]("effect.testable")
    largest_possible = Alias[float | None]("effect.largest_possible")
    largest_in_population = Alias[float | None]("effect.largest_in_population")
    conclusion = Alias[Conclusion | None]("effect.conclusion")


class FlatEffect(FlatEvidence):
    """The flat names of a row that holds `effect: ArmEffect`."""

    n_touched = Alias[int]("effect.n_touched")
    n_broken = Alias[int]("effect.n_broken")
    n_fixed = Alias[int]("effect.n_fixed")
    n_answer_changed = Alias[int]("effect.n_answer_changed")
    estimate = Alias[float]("effect.accuracy.value")
    low = Alias[float]("effect.accuracy.low")
    high = Alias[float]("effect.accuracy.high")
    p_value = Alias[float | None]("effect.accuracy.p_value")
    p_adjusted = Alias[float | None]("effect.accuracy.p_adjusted")
    logprob = Alias[float]("effect.logprob.value")
    logprob_low = Alias[float | None]("effect.logprob.low")
    logprob_high = Alias[float | None]("effect.logprob.high")
    logprob_p = Alias[float | None]("effect.logprob.p_value")
    logprob_p_adjusted = Alias[float | None]("effect.logprob.p_adjusted")


EFFECT_COLUMNS = flat_names(FlatEffect)
"""what every row of an effect begins with: counts, accuracy, log-probability"""
EVIDENCE_COLUMNS = flat_names(FlatEvidence)
"""what is known besides, in the order of a table"""


def flatten(value: Any) -> Any:
    """A record, or a mapping or sequence of records, as plain JSON types: dicts, lists, numbers, words and None.

    A record that has `columns` becomes a row of these; every other record becomes a dict of its fields.
    """
    if isinstance(value, Mapping):
        return {str(key): flatten(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [flatten(item) for item in value]
    if not is_dataclass(value):
        return value
    names = getattr(value, "columns", None) or tuple(field.name for field in fields(value))
    return {name: flatten(getattr(value, name)) for name in names}


def table_row(record: Any) -> dict[str, Any]:
    """`flatten` for a row of a table that has a `site`, which is written in one word there, such as L14.P3."""
    return {**flatten(record), "site": str(record.site)}


def plain_row(record: Any) -> dict[str, Any]:
    """`table_row` without what is no number or word: the columns of a table are read by people."""
    return {name: value for name, value in table_row(record).items() if name not in ("flips", "folds")}


def unflatten(cls: type[R], row: Mapping[str, Any]) -> R:
    """The record of which `row` is the flat form, with everything that lies in it; the inverse of `flatten`.

    Raises:
        TypeError, ValueError: for columns that are missing or that the record does not have.
    """
    nested: dict[str, Any] = {}
    for name, value in row.items():
        alias = getattr(cls, name, None)
        *outer, last = alias.path if isinstance(alias, Alias) else (name,)
        inside = nested
        for part in outer:
            inside = inside.setdefault(part, {})
        inside[last] = value
    hints = get_type_hints(cls)
    return cls(**{name: _value(hints.get(name), value) for name, value in nested.items()})


def _is_empty(value: Any) -> bool:
    """Whether a flat record that lies in another one has nothing but None in it."""
    return isinstance(value, Mapping) and all(item is None or _is_empty(item) for item in value.values())


def differing_key(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The first name whose values differ, or that only one of two unequal mappings has."""
    missing = object()  # None is a value: `.get` alone would take a name that is not there for one that is None
    return next(name for name in {**one, **other} if one.get(name, missing) != other.get(name, missing))


def _value(kind: Any, value: Any) -> Any:
    """`value`, which JSON has as dicts, lists and words, as what the annotation of its field says."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        # of `X | None` and `int | tuple[int, ...]` the part that JSON writes in another form
        fit = next((one for one in args if is_dataclass(one) or get_origin(one) is tuple), None)
        # a record that is not there has columns all the same, as a cell of a map without an effect
        return value if fit is None or value is None else None if _is_empty(value) else _value(fit, value)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(args[0], item) for item in value)
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {key: _value(args[1], item) for key, item in value.items()}
    if not is_dataclass(kind):
        return value
    record: Any = kind
    if isinstance(value, Mapping):
        return unflatten(record, value)
    # a site is one word in a table
    return record.parse(value) if isinstance(value, str) else value
