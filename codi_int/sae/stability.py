"""Do the same features come back under another seed? Pairs of SAEs that differ in their seed alone, matched."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from codi_int.sae.base import SAE
from codi_int.sae.compare import match_features
from codi_int.sae.recipe import whole_recipe
from codi_int.types import Site

SHARED_FROM = 0.7
"""cosine from which two features count as the same one (Paulo and Belrose 2025)"""


@dataclass(frozen=True)
class Stability:
    """How much of one SAE comes back in another."""

    first: str
    """its name"""
    second: str
    """name of the other"""
    mean: float
    """mean cosine of matched decoder rows, over all features"""
    mean_alive: float
    """the same over the first one's features that fire on held-out rows; dead ones stay where their seed put them"""
    share_alive: float
    """share of those whose partner reaches a cosine of `SHARED_FROM`"""
    mean_chance: float
    """mean cosine when the second one's rows are replaced by random directions"""


def reseed_stability(
    saes: Mapping[str, SAE], sites: Mapping[str, Site], alive: Mapping[str, Tensor]
) -> tuple[Stability, ...]:
    """All pairs of SAEs of one site and one recipe but for the seed.

    Args:
        alive: name to a boolean for each feature, whether it fires.
    """
    # Alike but for the seed. `repr`, because a recipe is a dict and may hold lists; a missing recipe is alike to a
    # missing one, which is why what the config itself says is compared too.
    groups: dict[object, list[str]] = {}
    for name, sae in saes.items():
        recipe = {key: value for key, value in whole_recipe(sae.config.provenance.recipe).items() if key != "seed"}
        c = sae.config
        alike = (
            sites[name],
            c.architecture,
            c.rule,
            c.k,
            c.d_sae,
            c.provenance.data_sha256,
            repr(sorted(recipe.items())),
        )
        groups.setdefault(alike, []).append(name)
    pairs = [pair for names in groups.values() for pair in combinations(names, 2)]
    # equal weights are the same SAE under two names, not evidence of stability
    return tuple(_compared(a, b, saes[a], saes[b], alive[a]) for a, b in pairs if saes[a].sha256 != saes[b].sha256)


def _compared(first: str, second: str, a: SAE, b: SAE, alive: Tensor) -> Stability:
    found, chance = match_features(a, b), match_features(a, _random_like(b))
    # [number alive] cosines; the mean is taken in float64, and of none it would be NaN, which JSON does not have
    similarity = found.similarity[alive.cpu()]
    return Stability(
        first=first,
        second=second,
        mean=found.mean,
        mean_alive=float(similarity.double().mean()) if len(similarity) else 0.0,
        share_alive=float((similarity >= SHARED_FROM).double().mean()) if len(similarity) else 0.0,
        mean_chance=chance.mean,
    )


def _random_like(sae: SAE) -> SAE:
    """An SAE of the same shape whose decoder rows are random directions; the same ones every time."""
    # with hundreds of rows to choose from the best cosine is well above 0 by chance; this is what it is
    twin = type(sae)(sae.config)
    with torch.no_grad():
        twin.W_dec.copy_(torch.randn(twin.W_dec.shape, generator=torch.Generator().manual_seed(0)))
    return twin
