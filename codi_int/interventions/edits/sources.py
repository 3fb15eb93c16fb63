"""Which problem's values another problem gets: the sources of an interchange."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.errors import ConfigError


def check_sources(sources: Sequence[int]) -> tuple[int, ...]:
    """The sources as a tuple; ConfigError for anything but whole numbers from -1 upwards, or for no exchange at all."""
    rows = tuple(sources)
    for row in rows:
        # True and False are ints to Python, and a mask passed by mistake would read as rows 1 and 0
        if isinstance(row, bool) or not isinstance(row, int) or row < -1:
            raise ConfigError(
                f"A source is the row of a problem, or -1 to leave one alone; got {row!r}.",
                "Give whole numbers from -1 upwards.",
            )
    if all(row < 0 for row in rows):
        raise ConfigError("The interchange names no source at all.", "Give one row per problem, not all of them -1.")
    return rows


def take_from(
    sources: tuple[int, ...], values: Float[Tensor, "n m"], given: Float[Tensor, "n m"]
) -> Float[Tensor, "n m"]:
    """`values` with row i replaced by row `sources[i]` of `given` wherever that is not -1.

    Raises:
        ConfigError: where the sources are not one per row, or name a row that does not exist.
    """
    n = values.shape[0]
    if len(sources) != n:
        raise ConfigError(
            f"An interchange has one source per problem: got {len(sources)} for {n} problems.",
            "Give as many sources as there are problems, -1 for none.",
        )
    if max(sources) >= n:
        raise ConfigError(
            f"Source {max(sources)} does not exist: the run has problems 0 to {n - 1}.",
            "Give the row of a problem of this run.",
        )
    rows = torch.tensor(sources, device=values.device)
    # clamp: -1 would index the last row; `where` throws that row away. [n, 1] broadcasts over the columns.
    return torch.where((rows >= 0)[:, None], given[rows.clamp(min=0)], values)
