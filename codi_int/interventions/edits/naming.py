"""How edits name what they do: features, one or several, checked and in words; kinds and settings."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from codi_int.errors import ConfigError, FeatureError
from codi_int.interventions.edits.adapt import as_edit
from codi_int.numeric import IntsLike, as_number, whole_or_none


def as_features(given: Any) -> int | tuple[int, ...]:
    """What an edit is told to edit, of Python, numpy or torch: one feature as an int, several as a tuple.

    Raises:
        FeatureError: no feature, one twice, or something that is no whole number from 0 upwards.
    """
    one = whole_or_none(given)
    if one is None and (isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable)):
        raise FeatureError(f"A feature is a whole number from 0 upwards, got {given!r}.", "Write 449 or [449, 3].")
    if one is None and not getattr(given, "ndim", 1):  # a number of numpy or torch that is not whole
        raise FeatureError(f"A feature is a whole number from 0 upwards, got {given!r}.", "Write 449 or [449, 3].")
    values = given.tolist() if hasattr(given, "tolist") and one is None else given
    features = (one,) if one is not None else tuple(_feature(value) for value in values)
    check_named(features)
    return features[0] if one is not None else features


def _feature(given: Any) -> Any:
    """An int where it is one; else what was given, for `check_named` to refuse."""
    whole = whole_or_none(given)
    return given if whole is None else whole


def as_tuple(feature: IntsLike) -> tuple[int, ...]:
    """One feature or several as a tuple."""
    return (feature,) if isinstance(feature, int) else tuple(feature)


def check_named(features: tuple[int, ...]) -> None:
    """FeatureError where the features are none, no whole numbers from 0 upwards, or one of them stands there twice."""
    if not features:
        raise FeatureError("An edit names at least one feature, got none.", "Give the number of a feature.")
    for feature in features:
        # True is an int to Python, and a mask passed by mistake would read as feature 1
        if isinstance(feature, bool) or not isinstance(feature, int) or feature < 0:
            raise FeatureError(
                f"A feature is a whole number from 0 upwards, got {feature!r}.",
                "Give 0 or more, up to the size of the SAE.",
            )
    if len(set(features)) < len(features):
        raise FeatureError(f"Each feature can be named once, got {in_words(features)}.", "Leave the repeated ones out.")


def as_finite(name: str, given: Any) -> float | int:
    """A number of Python, numpy or torch; ConfigError for NaN, infinity and what is no number."""
    value = as_number(name, given)
    if not math.isfinite(value):
        raise ConfigError(f"The {name} must be a finite number, got {value}.", "Give a number other than nan and inf.")
    return value


def set_fields(edit: Any, **values: Any) -> None:
    """Put what a frozen edit was given into the form that its fields promise."""
    for name, value in values.items():
        object.__setattr__(edit, name, value)


def in_words(features: tuple[int, ...]) -> str:
    """`4, 9, 20`, cut after six."""
    return ", ".join(map(str, features[:6])) + (f" and {len(features) - 6} more" if len(features) > 6 else "")


def edit_kind(edit: Any) -> str:
    """`ablate`, `amplify`, `swap`, ...; the class name of an edit of one's own."""
    return as_edit(edit).kind
