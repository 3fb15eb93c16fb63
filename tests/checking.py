"""Run-time checks of annotations, up to a number of calls in each test.

Every call of our functions is held against its annotations, shapes included (jaxtyping, with beartype). A test calls a
model's innermost functions a hundred thousand times, where a check takes as long as the function does; what is wrong
shows in the first calls.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import jaxtyping
from beartype import beartype

CALLS = 3_000
"""checks in one test, its fixtures included"""


class _Budget:
    """What is left of them."""

    left = CALLS


def refill() -> None:
    """All checks again; called at the start of each test."""
    _Budget.left = CALLS
    jaxtyping.config.update("jaxtyping_disable", False)


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """beartype's check of a function; the last one of a test ends all checks until the next."""
    checked = beartype(function)

    @wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        _Budget.left -= 1
        if _Budget.left <= 0:
            jaxtyping.config.update("jaxtyping_disable", True)
        return checked(*args, **kwargs)

    return counted
