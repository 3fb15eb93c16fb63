"""Recipes as JSON: the fields of `SAETrainingConfig`, with `aux`, `anneal` and `sparsity` as objects of their own."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from codi_int.errors import ConfigError
from codi_int.sae.recipe import Anneal, AuxK, SAETrainingConfig, Sparsity

PARTS: Mapping[str, type] = {"aux": AuxK, "anneal": Anneal, "sparsity": Sparsity}


def read_recipe(path: Path | None, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> SAETrainingConfig:
    """A recipe from three sources: what is given wins over the file, the file over the defaults.

    Args:
        path: a JSON file; None for none.
        defaults: fields and values.
        given: fields and values; None counts as not given.

    Raises:
        ConfigError: a file that cannot be read, a field that does not exist, a value that cannot work.
    """
    from_file = {} if path is None else _read(path)
    chosen = {key: value for key, value in given.items() if value is not None}
    return SAETrainingConfig(**{**defaults, **from_file, **chosen})


def _read(path: Path) -> dict[str, Any]:
    """The fields that stand in the file."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "Give a recipe as a JSON file.") from None
    except ValueError:
        raise ConfigError(f"{path} is no JSON.", 'A recipe is an object such as {"learning_rate": 0.0003}.') from None
    _check_fields(path, "the recipe", raw, SAETrainingConfig)
    for name, kind in PARTS.items():
        if raw.get(name) is not None:
            _check_fields(path, name, raw[name], kind)
            raw[name] = _made(path, name, kind, raw[name])
    if "widths" in raw:
        raw["widths"] = tuple(raw["widths"] or ())
    return dict(raw)


def _made(path: Path, name: str, kind: type, raw: Mapping[str, Any]) -> Any:
    try:
        return kind(**raw)
    except TypeError:
        needed = "k_start" if kind is Anneal else "other values"
        raise ConfigError(f"{path}: {name} cannot be made of {dict(raw)}.", f"It needs {needed}.") from None


def _check_fields(path: Path, name: str, raw: object, kind: type) -> None:
    """ConfigError unless `raw` is an object whose keys are fields of `kind`."""
    known = [field.name for field in fields(kind)]
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: {name} is no JSON object.", f"It may have: {', '.join(known)}.")
    unknown = [key for key in raw if key not in known]
    if unknown:
        raise ConfigError(f"{path}: {name} has no {unknown[0]!r}.", f"It may have: {', '.join(known)}.")
