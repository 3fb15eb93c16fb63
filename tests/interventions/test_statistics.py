"""compare_paired: what it reports, what it says in words, what it refuses."""

import numpy as np
import pytest
import torch
from scipy.stats import beta
from statsmodels.stats.contingency_tables import mcnemar

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.compare import (
    beside_controls,
    compare_equivalence,
    compare_paired,
    conclude_effect,
)
from codi_int.interventions.evidence.conclusions import detectable_change
from codi_int.interventions.evidence.mean import estimate_mean
from codi_int.interventions.evidence.paired import PairedCounts
from codi_int.interventions.evidence.verdicts import Tested, p_words
from codi_int.records import Estimate
from codi_int.types import ControlSet


def _arms(n: int, broken: int, fixed: int) -> tuple[np.ndarray, np.ndarray]:
    clean = np.arange(n) < n // 2
    after = clean.copy()
    after[:broken] = False
    after[n - fixed :] = True
    return clean, after


def test_effect_holds_the_numbers_of_both_arms() -> None:
    clean, after = _arms(200, 20, 6)
    effect = compare_paired(clean, after, touched=clean, answer_changed=clean != after)
    assert effect.estimate == pytest.approx(after.mean() - clean.mean())
    assert (effect.n, effect.n_broken, effect.n_fixed) == (200, 20, 6)
    assert (effect.n_touched, effect.n_answer_changed) == (100, 26)
    assert effect.low < effect.estimate < effect.high < 0
    assert effect.p_value == pytest.approx(mcnemar([[80, 20], [6, 94]], exact=True).pvalue)
    assert "hurts" in effect.verdict
    assert "20 broken, 6 fixed" in effect.verdict


def test_lists_arrays_and_tensors_are_read_alike() -> None:
    clean, after = _arms(40, 9, 1)
    effect = compare_paired(clean, after)
    assert effect == compare_paired(clean.tolist(), after.astype(int))
    assert effect == compare_paired(torch.tensor(clean), torch.tensor(after))


def test_what_was_not_touched_is_not_tested() -> None:
    clean, _ = _arms(100, 0, 0)
    nowhere = np.zeros(100, dtype=bool)
    effect = compare_paired(clean, clean, touched=nowhere, answer_changed=nowhere, logprob_change=np.zeros(100))
    assert (effect.estimate, effect.low, effect.high, effect.p_value) == (0.0, 0.0, 0.0, None)
    assert (effect.n, effect.n_touched, effect.n_answer_changed) == (100, 0, 0)
    assert (effect.method, effect.minimum_detectable) == ("not tested", None)
    assert effect.logprob is not None
    assert (effect.logprob.estimate, effect.logprob.p_value) == (0.0, None)
    assert effect.verdict == (
        "The edit changes nothing here. Nothing differs on any of the 100 problems, so nothing is tested."
    )
    # one problem is enough to test, and not to know what was touched is no reason not to
    assert compare_paired(clean, clean, touched=np.arange(100) == 7).p_value == 1.0
    assert compare_paired(clean, clean).p_value == 1.0


def test_what_differs_without_a_touch_is_shown_and_not_tested() -> None:
    clean, after = _arms(200, 20, 6)
    nowhere, change = np.zeros(200, dtype=bool), np.linspace(-1.0, -0.5, 200)
    effect = compare_paired(clean, after, touched=nowhere, answer_changed=clean != after, logprob_change=change)
    tested = compare_paired(clean, after, logprob_change=change)
    assert (effect.estimate, effect.low, effect.high) == (tested.estimate, tested.low, tested.high)
    assert (effect.n_broken, effect.n_fixed, effect.n_answer_changed) == (20, 6, 26)
    assert effect.p_value is None
    assert effect.logprob is not None
    assert tested.logprob is not None
    assert effect.logprob.p_value is None
    assert tested.logprob.p_value is not None
    assert effect.logprob.estimate == tested.logprob.estimate == pytest.approx(-0.75)
    assert effect.verdict == (
        "The edit changes nothing on any of the 200 problems, so nothing is tested: "
        "the 20 broken and 6 fixed answers have another cause."
    )


@pytest.mark.parametrize("broken", range(6))
def test_few_flips_are_called_too_few(broken: int) -> None:
    clean, after = _arms(500, broken, 0)
    effect = compare_paired(clean, after)
    assert effect.p_value is not None
    assert effect.p_value >= 0.05
    assert "fewer than 6 cannot reach p < 0.05" in effect.verdict
    assert effect.low < 0 < effect.high


