"""Numbers as users write them: of Python, of numpy, or tensors of one; everything else is one of our errors."""

from numbers import Real
from operator import index
from typing import Any

from codi_int.errors import CodiError, ConfigError

# What a field of an edit may be given; it is checked and stored as the type that the name says, so no checker of types
# can tell more than this.
IntLike = Any
"""a whole number of Python, numpy or torch; stored as an int"""
IntsLike = Any
"""one such number or several, also as an array; stored as an int or a tuple of them"""
NumberLike = Any
"""a number of Python, numpy or torch; stored as an int or a float"""


def as_whole(name: str, given: Any, error: type[CodiError] = ConfigError) -> int:
    """A whole number of Python, numpy or torch as an int; `error` for all else, True and False too."""
    value = whole_or_none(given)
    if value is None:
        raise error(f"{name} is a whole number, got {shown(given)}.", "Give a number such as 3.")
    return value


def whole_or_none(given: Any) -> int | None:
    """A whole number of Python, numpy or torch as an int; None for all else."""
    # a tensor of one element has an index, whatever its shape; only one without axes is a number
    if isinstance(given, bool) or bool(getattr(given, "ndim", 0)) or "bool" in str(getattr(given, "dtype", "")):
        return None
    try:
        return index(given)
    except TypeError:
        return None


def as_number(name: str, given: Any) -> int | float:
    """A number of Python, numpy or torch as an int or float; ConfigError for all else."""
    if (whole := whole_or_none(given)) is not None:
        return whole
    one = isinstance(given, Real) or (hasattr(given, "item") and not getattr(given, "ndim", 0))
    value = given.item() if one and hasattr(given, "item") else given
    if not one or isinstance(value, bool | complex):
        raise ConfigError(f"The {name} is a number, got {shown(given)}.", f"Write {name.replace(' ', '_')}=2.0.")
    return float(value)


def shown(given: object) -> str:
    """What was given, short enough for a line."""
    text = " ".join(repr(given).split())
    return text if len(text) <= 80 else f"{text[:80]}..."
