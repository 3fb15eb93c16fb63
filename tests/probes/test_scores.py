"""Scores against scikit-learn, and intervals that draw whole clusters."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, r2_score

from codi_int.probes.fitting import Outputs
from codi_int.probes.scores import Scorer, control_score, mean_of

RNG = np.random.default_rng(0)
PLACES = RNG.integers(4, size=120).astype(float)
SAID = np.where(RNG.random(120) < 0.6, PLACES, RNG.integers(4, size=120))
NUMBERS = RNG.normal(size=120) * 7 + 3
GUESSED = NUMBERS + RNG.normal(size=120) * 3


def test_scores_are_scikit_learns() -> None:
    scorer = Scorer(np.arange(120))
    assert scorer.score(Outputs(PLACES, 4), SAID).value == pytest.approx(balanced_accuracy_score(PLACES, SAID))
    assert scorer.score(Outputs(NUMBERS, 0), GUESSED).value == pytest.approx(r2_score(NUMBERS, GUESSED))


def test_each_draw_is_the_score_of_the_problems_drawn() -> None:
    clusters = np.arange(120) // 3
    scorer = Scorer(clusters, seed=4, draws=5)
    counts = np.random.default_rng([4, 1]).multinomial(40, np.full(40, 1 / 40), size=5)
    for outputs, said, score in (
        (Outputs(PLACES, 4), SAID, balanced_accuracy_score),
        (Outputs(NUMBERS, 0), GUESSED, r2_score),
    ):
        found = scorer.score(outputs, said)
        for draw, count in zip(found.draws, counts, strict=True):
            rows = np.repeat(np.arange(120), count[clusters])
            assert draw == pytest.approx(score(outputs.values[rows], said[rows]))


def test_clusters_that_say_one_thing_widen_the_interval() -> None:
    right = np.repeat(RNG.random(30) < 0.7, 4)
    outputs = Outputs(np.tile([0.0, 1.0], 60), 2)
    said = np.where(right, outputs.values, 1 - outputs.values)
    wide, narrow = (Scorer(labels).score(outputs, said).estimate for labels in (np.arange(120) // 4, np.arange(120)))
    assert wide.value == narrow.value
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_differences_are_paired() -> None:
    scorer = Scorer(np.arange(120))
    one = scorer.score(Outputs(PLACES, 4), SAID)
    nothing = one.minus(one).estimate
    assert (nothing.value, nothing.low, nothing.high) == (0.0, 0.0, 0.0)
    other = scorer.score(Outputs(PLACES, 4), np.zeros(120))
    assert mean_of([one, other]).value == pytest.approx((one.value + other.value) / 2)
    assert other.value == 0.25


def test_controls_below_the_mean_count_as_nothing() -> None:
    scorer = Scorer(np.arange(120))
    bad, good = (scorer.score(Outputs(NUMBERS, 0), said) for said in (NUMBERS * -2, GUESSED))
    assert bad.value < -1
    assert control_score([bad, good], numbers=True).value == pytest.approx(good.value / 2)
    assert control_score([bad, good], numbers=True).draws.min() >= 0
    assert control_score([bad, good], numbers=False).value == mean_of([bad, good]).value