def test_many_balanced_flips_are_not_called_no_effect() -> None:
    effect = compare_paired(*_arms(1000, 30, 28))
    assert effect.conclusion == "unresolved"
    assert "nor that it stays within 0.5 points" in effect.verdict
    assert "80% power" in effect.verdict


def test_logprob_change_is_reported_beside_accuracy() -> None:
    clean, after = _arms(100, 2, 0)
    change = np.where(np.arange(100) < 30, -0.5 - np.arange(100) / 100, 0.0)
    effect = compare_paired(clean, after, logprob_change=change)
    assert effect.logprob is not None
    assert effect.logprob.estimate == pytest.approx(change.mean())
    assert "less likely" in effect.verdict


def test_equivalence_needs_enough_problems() -> None:
    assert compare_equivalence(*_arms(1495, 2, 2), bound=0.01).equivalent
    assert not compare_equivalence(*_arms(60, 0, 0), bound=0.01).equivalent


@pytest.mark.parametrize(
    ("clean", "after", "options", "says"),
    [
        ([True], [True, False], {}, "same problems: clean has 1, intervened has 2"),
        ([], [], {}, "at least one"),
        ([[True]], [[True]], {}, "at least one"),
        ([0.5, 1.0], [1.0, 1.0], {}, "other than true and false"),
        ([True], [True], {"confidence": 95}, "between 0 and 1"),
        ([True], [True], {"logprob_change": [0.1, 0.2]}, "same problems"),
        ([True], [True], {"touched": [True, True]}, "same problems"),
    ],
)
def test_bad_input_is_refused(clean: list, after: list, options: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        compare_paired(clean, after, **options)


def test_equivalence_bound_in_points_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a share above 0 and at most 0\.5"):
        compare_equivalence([True], [True], bound=5)


def test_a_p_value_at_the_level_is_not_below_it() -> None:
    alpha = 1.0 - 0.95
    effect = compare_paired(*_arms(200, 20, 6))
    found = {p: conclude_effect(effect, Tested(p, effect.p_equivalence)) for p in (alpha, alpha - 1e-9)}
    assert found[alpha - 1e-9].conclusion == "changed"
    assert "hurts" in found[alpha - 1e-9].verdict
    assert found[alpha].conclusion == "unresolved"
    assert "hurts" not in found[alpha].verdict


@pytest.mark.parametrize(
    ("broken", "fixed", "touched", "options", "conclusion", "says"),
    [
        (20, 3, 400, {}, "changed", "20 broken, 3 fixed"),
        (0, 20, 400, {}, "changed", "helps"),
        # half a point is ruled out, in the order of the conclusions before "untested"
        (0, 0, 400, {}, "equivalent", "stays within 0.5 points"),
        (0, 0, 3, {}, "equivalent", "of 1,495)"),
        # below 598 problems nothing can be shown within half a point, and three problems are never significant
        (1, 0, 3, {"n": 500}, "untested", "touches 3 of 500 problems"),
        (0, 0, 100, {"n": 500}, "unresolved", "takes 598 problems"),
        (5, 3, 400, {}, "unresolved", "nor that it stays within 0.5 points"),
        # a wider bound, declared beforehand
        (5, 3, 400, {"bound": 0.02}, "equivalent", "stays within 2 points"),
        # surely smaller than the bound, and a change all the same
        (20, 3, 400, {"bound": 0.05}, "changed", "less than the bound of 5 points"),
    ],
)
def test_conclusions_come_in_their_order(
    broken: int, fixed: int, touched: int, options: dict, conclusion: str, says: str
) -> None:
    n = options.pop("n", 1495)
    clean, after = _arms(n, broken, fixed)
    flags = np.zeros(n, dtype=bool)
    flags[clean != after] = True
    flags[np.flatnonzero(~flags)[: touched - int(flags.sum())]] = True
    effect = compare_paired(clean, after, touched=flags, **options)
    assert (effect.conclusion, effect.n_touched) == (conclusion, touched)
    assert says in effect.verdict
    assert "no effect" not in effect.verdict.lower()
    assert effect.largest_possible == pytest.approx(touched / n)
    assert effect.largest_in_population == pytest.approx(beta.ppf(0.95, touched + 1, n - touched))


def test_clusters_make_the_test_that_of_their_sums() -> None:
    """Ten flips that are five problems told twice are five coins."""
    clean = np.ones(600, dtype=bool)
    after = clean.copy()
    after[:10] = False
    labels = np.arange(600) // 2
    effect = compare_paired(clean, after, clusters=labels)
    assert effect.p_value == pytest.approx(2 * 0.5**5)
    assert (effect.n_clusters, effect.design_effect) == (300, 2.0)
    assert effect.method.endswith("by cluster")
    alone = compare_paired(clean, after)
    assert alone.p_value == pytest.approx(2 * 0.5**10)
    assert effect.high - effect.low > alone.high - alone.low
    assert effect.minimum_detectable is not None
    assert alone.minimum_detectable is not None
    assert effect.minimum_detectable > alone.minimum_detectable


def test_the_log_probability_has_an_interval_only_where_enough_problems_carry_it() -> None:
    clean, after = _arms(400, 8, 4)
    heavy = np.zeros(400)
    heavy[:3] = -9.0
    few = compare_paired(clean, after, logprob_change=heavy)
    assert few.logprob is not None
    assert (few.logprob.low, few.logprob.high, few.logprob.p_value) == (None, None, None)
    assert few.logprob.estimate == pytest.approx(-27 / 400)
    assert (few.n_effective, few.share_of_largest) == (pytest.approx(3.0), pytest.approx(1.0))
    spread = np.random.default_rng(0).normal(-0.2, 1.0, 400)
    many = compare_paired(clean, after, logprob_change=spread, seed=3)
    own = estimate_mean(spread, seed=3, draws=9_999)
    assert many.logprob is not None
    assert (many.logprob.low, many.logprob.high, many.logprob.p_value) == (own.low, own.high, own.p_value)


def test_what_is_not_known_is_not_said() -> None:
    effect = compare_paired(*_arms(300, 4, 1))
    assert (effect.n_touched, effect.n_answer_changed, effect.logprob, effect.n_effective) == (None,) * 4
    assert (effect.largest_possible, effect.largest_in_population) == (None, None)


def test_effects_that_the_edit_cannot_have_are_no_detectable_ones() -> None:
    clean, after = _arms(1495, 1, 0)
    flags = np.zeros(1495, dtype=bool)
    flags[:8] = True
    assert compare_paired(clean, after, touched=flags).minimum_detectable is None


def test_a_p_value_is_written_as_below_only_what_it_is_below() -> None:
    assert p_words(1e-4) == "p = 0.0001"
    assert p_words(0.99e-4) == "p < 0.0001"
    assert p_words(0.0321) == "p = 0.032"


def _beside(low: float, high: float) -> ControlSet:
    return ControlSet(
        draws=20,
        labels=(),
        firing_rates=(),
        edit_sizes=(),
        estimates=(),
        logprob_estimates=(),
        rank_of_effect=None,
        rank_of_logprob=None,
        difference=Estimate((low + high) / 2, low, high, 0.01),
    )


@pytest.mark.parametrize(
    ("arms", "low", "high", "says"),
    [
        ((200, 20, 3), -0.2, -0.05, "exceeds that of its 20 controls (-12.50 points beyond their mean"),
        ((200, 20, 3), -0.2, 0.05, "is not shown to exceed"),
        # beyond the controls, and in the other direction
        ((200, 20, 3), 0.05, 0.2, "is not shown to exceed"),
        ((200, 3, 20), 0.05, 0.2, "exceeds that of its 20 controls"),
        ((200, 2, 1), -0.2, -0.05, None),
    ],
)
def test_a_change_says_whether_it_exceeds_its_controls(
    arms: tuple[int, int, int], low: float, high: float, says: str | None
) -> None:
    effect = compare_paired(*_arms(*arms))
    verdict = beside_controls(
        effect, {"random_directions": _beside(-1.0, 1.0), "random_features": _beside(low, high)}
    ).verdict
    assert verdict == effect.verdict if says is None else f"The change {says}" in verdict
    assert beside_controls(effect, {}) == effect


def test_what_can_be_detected_counts_clusters_and_the_family() -> None:
    """Pairs of problems count as one at worst, and of ten tests each has a tenth of the level (Holm)."""
    clean, after = _arms(800, 20, 6)
    effect = compare_paired(clean, after, clusters=np.arange(800) // 2)
    counts = PairedCounts(400, 10, 3)
    assert effect.minimum_detectable == detectable_change(counts, 1.0, 0.05)
    assert compare_paired(clean, after).minimum_detectable == detectable_change(PairedCounts(800, 20, 6), 1.0, 0.05)
    of_ten = conclude_effect(effect, Tested(effect.p_value, effect.p_equivalence, n_tests=10))
    assert of_ten.minimum_detectable == detectable_change(counts, 1.0, 0.005)
    assert of_ten.minimum_detectable > effect.minimum_detectable
