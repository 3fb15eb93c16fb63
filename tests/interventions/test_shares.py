"""Shares of trials that share calculations: statsmodels' clustered variance, brute force over pairs, and simulation."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import binomtest, norm, t

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.shares import least_sure, share_interval
from codi_int.records import Estimate


def by_hand(hits: np.ndarray, members: np.ndarray) -> float:
    """Design effect from the definition: every pair of trials that have a cluster in common."""
    deviation = hits - hits.mean()
    total = sum(
        deviation[i] * deviation[j]
        for i in range(len(hits))
        for j in range(len(hits))
        if set(members[i].tolist()) & set(members[j].tolist())
    )
    clusters = np.unique(members).size
    return max(total / (deviation**2).sum() * clusters / (clusters - 1), 1.0)


@pytest.mark.parametrize("hits", [0, 3, 40])
def test_independent_trials_have_wilsons_interval(hits: int) -> None:
    flags = np.arange(40) < hits
    wanted = binomtest(hits, 40).proportion_ci(method="wilson")
    for labels in (None, np.arange(40)):
        found = share_interval(flags, labels)
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
        assert (found.design_effect, found.method) == (1.0, "Wilson")


def test_the_variance_of_one_kind_of_clusters_is_statsmodels() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 30, 200)
    hits = generator.random(200) < np.where(labels < 10, 0.8, 0.2)
    fit = sm.OLS(hits.astype(float), np.ones(200)).fit(
        cov_type="cluster", cov_kwds={"groups": labels, "use_correction": False}
    )
    clusters = np.unique(labels).size
    simple = hits.var() / 200
    found = share_interval(hits, labels)
    assert found.design_effect == pytest.approx(fit.bse[0] ** 2 / simple * clusters / (clusters - 1))
    assert found.design_effect > 2
    assert found.method == "Wilson, by cluster"


def test_trials_of_two_problems_depend_on_all_that_share_one() -> None:
    generator = np.random.default_rng(1)
    members = generator.integers(0, 25, (90, 2))
    members[:5, 1] = members[:5, 0]  # of one cluster alone
    members[5:8] = members[8:11, ::-1]  # the same two, the other way round
    hits = generator.random(90) < np.where(members.min(1) < 4, 0.9, 0.1)
    found = share_interval(hits, members)
    assert found.design_effect == pytest.approx(by_hand(hits, members))
    assert found.design_effect > share_interval(hits, members[:, 0]).design_effect > 1.0


def test_the_interval_is_wilsons_of_the_effective_number_with_students_quantile() -> None:
    labels, hits = np.repeat(np.arange(12), 5), np.repeat(np.arange(12) < 5, 5)
    found = share_interval(hits, labels, confidence=0.9)
    assert found.design_effect == pytest.approx(5 * 12 / 11)
    # Wilson's formula by hand, at the quantile itself
    n, p, z = 60 / found.design_effect, 5 / 12, t.ppf(0.95, 11)
    centre, reach = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert found.low == pytest.approx((centre - reach) / (1 + z**2 / n))
    assert found.high == pytest.approx((centre + reach) / (1 + z**2 / n))


def test_where_none_hits_the_clusters_count_as_one_each() -> None:
    labels = np.repeat(np.arange(20), 4)
    none = share_interval(np.zeros(80), labels)
    assert none.low == pytest.approx(0.0, abs=1e-15)
    assert none.design_effect == pytest.approx(4 * 20 / 19)
    assert none.high > binomtest(0, 20).proportion_ci(method="wilson").high > share_interval(np.zeros(80)).high


def test_trials_that_cancel_are_no_reason_to_be_surer() -> None:
    assert share_interval(np.tile([0, 1], 30), np.repeat(np.arange(30), 2)).design_effect == 1.0


def test_it_covers_where_wilson_alone_does_not() -> None:
    generator, covered, n = np.random.default_rng(2), np.zeros(2), 200
    members = np.stack([generator.integers(0, 150, 220), 150 + generator.integers(0, 60, 220)], 1)
    for _ in range(n):
        fate = generator.normal(size=210)
        hits = (fate[members[:, 0]] + fate[members[:, 1]]) / np.sqrt(2) < norm.ppf(0.3)
        for i, labels in enumerate((None, members)):
            found = share_interval(hits, labels)
            covered[i] += found.low <= 0.3 <= found.high
    # nominal 0.95; the calibration page has 0.921 as the lowest rate, and two errors of 200 draws are 0.03
    assert covered[0] / n < 0.86 < 0.9 < covered[1] / n


def test_labels_that_do_not_fit_are_refused() -> None:
    for labels in (np.zeros(3), np.zeros((4, 3))):
        with pytest.raises(ConfigError, match="Clusters of 4 trials"):
            share_interval([1, 0, 1, 0], labels)
    with pytest.raises(ConfigError, match="at least one trial"):
        share_interval([])


def test_the_least_sure_of_several_has_the_widest_interval_and_the_largest_p_value() -> None:
    several = [Estimate(0.1, 0.02, 0.2, 0.03, method="m"), Estimate(0.1, 0.04, 0.25, 0.06, method="m, by cluster")]
    found = least_sure(several)
    assert (found.value, found.low, found.high, found.p_value) == (0.1, 0.02, 0.25, 0.06)
    assert found.method == "m, by cluster"
    assert least_sure([Estimate(0.0, None, None)]) == Estimate(0.0, None, None)
