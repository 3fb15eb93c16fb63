"""Tests of symmetry, not of the mean: a rare large loss beside many small gains may leave the mean at 0."""

import warnings

import numpy as np
from numpy.typing import ArrayLike

from codi_int.effects import Symmetry
from codi_int.interventions.evidence.clusters import ClusterLabels, read_clusters
from codi_int.interventions.evidence.max_t import max_t

DRAWS = 9_999


def check_symmetry(
    changes: ArrayLike, clusters: ClusterLabels | None = None, seed: int = 0, draws: int = DRAWS
) -> Symmetry | None:
    """Whether changes are symmetric about 0, by two tests over cluster sums; None where nothing changed.

    They need no large sample and hold where too few problems carry the mean for any test of it. What they reject is
    that a change is as likely to go one way as the other, by the same amount; the mean may be 0 all the same.

    Args:
        changes: one per problem. [n]
        clusters: label of each problem's cluster; without them every problem is its own.
        seed: of the sign flips.
        draws: sign flips; all of them are taken where there are no more.

    Raises:
        ConfigError: as `max_t`.

    Source: R. Fisher, The Design of Experiments (1935), section 21; F. Wilcoxon, Biometrics Bulletin 1 (1945) 80-83.
    """
    from scipy.stats import wilcoxon

    values = np.asarray(changes, dtype=np.float64)
    sums = read_clusters(clusters, values.size).sums(values)
    # clusters that change nothing have no sign and no rank
    moved = sums[sums != 0]
    if not moved.size:
        return None
    (flips,) = max_t(moved[:, None], draws=draws, seed=seed)
    assert flips is not None
    with warnings.catch_warnings():
        # of few equal changes scipy takes the normal approximation, and says so
        warnings.simplefilter("ignore")
        ranks = float(wilcoxon(moved).pvalue)
    return Symmetry(n=moved.size, sign_flip_p=float(flips), signed_rank_p=ranks)
