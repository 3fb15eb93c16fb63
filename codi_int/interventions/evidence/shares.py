"""The share of problems of a kind, with Wilson's interval on as many problems as the clusters are worth."""

import numpy as np
from numpy.typing import ArrayLike

from codi_int.interventions.evidence.clusters import Clusters
from codi_int.proportions import wilson_interval
from codi_int.records import Estimate


def estimate_share(hits: ArrayLike, groups: Clusters, confidence: float = 0.95) -> Estimate:
    """Share of hits, and Wilson's interval on counts deflated by the design effect of the clusters.

    The design effect is the variance of the sum over clusters divided by that over problems, at least 1, as for changes
    of accuracy (`cluster_score_interval`), and exactly 1 for single problems.

    Args:
        hits: whether each problem is one. [n]
        groups: the clusters of these problems.
        confidence: level of the interval.

    Source: J. Rao and A. Scott, Biometrics 48 (1992) 577-585, applied to E. B. Wilson, Journal of the American
    Statistical Association 22 (1927) 209-212.
    """
    values = np.asarray(hits, dtype=np.float64)
    share, centred = float(values.mean()), values - values.mean()
    within, between = float((centred**2).sum()), float((groups.sums(centred) ** 2).sum())
    effect = 1.0 if groups.singletons or within == 0 else max(between / within, 1.0)
    n = values.size / effect
    low, high = wilson_interval(share * n, n, alpha=1.0 - confidence)
    return Estimate(share, float(low), float(high), method=groups.named("wilson"))
