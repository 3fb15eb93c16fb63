"""Early stopping: counts, settling, losses and tests, against answers that are known and against the model's own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import codi_int as ci
from codi_int.data.chains import cluster_problems
from codi_int.errors import ConfigError
from codi_int.interventions import stopping
from codi_int.interventions.evaluation import evaluate
from codi_int.interventions.evidence.clusters import read_clusters
from codi_int.types import Step


def problem(name: str, answer: int, *steps: Step) -> ci.Problem:
    return ci.Problem(name, f"Question {name}.", answer, steps)


ADD, SUB = Step(2, "addition", 3, 5), Step(9, "subtraction", 4, 5)
PROBLEMS = [problem("a", 5, ADD), problem("b", 7, ADD, SUB), problem("c", 8, SUB, ADD), problem("d", 9, SUB)]
ANSWERS = [  # thoughts by problem; the model's own number is 2
    [5, 1, 8, None],
    [5, 7, 1, 4],
    [5, 7, 2, 9],
    [1, 7, 2, 9],
]


def read() -> Any:
    return stopping._read(ANSWERS, PROBLEMS, np.zeros((4, 4)), 2)


def test_answers_are_right_settled_or_lost() -> None:
    found = read()
    assert found.correct.T.tolist() == [
        [True, False, True, False],
        [True, True, False, False],
        [True, True, False, True],
        [False, True, False, True],
    ]
    # a from the beginning, b after one thought, c and d only after the model's own two; beyond, nothing is settled
    assert found.settled.T.tolist() == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, True],
        [False, False, False, False],
    ]
    assert found.lost.sum(0).tolist() == [0, 1, 1, 2]


def test_rows_and_changes_of_groups_count_what_was_answered() -> None:
    groups = read_clusters(None, 4)
    several = list(stopping._groups_of(PROBLEMS))
    assert [(one.steps, one.operation, int(one.chosen.sum())) for one in several] == [
        *((None, None, 4), (1, None, 2), (2, None, 2)),
        *((None, "addition", 3), (None, "subtraction", 3)),
    ]
    rows = stopping._rows(read(), several[2], groups, seed=0)
    assert [(row.thoughts, row.n_correct, row.n_settled, row.n_lost) for row in rows] == [
        *((0, 1, 0, 0), (1, 1, 1, 1), (2, 1, 2, 1), (3, 1, None, 1)),
    ]
    changes = stopping._changes(read(), several, groups)
    assert len(changes) == 5 * 3
    first = changes[0]
    assert (first.thoughts, first.n_broken, first.n_fixed, first.n) == (1, 1, 1, 4)
    raw = [one.p_value for one in changes]
    assert [one.p_adjusted for one in changes] == ci.adjust(raw, "holm")


@pytest.fixture(scope="module")
def found(llama: Any, right: Any) -> stopping.EarlyStopping:
    return ci.run_stop(llama, right, 7, data="stories")


def test_the_models_own_number_equals_its_evaluation(found: Any, llama: Any, right: Sequence[ci.Problem]) -> None:
    known, own = evaluate(llama, right), found.overall[6]
    assert (own.n_correct, own.n) == (known.overall.n_correct, known.overall.n)
    answers = [outcome.answer for outcome in found.outcomes if outcome.thoughts == 6]
    assert answers == [one.answer for one in llama.answer(right)]
    assert own.n_settled == own.n == 24
    rows = [row for row in found.rows if row.thoughts == 6]
    assert [row.n_correct for row in rows] == [row.n_correct for row in known.by_steps]


def test_neighbours_are_compared_as_two_arms_are(found: Any, right: Sequence[ci.Problem]) -> None:
    correct = {k: [o.correct for o in found.outcomes if o.thoughts == k] for k in range(8)}
    assert correct[2] != correct[3]
    for k in (3, 7):
        effect = ci.compare_paired(correct[k - 1], correct[k], clusters=cluster_problems(right))
        one = next(c for c in found.changes if c.thoughts == k and c.steps is None and c.operation is None)
        assert (one.estimate, one.low, one.high, one.p_value) == (
            effect.estimate,
            effect.low,
            effect.high,
            effect.p_value,
        )
        assert (one.n_broken, one.n_fixed) == (effect.n_broken, effect.n_fixed)


def test_it_is_kept_and_comes_back_equal(found: Any, tmp_path: Path) -> None:
    found.save(tmp_path)
    back = ci.load_result(tmp_path)
    assert back == found
    assert isinstance(back, ci.EarlyStopping)
    frame = back.to_frame()
    assert list(frame.columns[:5]) == ["thoughts", "steps", "operation", "n", "n_correct"]
    assert len(frame) == len(found.all_rows)
    assert "own 6 thoughts" in repr(back)


def test_fewer_thoughts_than_its_own_and_a_single_calculation_are_refused(llama: Any, right: Any) -> None:
    with pytest.raises(ConfigError, match="from 6, the model's own"):
        ci.run_stop(llama, right, 5)
    twice = [replace(right[0], id=name) for name in ("x", "y")]
    with pytest.raises(ConfigError, match="one and the same chain"):
        ci.run_stop(llama, twice)
