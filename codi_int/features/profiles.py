"""What a feature does on some problems: how often it fires, and how strongly."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.errors import SAEError
from codi_int.model.hooked import CodiModel
from codi_int.progress import Progress
from codi_int.sae.activations import activations
from codi_int.sae.base import SAE, check_fits
from codi_int.sae.metrics import ROWS_AT_ONCE
from codi_int.sae.store import as_sae
from codi_int.types import Problem, Site


@dataclass(frozen=True)
class FeatureProfile:
    """One alive feature on one set of problems."""

    rank: int
    """1 for the feature that fires most often; equal ones by index"""
    feature: int
    """its index"""
    firing_rate: float
    """share of the problems on which it fires, that is on which its latent is not 0"""
    n_firing: int
    """how many problems these are"""
    n_problems: int
    """of how many"""
    mean_activation: float
    """mean magnitude of its latent where it fires"""
    max_activation: float
    """largest magnitude"""


def profile_features(
    sae: SAE | str | Path | Any,
    model: CodiModel,
    problems: Sequence[Problem],
    site: Site | None = None,
    progress: Progress | None = None,
) -> tuple[FeatureProfile, ...]:
    """The features of an SAE that fire on some problems, the most frequent first.

    Args:
        sae: an SAE, the name or folder of one, or one of SAELens.
        model: the model whose thoughts it reads.
        problems: on which problems.
        site: where it reads; may be left out where the SAE knows its own.
        progress: called with (stage, done, total).

    Returns:
        one profile for each alive feature; none for a feature that fires on none of the problems.

    Raises:
        SAEError: an SAE that does not know its site, where none is given, or that belongs elsewhere.
        SiteError: a site that the model does not have.
    """
    found = as_sae(sae, device=str(model.device))
    where = site or found.site
    if where is None:
        raise SAEError("The SAE does not say at which site it was trained.", "Give it: site=Site(14, 3).")
    check_fits(found, model, model.check_site(where))
    return profile_rows(found, activations(model, problems, [where], progress=progress).at(where).values)


@torch.no_grad()
def profile_rows(sae: SAE, rows: Float[Tensor, "n d_in"]) -> tuple[FeatureProfile, ...]:
    """The same from activations, one row for each problem."""
    fired, summed, largest = torch.zeros(3, sae.d_sae, dtype=torch.float64)
    # in chunks: the latents [n, d_sae] of all problems at once would be the largest tensor
    for start in range(0, rows.shape[0], ROWS_AT_ONCE):
        size = sae.encode(rows[start : start + ROWS_AT_ONCE].to(sae.W_dec.device)).dense().abs().double().cpu()
        fired += (size != 0).sum(0)
        summed += size.sum(0)
        largest = torch.maximum(largest, size.amax(0))
    alive = fired.argsort(descending=True, stable=True)[: int((fired > 0).sum())].tolist()
    return tuple(
        FeatureProfile(
            rank=rank,
            feature=feature,
            firing_rate=int(fired[feature]) / rows.shape[0],
            n_firing=int(fired[feature]),
            n_problems=rows.shape[0],
            mean_activation=float(summed[feature] / fired[feature]),
            max_activation=float(largest[feature]),
        )
        for rank, feature in enumerate(alive, 1)
    )
