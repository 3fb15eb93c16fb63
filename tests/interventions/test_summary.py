"""Arms against each other, problem by problem."""

import numpy as np
import pytest

from codi_int.interventions.engine.summary import change_between
from codi_int.types import Outcome


def outcome(name: str, answer: int, logprob: float, margin: float, touched: bool) -> Outcome:
    """Right where the answer is 1 or 2."""
    return Outcome(
        problem_id=name,
        answer=answer,
        correct=answer in (1, 2),
        answer_logprob=logprob,
        touched=touched,
        answer_margin=margin,
    )


def test_an_arm_that_touches_nothing_of_a_problem_changes_nothing_there() -> None:
    before = [outcome("a", 1, -0.1, 2.0, touched=False), outcome("b", 2, -0.2, 3.0, touched=False)]
    # rounding made another answer of the first one, which the edit does not touch
    after = [outcome("a", 9, -5.0, -1.0, touched=False), outcome("b", 8, -0.7, 1.0, touched=True)]
    change = change_between(before, after)
    assert change.touched.tolist() == [False, True]
    assert change.accuracy.tolist() == [0.0, -1.0]
    assert change.answer.tolist() == [False, True]
    assert change.logprob.tolist() == pytest.approx([0.0, -0.5])
    assert change.margin is not None
    assert change.margin.tolist() == pytest.approx([0.0, -2.0])
    assert change.probability is not None
    assert change.probability.tolist() == pytest.approx([0.0, np.exp(-0.7) - np.exp(-0.2)])
