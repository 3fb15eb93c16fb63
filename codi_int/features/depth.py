"""Are effects at late layers larger than at early ones? Two distributions of effects, with layers as the clusters.

Features of one layer read the same activations and share their dictionaries, so that thousands of features are not
thousands of observations: what varies is the layer. The statistics are of all features (how often one of a late layer
has the larger effect, and the largest distance of the two distribution functions); their null distribution gives the
names *early* and *late* to whole layers in every possible way.

What that cannot do: neighbouring layers are alike, so that with a smooth trend over the depth not all ways of naming
are equally likely, and p-values are too small rather than too large. The other test keeps the depth and takes positions
as the clusters; it has few of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import comb

import numpy as np
from numpy.typing import NDArray

from codi_int.errors import ConfigError
from codi_int.records import Alias, Estimate

Floats = NDArray[np.float64]
Names = NDArray[np.bool_]
"""which layers are called late"""
DRAWS = 2_000
MOST = 200_000
"""ways of naming that are gone through one by one"""
METHOD = "percentile bootstrap of layers, early and late ones by themselves; p over all ways to call layers late"
_TOLERANCE = 1e-12


@dataclass(frozen=True)
class DepthContrast:
    """Effects at late layers against effects at early ones."""

    n_early: int
    """features"""
    n_late: int
    """features"""
    layers: tuple[int, int]
    """early and late layers, which are the clusters"""
    superiority: Estimate
    """P(late > early) + P(equal) / 2 of two features drawn at random; 0.5 where neither is larger. Its p-value is
    two-sided"""
    distance: float
    """largest difference of the two distribution functions (Kolmogorov and Smirnov)"""
    p_distance: float
    """over the same ways to call layers late"""
    by_position: tuple[float, ...]
    """superiority at each position by itself"""
    p_position: float | None
    """two-sided, exact sign flips of superiority - 0.5 over positions; None with a single one"""

    value = Alias[float]("superiority.value")
    low = Alias[float | None]("superiority.low")
    high = Alias[float | None]("superiority.high")
    p_value = Alias[float | None]("superiority.p_value")


def wins(values: Sequence[Floats]) -> Floats:
    """How often a value of group i is above one of group j, equal ones as half. [groups, groups]"""
    ordered = [np.sort(one) for one in values]
    out = np.zeros((len(values), len(values)))
    for j, other in enumerate(ordered):
        for i, one in enumerate(values):
            below, up_to = np.searchsorted(other, one, "left"), np.searchsorted(other, one, "right")
            out[i, j] = (below.sum() + up_to.sum()) / 2
    return out


def superiority(values: Sequence[Floats], late: Names) -> Floats:
    """P(late > early) + P(equal) / 2, for each way of calling groups late.

    Args:
        values: effects of each group.
        late: which groups are called late. [ways, groups]

    Returns:
        [ways]
    """
    n = np.array([one.size for one in values], dtype=np.float64)
    above = late.astype(np.float64)
    total = ((above @ wins(values)) * (1.0 - above)).sum(1)
    return np.asarray(total / ((above @ n) * ((1.0 - above) @ n)))


def distances(values: Sequence[Floats], late: Names) -> Floats:
    """Largest difference of the distribution functions of late and early groups, for each way. [ways]"""
    grid = np.unique(np.concatenate(values))
    # thousands of steps of a large sample tell no more than these
    grid = grid[:: max(1, grid.size // DRAWS)]
    counts = np.stack([np.searchsorted(np.sort(one), grid, "right") for one in values]).astype(np.float64)
    n, above = np.array([one.size for one in values], dtype=np.float64), late.astype(np.float64)
    of_late, of_early = ((w @ counts) / (w @ n)[:, None] for w in (above, 1.0 - above))
    return np.asarray(np.abs(of_late - of_early).max(1))


def ways_to_call(n: int, n_late: int) -> Names:
    """Every way to call `n_late` of `n` groups late. [ways, n]

    Raises:
        ConfigError: there are too many to go through.
    """
    if comb(n, n_late) > MOST:
        raise ConfigError(f"{n} layers can be called late in {comb(n, n_late):,} ways.", f"At most {MOST:,} are tried.")
    chosen = np.array(list(combinations(range(n), n_late)))
    out = np.zeros((len(chosen), n), dtype=np.bool_)
    np.put_along_axis(out, chosen, True, axis=1)
    return out


def compare_depths(effects: Mapping[tuple[int, int], Floats], split: int, seed: int = 0) -> DepthContrast:
    """Effects of features at layers from `split` on against those below.

    Args:
        effects: sizes of effects, one for each feature, of every (layer, position).
        split: the first late layer.
        seed: of the bootstrap.

    Raises:
        ConfigError: fewer than two layers on one side, or too many layers to name them in every way.
    """
    layers, positions = (sorted({place[i] for place in effects}) for i in (0, 1))
    late: Names = np.array([layer >= split for layer in layers], dtype=np.bool_)
    if min(late.sum(), (~late).sum()) < 2:
        raise ConfigError(
            f"Layers {layers[0]} to {layers[-1]}, split before {split}: each side takes two layers or more.",
            "Give effects of more layers, or split them elsewhere.",
        )
    values = [np.concatenate([one for place, one in effects.items() if place[0] == layer]) for layer in layers]
    ways = np.concatenate([late[None], ways_to_call(len(layers), int(late.sum()))])
    apart, far = np.abs(superiority(values, ways) - 0.5), distances(values, ways)
    found = float(superiority(values, late[None])[0])
    low, high = _interval(values, late, seed)
    single = [_at_position(effects, layers, late, position) for position in positions]
    sizes = [sum(one.size for one, is_late in zip(values, late, strict=True) if is_late == side) for side in (0, 1)]
    return DepthContrast(
        n_early=sizes[0],
        n_late=sizes[1],
        layers=(int((~late).sum()), int(late.sum())),
        superiority=Estimate(
            value=found,
            low=min(low, found),
            high=max(high, found),
            p_value=float((apart[1:] >= apart[0] - _TOLERANCE).mean()),
            method=METHOD,
        ),
        distance=float(far[0]),
        p_distance=float((far[1:] >= far[0] - _TOLERANCE).mean()),
        by_position=tuple(single),
        p_position=_sign_flips(np.array(single) - 0.5) if len(single) > 1 else None,
    )


def _at_position(effects: Mapping[tuple[int, int], Floats], layers: Sequence[int], late: Names, position: int) -> float:
    here = [effects.get((layer, position), np.zeros(0)) for layer in layers]
    return float(superiority(here, late[None])[0])


def _sign_flips(values: Floats) -> float:
    """Two-sided p-value of the sum, over all signs."""
    signs = np.array(list(product((-1.0, 1.0), repeat=values.size)))
    return float((np.abs(signs @ values) >= abs(values.sum()) - _TOLERANCE).mean())


def _interval(values: Sequence[Floats], late: Names, seed: int) -> tuple[float, float]:
    """Layers drawn again, early and late by themselves."""
    rng, won = np.random.default_rng(seed), wins(values)
    n = np.array([one.size for one in values], dtype=np.float64)
    sides = [np.flatnonzero(late), np.flatnonzero(~late)]
    draws = []
    for _ in range(DRAWS):
        above, below = (rng.choice(side, side.size) for side in sides)
        draws.append(won[np.ix_(above, below)].sum() / (n[above].sum() * n[below].sum()))
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)
