"""Counting and testing predicted answers: hand-made outcomes, statsmodels, scipy, and a simulation."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest
from statsmodels.stats.contingency_tables import mcnemar

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.betting import estimate_bounded
from codi_int.interventions.patching.predicted import check_power, needed_problems
from codi_int.interventions.patching.prediction_scores import score_prediction
from codi_int.interventions.patching.predictions import Prediction, Predictions
from codi_int.proportions import wilson_interval
from codi_int.types import Number, Outcome


def outcomes(*answers: Number | None, touched: bool = True) -> tuple[Outcome, ...]:
    return tuple(Outcome(f"p{i}", answer, False, -1.0, touched) for i, answer in enumerate(answers))


def predicted(*answers: Number | None, truth: Number = 0, sources: Number | None = None) -> Predictions:
    rows = tuple(
        Prediction(
            problem_id=f"p{i}",
            answer=answer,
            informative=answer not in (None, truth),
            why_not=None if answer is not None else "no steps",
            ambiguous=i == 0,
            source_id=None if sources is None else "s",
            source_answer=sources,
        )
        for i, answer in enumerate(answers)
    )
    return Predictions("something happens", rows)


def answers_of(hits: np.ndarray) -> list[int]:
    """5 where `hits`, else 1."""
    return np.where(hits, 5, 1).tolist()


def test_only_informative_problems_that_were_touched_count() -> None:
    claim = predicted(*(5, 6, 0, None, 7, 8))  # the third stays as it is, the fourth has no prediction
    untouched = outcomes(*(0, 0, 0, 0, 0, 8), touched=False)
    after = (*outcomes(5, 9, 0, 3, 7), *untouched[5:])
    test = score_prediction(claim, outcomes(*(0, 6, 0, 3, 0, 8)), after)
    assert (test.n, test.n_predicted, test.n_informative, test.n_tested) == (6, 5, 4, 3)
    assert (test.n_hits, test.n_hits_clean, test.hit_rate) == (2, 1, 2 / 3)
    assert test.n_ambiguous == 1
    assert test.not_predicted == {"no steps": 1}
    assert test.became == {"predicted": 2, "as before": 0, "another": 1, "none": 0}
    assert (test.low, test.high) == wilson_interval(2, 3)


def test_what_answers_became_tells_copies_from_computed_ones() -> None:
    claim = predicted(5, 5, 5, 5, 44, sources=44)
    test = score_prediction(claim, outcomes(1, 1, 1, 1, 1), outcomes(5, 44, 1, None, 44))
    assert test.became == {"predicted": 2, "as before": 1, "the source's": 1, "another": 0, "none": 1}
    assert (test.n_distinct, test.n_hits_distinct) == (4, 1)  # the fifth could be copied


def test_the_test_is_statsmodels_mcnemar_and_the_interval_wilsons() -> None:
    generator = np.random.default_rng(3)
    before, after = (generator.random(200) < share for share in (0.04, 0.15))
    claim = predicted(*[5] * 200)
    test = score_prediction(claim, outcomes(*answers_of(before)), outcomes(*answers_of(after)))
    table = [[(before & after).sum(), (before & ~after).sum()], [(~before & after).sum(), (~before & ~after).sum()]]
    assert test.p_value == pytest.approx(mcnemar(table, exact=True).pvalue)
    interval = binomtest(int(after.sum()), 200).proportion_ci(0.95, method="wilson")
    assert (test.low, test.high) == pytest.approx((interval.low, interval.high))


def test_controls_rank_the_edit() -> None:
    claim, before, after = predicted(5, 6, 7, 8), outcomes(1, 1, 1, 1), outcomes(5, 6, 1, 1)
    matched_controls = [outcomes(5, 6, 7, 1), outcomes(5, 1, 1, 1), outcomes(1, 1, 1, 1), outcomes(5, 6, 1, 1)]
    matched_controls.append(outcomes(1, 1, 1, 1, touched=False))
    test = score_prediction(claim, before, after, matched_controls, "random")
    assert test.controls is not None
    assert test.controls.hit_rates == (0.75, 0.25, 0.0, 0.5)
    assert (test.controls.n_without, test.controls.n_as_well, test.controls.p_value) == (1, 2, 3 / 5)


def test_problems_of_one_calculation_are_one_observation() -> None:
    """Twenty hits of twenty problems, which ask for the same in pairs: ten flips, and an interval of ten."""
    claim, before, after = predicted(*[5] * 20), outcomes(*[1] * 20), outcomes(*[5] * 20)
    pairs = np.arange(20) // 2
    test = score_prediction(claim, before, after, [before], clusters=pairs)
    assert test.p_value == pytest.approx(binomtest(10, 10).pvalue)
    assert test.controls is not None
    assert test.controls.difference is not None
    expected, wrong = (estimate_bounded(np.ones(20), 1.0, clusters=labels) for labels in (pairs, None))
    assert test.controls.difference.low == pytest.approx(expected.low)
    assert expected.low < wrong.low


def test_nothing_touched_is_nothing_said() -> None:
    untouched = outcomes(1, 1, touched=False)
    test = score_prediction(predicted(5, 6), untouched, untouched, [untouched])
    assert (test.n_tested, test.hit_rate, test.low, test.p_value) == (0, None, None, None)
    assert "nothing can be said" in test.verdict


def test_verdicts() -> None:
    claim, before = predicted(*[5] * 200), outcomes(*[1] * 200)
    many, few, none = outcomes(*[5] * 40, *[1] * 160), outcomes(*[5] * 2, *[1] * 198), outcomes(*[1] * 200)
    assert "comes true on 20% of the problems: 40 of 200" in score_prediction(claim, before, many).verdict
    missed = score_prediction(claim, before, few)
    assert "comes true beyond chance is not shown" in missed.verdict
    assert missed.verdict.endswith(f"The interval ends at {binomtest(2, 200).proportion_ci(method='wilson').high:.1%}.")
    beaten = score_prediction(claim, before, many, [many] * 20)
    assert "20 of 20 control edits did as well. That it exceeds its controls is not shown: +0.0" in beaten.verdict
    unbeaten = score_prediction(claim, before, many, [none] * 19 + [many])
    assert "1 of 20 control edits did as well. It exceeds its controls by +19.0 points" in unbeaten.verdict
    # problem by problem: 40 problems on which one control of twenty does it too
    assert unbeaten.controls is not None
    difference = np.repeat([1 - 1 / 20, 0.0], [40, 160])
    assert unbeaten.controls.difference == estimate_bounded(difference, 1.0)
    short = score_prediction(predicted(*[5] * 9), outcomes(*[1] * 9), outcomes(*[1] * 9)).verdict
    assert short.startswith("Too few problems to tell: 0 of 9")


def exact_power(n: int, gain: float, loss: float) -> float:
    """Power of the exact test by enumerating both kinds of flips, p-values by scipy."""
    total = 0.0
    for both in range(n + 1):
        weight = binom.pmf(both, n, gain + loss)
        if weight < 1e-12:
            continue
        good = [k for k in range(both + 1) if both and binomtest(k, both, 0.5).pvalue < 0.05]
        total += weight * binom.pmf(good, both, gain / (gain + loss)).sum() if good else 0.0
    return total


def test_the_needed_number_has_the_power_it_claims() -> None:
    needed = needed_problems(0.10)
    gain, loss = 0.10 * 0.99, 0.01 * 0.90
    assert exact_power(needed - 1, gain, loss) < 0.8 <= exact_power(needed, gain, loss)
    assert needed_problems(0.5) < needed < needed_problems(0.05)


def test_simulated_predictions_are_found_as_often_as_claimed() -> None:
    needed, found, generator = needed_problems(0.10), 0, np.random.default_rng(0)
    claim = predicted(*[5] * needed)
    for _ in range(150):
        before, after = (answers_of(generator.random(needed) < share) for share in (0.01, 0.10))
        p_value = score_prediction(claim, outcomes(*before), outcomes(*after)).p_value
        found += p_value is not None and p_value < 0.05
    assert 0.70 < found / 150 < 0.90


def test_too_few_problems_are_refused_with_what_is_needed() -> None:
    with pytest.raises(ConfigError, match=r"12 problems .*10% predicted answers with 80% power it takes 10\d") as few:
        check_power(12, "problems tell the prediction from the truth")
    assert len(str(few.value).splitlines()) == 2
    check_power(needed_problems(), "problems")
    with pytest.raises(ConfigError, match="above chance"):
        needed_problems(0.005)
