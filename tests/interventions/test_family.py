"""Families against statsmodels, the step-up itself, and numbers worked out by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest, false_discovery_control
from statsmodels.stats.multitest import multipletests

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.clusters import read_clusters
from codi_int.interventions.evidence.discrete import discrete_step_up, mcnemar_support, rejects_at
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.family import NO_FLIPS, Flips, Member, find, for_means
from codi_int.interventions.evidence.max_t import max_t

N = 1_495


def member(broken: int, fixed: int, testable: bool = True) -> Member:
    """An exact test of so many flips, each problem its own cluster."""
    changes = np.zeros(N)
    changes[:broken], changes[broken : broken + fixed] = -1, 1
    p_value = binomtest(broken, broken + fixed).pvalue if broken + fixed else 1.0
    return Member.of(p_value, changes, read_clusters(None, N), testable)


def like_the_screen() -> list[Member]:
    """717 tests of which 695 have p = 1, as the screen of L10.P5 had: 28 and 0, 20 and 3, small counts, and nothing."""
    few = [member(a, b) for a, b in ((2, 0), (3, 0), (4, 1), (5, 3)) for _ in range(5)]
    return [member(28, 0), member(20, 3), *few, *(member(0, 0) for _ in range(695))]


def test_a_true_effect_that_plain_correction_throws_away_is_found() -> None:
    members = like_the_screen()
    plain, discrete = find(members, "bh"), find(members, "discrete")
    assert plain.p_adjusted[1] == pytest.approx(binomtest(20, 23).pvalue * 717 / 2)
    assert plain.found[:2] == (True, False)
    assert discrete.p_adjusted[1] is not None
    assert discrete.p_adjusted[1] < 0.002
    assert discrete.found[:2] == (True, True)
    assert sum(discrete.found) == 2


@pytest.mark.parametrize(("name", "theirs"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_plain_corrections_are_those_of_statsmodels(name: str, theirs: str) -> None:
    members = [member(a, b) for a, b in ((9, 0), (12, 2), (6, 0), (3, 1), (8, 8), (0, 0))]
    rejected, adjusted, *_ = multipletests([one.p_value for one in members], 0.05, theirs)
    found = find(members, name)
    assert found.p_adjusted == pytest.approx(tuple(adjusted))
    assert found.found == tuple(rejected)
    assert found.critical == pytest.approx(0.05 / 6)


@pytest.mark.parametrize("seed", range(5))
def test_discrete_findings_are_what_the_step_up_rejects_at_that_level(seed: int) -> None:
    generator = np.random.default_rng(seed)
    flips = generator.integers(0, 15, (40, 2)).tolist()
    members = [member(a, b) for a, b in flips]
    supports = [np.array(mcnemar_support(a + b)) for a, b in flips]
    p_values = np.array([one.p_value for one in members])
    found = find(members)
    assert found.p_adjusted == pytest.approx(tuple(discrete_step_up(p_values, supports)))
    assert found.found == tuple(rejects_at(p_values, supports, 0.05).tolist())


def test_a_finding_is_what_the_step_up_rejects_even_where_its_adjusted_p_value_is_below_the_level() -> None:
    """A higher level may reject less: 9 of 11 would be rejected at 0.1399 and is not at 0.1425."""
    flips = ((3, 1), (7, 4), (5, 3), (9, 2), (3, 2), (6, 0), (1, 5))
    found = find([member(a, b) for a, b in flips], alpha=0.1425)
    assert found.p_adjusted[3] == pytest.approx(0.1398035)
    assert found.found == (False, False, False, False, False, True, False)


def test_heyse_and_max_t_are_the_library_s() -> None:
    members = [member(a, b) for a, b in ((9, 0), (12, 2), (6, 0), (0, 0))]
    p_values = [one.p_value for one in members]
    assert find(members, "heyse").p_adjusted == pytest.approx(tuple(adjust(p_values, "heyse", counts=[9, 14, 6, 0])))
    table = np.zeros((N, 3))
    for column, (a, b) in enumerate(((9, 0), (12, 2), (6, 0))):
        table[:a, column], table[a : a + b, column] = -1, 1
    found = find(members, "max-t", seed=3)
    # where nothing flipped no flip of signs does less
    assert found.p_adjusted == pytest.approx((*max_t(table, seed=3), 1.0))


def test_what_could_never_be_found_leaves_the_family() -> None:
    members = [member(9, 0), member(5, 0, testable=False), Member.of(None, np.zeros(N), read_clusters(None, N))]
    for name in ("holm", "bh", "discrete", "heyse", "max-t"):
        found = find(members, name)
        assert found.n_tests == 1
        assert found.p_adjusted[1:] == (None, None)
        assert found.found == (True, False, False)
    assert find(members, "holm").p_adjusted[0] == members[0].p_value


def test_supports_come_from_clusters() -> None:
    # seven flips in four clusters of 2, 2, 2 and 1: totals are odd, 7 has 2 of 16 patterns, so p is 0.125 at the least
    changes = np.zeros(20)
    changes[:7] = -1
    labels = np.array([0, 0, 1, 1, 2, 2, 3, *range(4, 17)])
    one = Member.of(2 / 16, changes, read_clusters(labels, 20))
    assert find([one], "discrete").found == (False,)
    assert find([one], "discrete").p_adjusted[0] == pytest.approx(0.125 / (1 - 0.125))
    assert sorted(one.sums.tolist()) == [-2, -2, -2, -1]


def test_an_empty_family_finds_nothing() -> None:
    found = find([], "discrete")
    assert (found.p_adjusted, found.found, found.n_tests, found.critical) == ((), (), 0, 0.05)


def test_the_critical_value_is_what_one_alone_has_to_pass() -> None:
    members = [member(0, 0) for _ in range(700)]
    found = find(members, "discrete")
    # tests that can only give 1 cost nothing, but the step-up divides by 1 - F at its largest threshold
    assert 0.05 / 701 < found.critical < 0.05
    broken = next(k for k in range(6, 40) if binomtest(k, k).pvalue <= found.critical)
    assert find([*members, member(broken, 0)], "discrete").found[-1]
    assert find(members, "bh").critical == pytest.approx(0.05 / 700)


def test_flips_come_back_as_the_changes_they_were() -> None:
    changes = np.array([0.0, -1, 2, 0, -3, 1])
    flips = Flips.of(changes)
    assert flips.changes(6).tolist() == changes.tolist()
    assert (flips.broken, flips.fixed) == ((1, 4, 4, 4), (2, 2, 5))
    assert NO_FLIPS.changes(3).tolist() == [0, 0, 0]


def test_means_are_corrected_for_the_same_kind_of_error() -> None:
    assert [for_means(name) for name in ("discrete", "heyse", "bh", "holm", "max-t")] == ["bh"] * 3 + ["holm"] * 2


def test_an_unknown_correction_is_refused() -> None:
    with pytest.raises(ConfigError, match="There is no correction 'best'"):
        find([], "best")


def test_false_findings_stay_rare_where_nothing_is_true() -> None:
    generator = np.random.default_rng(0)
    wrong = 0
    for _ in range(200):
        sizes = generator.integers(0, 40, 60)
        broken = generator.binomial(sizes, 0.5)
        wrong += any(find([member(int(b), int(m - b)) for b, m in zip(broken, sizes, strict=True)]).found)
    assert wrong / 200 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


def test_plain_bh_is_scipy_s_too() -> None:
    p_values = [one.p_value for one in like_the_screen()]
    assert find(like_the_screen(), "bh").p_adjusted == pytest.approx(tuple(false_discovery_control(p_values)))
