"""Recipes as JSON: the fields of `SAETrainingConfig`, with `aux`, `anneal` and `sparsity` as objects of their own."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from codi_int.errors import ConfigError
from codi_int.files import read_json
from codi_int.sae.recipe import TAKES_K, Anneal, AuxK, SAETrainingConfig, Sparsity

PARTS: Mapping[str, type] = {"aux": AuxK, "anneal": Anneal, "sparsity": Sparsity}
PLAIN: Mapping[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    NoneType: "null",
}
"""types of fields that JSON has words for"""


def read_recipe(path: Path | None, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> SAETrainingConfig:
    """A recipe from three sources: what is given wins over the file, the file over the defaults.

    Args:
        path: a JSON file; None for none.
        defaults: fields and values; a k among them counts for architectures that take one.
        given: fields and values; None counts as not given.

    Raises:
        ConfigError: a file that cannot be read, a field that does not exist, a value that cannot work.
    """
    from_file = {} if path is None else _read(path)
    chosen = {key: value for key, value in given.items() if value is not None}
    values = {**defaults, **from_file, **chosen}
    # a k that nobody asked for must not be what a recipe is refused for
    if "k" not in {**from_file, **chosen} and values.get("architecture", "topk") not in TAKES_K:
        values.pop("k", None)
    needed = [field.name for field in fields(SAETrainingConfig) if field.default is MISSING]
    missing = [name for name in needed if name not in values and not _has_factory(name)]
    if missing:
        raise ConfigError(f"The recipe has no {' and no '.join(missing)}.", f"Give {', '.join(missing)}.")
    return SAETrainingConfig(**values)


def _has_factory(name: str) -> bool:
    return next(field for field in fields(SAETrainingConfig) if field.name == name).default_factory is not MISSING


def _read(path: Path) -> dict[str, Any]:
    """The fields that stand in the file."""
    raw = read_json(path, error=ConfigError, remedy='A recipe is an object such as {"learning_rate": 0.0003}.')
    _check_fields(path, "the recipe", raw, SAETrainingConfig)
    for name, kind in PARTS.items():
        if raw.get(name) is not None:
            _check_fields(path, name, raw[name], kind)
            missing = [field.name for field in fields(kind) if field.default is MISSING and field.name not in raw[name]]
            if missing:
                raise ConfigError(f"{path}: {name} has no {missing[0]}.", f"It needs {', '.join(missing)}.")
            raw[name] = kind(**raw[name])
    return dict(raw)


def _check_fields(path: Path, name: str, raw: object, kind: type) -> None:
    """ConfigError unless `raw` is an object whose keys are fields of `kind`."""
    known = [field.name for field in fields(kind)]
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: {name} is no JSON object.", f"It may have: {', '.join(known)}.")
    unknown = [key for key in raw if key not in known]
    if unknown:
        raise ConfigError(f"{path}: {name} has no {unknown[0]!r}.", f"It may have: {', '.join(known)}.")
    for key, hint in get_type_hints(kind).items():
        if key in raw and key not in PARTS:
            raw[key] = _checked(f"{path}: {key}", raw[key], hint)


def _checked(where: str, value: Any, hint: Any) -> Any:
    """A JSON value as the field wants it; ConfigError for one of another type."""
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(_is(item, int) for item in value):
            raise ConfigError(f"{where} must be a list of whole numbers, not {value!r}.", "Write such as [64, 128].")
        return tuple(value)
    kinds = get_args(hint) or (hint,)
    if not any(_is(value, kind) for kind in kinds):
        words = " or ".join(PLAIN[kind] for kind in kinds)
        raise ConfigError(f"{where} must be {words}, not {value!r}.", "Correct it in the file.")
    # 1 in a file and 1.0 in code are one recipe and must be noted as equal
    return float(value) if float in kinds and type(value) is int else value


def _is(value: object, kind: type) -> bool:
    """Whether a JSON value is of a type; whole numbers are numbers, and true is none."""
    return type(value) is kind or (kind is float and type(value) is int)
