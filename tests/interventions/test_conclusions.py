"""Four words in their order, and what an edit and a family could have shown at all."""

import numpy as np
import pytest
from scipy.stats import beta, binomtest

from codi_int.interventions.evidence.conclusions import (
    Findings,
    Verdict,
    clopper_pearson_upper,
    conclude,
    detectable_change,
    largest_possible,
)
from codi_int.interventions.evidence.discrete import mcnemar_support
from codi_int.interventions.evidence.families import adjust, critical_level
from codi_int.interventions.evidence.paired import PairedCounts


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        (Findings(0.04, 0.8, True), Verdict("changed", False)),
        (Findings(0.04, 0.01, True), Verdict("changed", True)),
        (Findings(0.05, 0.01, True), Verdict("equivalent", True)),
        (Findings(0.05, 0.05, True), Verdict("unresolved", False)),
        (Findings(0.04, 0.8, True, confirmed=False), Verdict("unresolved", False)),
        (Findings(0.04, 0.01, True, confirmed=False), Verdict("equivalent", True)),
        (Findings(0.04, 0.8, True, confirmed=True), Verdict("changed", False)),
        (Findings(None, 0.01, False), Verdict("equivalent", True)),
        (Findings(None, 0.4, False), Verdict("untested", False)),
        (Findings(None, None, False), Verdict("untested", False)),
        (Findings(None, None, True), Verdict("unresolved", False)),
    ],
)
def test_the_first_word_that_the_evidence_allows(findings: Findings, expected: Verdict) -> None:
    assert conclude(findings) == expected


def test_upper_limits_are_clopper_and_pearsons() -> None:
    for hits, n in ((0, 1495), (3, 1495), (40, 300), (300, 300)):
        expected = beta.ppf(0.95, hits + 1, n - hits) if hits < n else 1.0
        assert clopper_pearson_upper(hits, n) == pytest.approx(expected)


def test_what_is_touched_bounds_the_change_here_and_its_upper_limit_elsewhere() -> None:
    touched = np.arange(1495) < 3
    found = largest_possible(touched)
    assert (found.here, found.population) == (pytest.approx(3 / 1495), pytest.approx(beta.ppf(0.95, 4, 1492)))
    labels = np.arange(1496) // 2
    assert largest_possible(np.arange(1496) < 3, labels).population == pytest.approx(beta.ppf(0.95, 3, 746))


def _share_found(counts: PairedCounts, change: float, noise: float, level: float) -> float:
    table = np.random.default_rng(0).multinomial(counts.n, [noise + change, noise, 1 - change - 2 * noise], size=4000)
    found = {(b, f): binomtest(b, b + f).pvalue < level if b + f else False for b, f, _ in table.tolist()}
    return float(np.mean([found[b, f] for b, f, _ in table.tolist()]))


@pytest.mark.parametrize("level", [0.05, 0.05 / 400])
def test_a_detectable_change_is_found_four_times_in_five(level: float) -> None:
    counts = PairedCounts(1495, 12, 2)
    change = detectable_change(counts, 1.0, level)
    noise = beta.ppf(0.95, 3, 1493)
    assert change is not None
    assert change * 1000 == pytest.approx(round(change * 1000))
    assert _share_found(counts, change, noise, level) >= 0.78
    assert _share_found(counts, change - 0.001, noise, level) < 0.82


def test_nothing_is_promised_beyond_what_the_edit_can_do() -> None:
    counts = PairedCounts(1495, 2, 0)
    change = detectable_change(counts, 1.0)
    assert change is not None
    assert detectable_change(counts, change + 0.001) is not None
    assert detectable_change(counts, 0.004) is None
    assert detectable_change(counts, 0.0) is None
    assert detectable_change(counts, 1.0, level=0.0) is None


@pytest.mark.parametrize("method", ["holm", "bh", "benjamini-hochberg"])
def test_the_critical_level_is_where_one_test_alone_is_found(method: str) -> None:
    level = critical_level(method, 8)
    for p, found in ((level, True), (level * 1.001, False)):
        adjusted = adjust([p, *[1.0] * 7], method)[0]
        assert adjusted is not None
        assert (adjusted <= 0.05 * (1 + 1e-12)) == found


def test_the_critical_level_of_a_discrete_family() -> None:
    counts = [30, 12, *[3] * 40, *[1] * 100]
    supports = [mcnemar_support(count) for count in counts]
    level = critical_level("discrete-bh", len(counts), supports=supports)
    # of the p-values that 30 flips can give, those up to the level are found alone, and the next is not
    support = np.array(supports[0])
    for p in (support[support <= level * (1 + 1e-9)][-1], support[support > level * (1 + 1e-9)][0]):
        adjusted = adjust([float(p), *[1.0] * 141], "discrete-bh", counts=counts)[0]
        assert adjusted is not None
        assert (adjusted <= 0.05) == (p <= level * (1 + 1e-9))
    assert level > 0.05 / len(counts)
