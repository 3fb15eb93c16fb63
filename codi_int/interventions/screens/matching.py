"""Which feature of one dictionary is which of another: by the directions that they write and the problems they fire on.

Dead features take no part: they have no pattern, and their directions are where their seed put them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from codi_int.errors import SAEError
from codi_int.sae.base import SAE
from codi_int.sae.compare import directions
from codi_int.sae.stability import SHARED_FROM

OVERLAP_FROM = 0.5
"""share of the problems on which either fires on which both have to, for two features to count as the same one"""
CHANCE_DRAWS = 10
"""matchings by firing rate alone; they differ where rates are tied, or nearly"""
JITTER = 0.1
"""how far, in nats, a rate is moved at random in them"""
Fires = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pairing:
    """Features of one dictionary and their partners in another, one to one."""

    partners: NDArray[np.int64]
    """for each feature of the first its partner in the second; -1 where there is none. [d_sae]"""
    cosine: NDArray[np.float64]
    """of the two decoder rows, without its sign where the rule keeps signs; 0 without a partner. [d_sae]"""
    overlap: NDArray[np.float64]
    """problems on which both fire as a share of those on which either does; 0 without a partner. [d_sae]"""

    @property
    def shared(self) -> NDArray[np.bool_]:
        """Which features have the same feature in the other dictionary: alike in direction and in firing. [d_sae]"""
        return (self.partners >= 0) & (self.cosine >= SHARED_FROM) & (self.overlap >= OVERLAP_FROM)


def match_dictionaries(first: SAE, second: SAE, fires: Fires, fires_there: Fires) -> Pairing:
    """The one-to-one pairing of alive features with the largest sum of cosine and overlap (Hungarian method).

    Args:
        first: whose features are to be found again.
        second: where.
        fires: whether each feature of the first fires on each problem. [n, d_sae]
        fires_there: the same of the second, on the same problems. [n, d_sae of the second]

    Raises:
        SAEError: for dictionaries of different width.
    """
    if first.d_in != second.d_in:
        raise SAEError(f"SAEs of width {first.d_in} and {second.d_in} share no directions.", "Compare at one site.")
    here, there = (np.flatnonzero(one.any(axis=0)) for one in (fires, fires_there))
    cosines = (directions(first)[here] @ directions(second)[there].T).double().numpy()
    # with `abs` a feature turned around, encoder and decoder, is the same feature
    if first.config.rule == "abs" and first.config.architecture == "topk":
        cosines = np.abs(cosines)
    overlaps = _overlaps(fires[:, here], fires_there[:, there])
    rows, columns = linear_sum_assignment(cosines + overlaps, maximize=True)
    partners = np.full(first.d_sae, -1)
    cosine, overlap = np.zeros((2, first.d_sae))
    partners[here[rows]] = there[columns]
    cosine[here[rows]], overlap[here[rows]] = cosines[rows, columns], overlaps[rows, columns]
    return Pairing(partners, cosine, overlap)


def match_by_rate(rates: NDArray[np.int64], rates_there: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """What chance is: partners that fire on as many problems, whatever they write and wherever they fire.

    Args:
        rates: problems on which each of some features fires, all of them at least 1. [features]
        rates_there: the same of the features that may become partners. [features there]
        seed: of ties.

    Returns:
        place of each one's partner for every draw; -1 where the other side is smaller. [draws, features]
    """
    generator = np.random.default_rng(seed)
    out = np.full((CHANCE_DRAWS, rates.size), -1)
    for draw in out:
        logs = [np.log(one) + generator.uniform(-JITTER, JITTER, one.size) for one in (rates, rates_there)]
        rows, columns = linear_sum_assignment(np.abs(logs[0][:, None] - logs[1][None, :]))
        draw[rows] = columns
    return out


def _overlaps(first: Fires, second: Fires) -> NDArray[np.float64]:
    """Jaccard's index of every two columns. [features, features there]"""
    a, b = first.astype(np.float64), second.astype(np.float64)
    both = a.T @ b
    either = a.sum(axis=0)[:, None] + b.sum(axis=0)[None, :] - both
    found: NDArray[np.float64] = both / np.maximum(either, 1.0)
    return found
