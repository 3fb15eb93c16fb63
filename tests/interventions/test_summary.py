"""Arms against each other, problem by problem."""

import numpy as np
import pytest

from codi_int.interventions.engine.summary import change_between
from codi_int.types import Outcome


def test_an_arm_that_touches_nothing_of_a_problem_changes_nothing_there() -> None:
    before = [Outcome("a", 1, True, -0.1, False, 2.0), Outcome("b", 2, True, -0.2, False, 3.0)]
    # rounding made another answer of the first one, which the edit does not touch
    after = [Outcome("a", 9, False, -5.0, False, -1.0), Outcome("b", 8, False, -0.7, True, 1.0)]
    change = change_between(before, after)
    assert change.touched.tolist() == [False, True]
    assert change.accuracy.tolist() == [0.0, -1.0]
    assert change.answer.tolist() == [False, True]
    assert change.logprob.tolist() == pytest.approx([0.0, -0.5])
    assert change.margin is not None
    assert change.margin.tolist() == pytest.approx([0.0, -2.0])
    assert change.probability is not None
    assert change.probability.tolist() == pytest.approx([0.0, np.exp(-0.7) - np.exp(-0.2)])
