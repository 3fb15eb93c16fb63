"""compare_paired: what it reports, what it says in words, what it refuses."""

import numpy as np
import pytest
import torch
from statsmodels.stats.contingency_tables import mcnemar

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.compare import compare_equivalence, compare_paired
from codi_int.interventions.evidence.paired import PairedCounts, score_interval
from codi_int.interventions.evidence.verdicts import p_words, verdict_of


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
    clean, after = _arms(1000, broken, 0)
    effect = compare_paired(clean, after)
    assert effect.p_value is not None
    assert effect.p_value >= 0.05
    assert "fewer than 6 cannot reach p < 0.05" in effect.verdict
    assert effect.low < 0 < effect.high


def test_many_balanced_flips_are_not_called_no_effect() -> None:
    effect = compare_paired(*_arms(1000, 30, 28))
    assert "does not show that there is none" in effect.verdict
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
    with pytest.raises(ConfigError, match="bound is a share"):
        compare_equivalence([True], [True], bound=5)


def test_a_p_value_at_the_level_is_not_below_it() -> None:
    alpha = 1.0 - 0.95
    counts = PairedCounts(200, 20, 6)
    interval = score_interval(counts)
    words = {p: verdict_of(counts, interval, p, 0.03, None) for p in (alpha, alpha - 1e-9)}
    assert "hurts" in words[alpha - 1e-9]
    assert "hurts" not in words[alpha]


def test_a_p_value_is_written_as_below_only_what_it_is_below() -> None:
    assert p_words(1e-4) == "p = 0.0001"
    assert p_words(0.99e-4) == "p < 0.0001"
    assert p_words(0.0321) == "p = 0.032"
