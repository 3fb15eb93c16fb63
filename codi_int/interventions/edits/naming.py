"""How edits name what they do: features, one or several, checked and in words; kinds and settings."""

import math
from typing import Any

from codi_int.errors import ConfigError, FeatureError
from codi_int.interventions.edits.adapt import as_edit


def as_tuple(feature: int | tuple[int, ...]) -> tuple[int, ...]:
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


def check_finite(name: str, value: float | int) -> None:
    """ConfigError where a setting is NaN or infinite."""
    if not math.isfinite(value):
        raise ConfigError(f"The {name} must be a finite number, got {value}.", "Give a number other than nan and inf.")


def in_words(features: tuple[int, ...]) -> str:
    """`4, 9, 20`, cut after six."""
    return ", ".join(map(str, features[:6])) + (f" and {len(features) - 6} more" if len(features) > 6 else "")


def edit_kind(edit: Any) -> str:
    """`ablate`, `amplify`, `swap`, ...; the class name of an edit of one's own."""
    return as_edit(edit).kind
