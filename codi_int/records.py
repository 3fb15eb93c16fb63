"""Evidence in records that nest, and the one place where they become flat rows of documents and tables.

A program reads `row.effect.accuracy.low`; a table shows a column `low`. A record that nests says in `columns` which
flat names its row has, in the order of the table, and an `Alias` under each of these names says where the value lies.
`flatten` writes such rows, `unflatten` reads them back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Estimate:
    """A mean over problems, how sure it is, and its test."""

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


@dataclass(frozen=True)
class ArmEffect:
    """What one arm did to the answers, paired by problem with the clean arm."""

    accuracy: Estimate
    """change of accuracy; exact McNemar test"""
    logprob: Estimate
    """mean change of the clean answer's log-probability, nats; Wilcoxon signed ranks"""
    n_touched: int
    """problems on which the arm changed anything at all"""
    n_broken: int
    """right before, wrong after"""
    n_fixed: int
    """wrong before, right after"""
    n_answer_changed: int
    """problems that got another answer, right or wrong"""


@dataclass(frozen=True)
class LogprobEffect:
    """Mean change of the log-probability of the clean arm's answer."""

    estimate: float
    """mean over all problems of intervened minus clean, in nats"""
    low: float
    """lower end of the interval"""
    high: float
    """upper end of the interval"""
    p_value: float | None
    """two-sided; None where nothing was tested"""
    method: str
    """test and interval, in words"""


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


class FlatEffect:
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
    logprob_low = Alias[float]("effect.logprob.low")
    logprob_high = Alias[float]("effect.logprob.high")
    logprob_p = Alias[float | None]("effect.logprob.p_value")
    logprob_p_adjusted = Alias[float | None]("effect.logprob.p_adjusted")


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
