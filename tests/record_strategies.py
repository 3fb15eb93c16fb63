"""Records made up from their annotations, for tests of what is written and read back."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from codi_int.records import Alias
from codi_int.types import Site

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=5)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(2**53), 2**53)
SITES = st.one_of(
    st.builds(Site, st.integers(0, 40), st.integers(0, 9), st.sampled_from(["resid_post", "mlp_out", "head:3"])),
    st.builds(Site, st.none(), st.integers(0, 9), st.sampled_from(["thought", "final_norm"])),
)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: WHOLE,
    float: NUMBERS,
    str: WORDS,
    bool: st.booleans(),
    type(None): st.none(),
}
JSON = st.recursive(
    st.one_of(*PLAIN.values()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(WORDS, inner, max_size=2)),
    max_leaves=5,
)


@cache
def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Values of an annotation; of a record those that its own fields allow."""
    origin, args = get_origin(kind), get_args(kind)
    if kind is Site:
        return SITES
    if is_dataclass(kind):
        return of_record(kind)
    if origin in (Union, types.UnionType):
        return st.one_of(*(of_type(one) for one in args))
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple:
        if args[-1] is Ellipsis:
            return st.lists(of_type(args[0]), max_size=2).map(tuple)
        return st.tuples(*map(of_type, args))
    if origin in (dict, Mapping):
        return st.dictionaries(WORDS, of_type(args[1]), max_size=2)
    return PLAIN[kind]


def of_record(kind: Any, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Records of a class; `given` for fields whose values belong together."""
    hints = get_type_hints(kind)
    own = {one.name: given.get(one.name, st.deferred(lambda t=hints[one.name]: of_type(t))) for one in fields(kind)}
    return st.builds(kind, **own)


def as_written(record: Any) -> Any:
    """The record as its row has it: what no column shows, such as the p-value of what was not tested, at its default.

    Written beside `flatten` and `unflatten`, and by the columns alone: what neither knows of is an error there.
    """
    if isinstance(record, Mapping):
        return {key: as_written(value) for key, value in record.items()}
    if isinstance(record, tuple):
        return tuple(map(as_written, record))
    if not is_dataclass(record) or isinstance(record, Site):
        return record
    paths = [_path(record, name) for name in getattr(record, "columns", ())]
    return _kept(record, paths) if paths else _kept(record, [(one.name,) for one in fields(record)])


def _path(record: Any, name: str) -> tuple[str, ...]:
    alias = getattr(type(record), name, None)
    return alias.path if isinstance(alias, Alias) else (name,)


def _kept(record: Any, paths: list[tuple[str, ...]]) -> Any:
    values = {}
    for one in fields(record):
        below = [path[1:] for path in paths if path[0] == one.name]
        value = getattr(record, one.name)
        if () in below:
            values[one.name] = as_written(value)
        elif below:
            values[one.name] = None if value is None else _kept(value, below)
        elif one.default is not MISSING:
            values[one.name] = one.default
    return type(record)(**values)
