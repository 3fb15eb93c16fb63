"""Comparing SAEs: the Pareto front, features that come back under another seed, the decoder's structure."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from codi_int.errors import SAEError
from codi_int.sae.base import SAE


@dataclass(frozen=True)
class GridPoint:
    """One SAE of a grid, by what it costs and what it reaches."""

    name: str
    """what it is called in tables"""
    k: int
    """features kept per row"""
    d_sae: int
    """number of features"""
    explained_variance: float
    """on held-out rows"""
    dead_share: float
    """share of features that never fire"""

    @property
    def n_active(self) -> int:
        """Features that fire at all."""
        return round(self.d_sae * (1 - self.dead_share))

    @property
    def per_active_feature(self) -> float:
        """Explained variance per feature that fires at all, the published measure of efficiency."""
        return self.explained_variance / self.n_active if self.n_active else 0.0


def relative_efficiency(points: Sequence[GridPoint], reference: GridPoint) -> tuple[float | None, ...]:
    """How many times the reference's explained variance per active feature each point reaches; None where it has none.

    The published comparison of TopK with Matryoshka SAEs. It rewards few features whatever they explain, so read it
    beside the explained variance itself.
    """
    base = reference.per_active_feature
    return tuple(point.per_active_feature / base if base > 0 else None for point in points)


def published_front(points: Sequence[GridPoint]) -> tuple[GridPoint, ...]:
    """Points than which no other both explains strictly more and keeps strictly fewer features.

    The published notion. Along one k nothing can be dominated this way, so it keeps points that are worse in every
    respect: a whole grid of 12 came out as optimal.
    """

    def dominates(q: GridPoint, p: GridPoint) -> bool:
        return q.explained_variance > p.explained_variance and q.k < p.k

    return tuple(p for p in points if not any(dominates(q, p) for q in points))


def strict_front(points: Sequence[GridPoint]) -> tuple[GridPoint, ...]:
    """Points that no other equals or betters in explained variance, k, d_sae and dead share, being better in one."""

    def dominates(q: GridPoint, p: GridPoint) -> bool:
        gains = (q.explained_variance - p.explained_variance, p.k - q.k, p.d_sae - q.d_sae, p.dead_share - q.dead_share)
        return min(gains) >= 0 and max(gains) > 0

    return tuple(p for p in points if not any(dominates(q, p) for q in points))


@dataclass(frozen=True)
class Matching:
    """Features of one SAE paired with those of another, one to one."""

    partners: Int[Tensor, " d_sae"]
    """for each feature of the first the feature of the second; -1 where the second is smaller"""
    similarity: Float[Tensor, " d_sae"]
    """cosine of the two decoder rows, without its sign where the rule keeps signs; 0 without a partner"""

    def share_above(self, border: float) -> float:
        """Share of features whose partner is at least this similar."""
        return float((self.similarity >= border).double().mean())

    @property
    def mean(self) -> float:
        """Mean similarity."""
        return float(self.similarity.double().mean())


def match_features(first: SAE, second: SAE) -> Matching:
    """The pairing that makes the summed cosine of decoder rows largest (Hungarian method, as in Paulo et al. 2025).

    With `rule="abs"` a feature and its negative are the same feature, so the cosine's magnitude counts.

    Raises:
        SAEError: SAEs of different width.
    """
    if first.d_in != second.d_in:
        raise SAEError(f"SAEs of width {first.d_in} and {second.d_in} share no directions.", "Compare at one site.")
    # [d_sae of first, d_sae of second]
    cosines = directions(first) @ directions(second).T
    # with `abs` a latent may be negative, and turning W_enc, b_enc and W_dec of a feature around changes nothing
    if first.config.rule == "abs" and first.config.architecture == "topk":
        cosines = cosines.abs()
    rows, columns = (torch.as_tensor(part) for part in linear_sum_assignment(cosines.double().numpy(), maximize=True))
    # rectangular matrices match as many as the smaller SAE has; the rest keep -1 and 0
    partners, similarity = torch.full((first.d_sae,), -1), torch.zeros(first.d_sae)
    partners[rows], similarity[rows] = columns, cosines[rows, columns]
    return Matching(partners, similarity)


def directions(sae: SAE) -> Float[Tensor, "d_sae d_in"]:
    """Decoder rows of unit length, in float32 on the CPU."""
    rows = sae.W_dec.detach().float().cpu()
    # published decoders have unit norm at the start only, so trained rows have any length; a zero row stays zero
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-8)
    return unit


@dataclass(frozen=True)
class DecoderStructure:
    """How much the decoder rows resemble each other."""

    nearest: Float[Tensor, " d_sae"]
    """for each feature the largest cosine with another one"""
    mean_nearest: float
    """its mean; near 1 many features are copies"""
    mean_abs_cosine: float
    """mean magnitude over all pairs; about sqrt(2 / (pi d_in)) for random directions"""


def decoder_structure(sae: SAE) -> DecoderStructure:
    """Cosines between the decoder rows; SAEError with fewer than two features."""
    if sae.d_sae < 2:
        raise SAEError("An SAE with one feature has no pairs of features.", "Give d_sae >= 2.")
    cosines = directions(sae) @ directions(sae).T
    off_diagonal = ~torch.eye(sae.d_sae, dtype=torch.bool)
    nearest = cosines.masked_fill(~off_diagonal, -torch.inf).max(dim=1).values
    return DecoderStructure(nearest, float(nearest.double().mean()), float(cosines.abs()[off_diagonal].double().mean()))
