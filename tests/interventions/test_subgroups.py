"""Effects by operation and by number of steps, against counting by hand and scipy."""

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from codi_int.data.chains import cluster_problems
from codi_int.interventions.engine.subgroups import operation_rows, steps_rows
from codi_int.interventions.evidence.contrasts import contrast_accuracy
from codi_int.interventions.evidence.measure import ArmChange
from codi_int.types import Problem, Step


def problem(number: int, *steps: Step) -> Problem:
    return Problem(str(number), "?", 1, steps)


def plus(left: int) -> Step:
    return Step(left, "addition", 1, left + 1)


def times(left: int) -> Step:
    return Step(left, "multiplication", 2, 2 * left)


# 40 problems of one step, half of them additions; 40 of two, a quarter with no addition; 5 without written steps
PROBLEMS = [
    *(problem(i, plus(i) if i < 20 else times(i)) for i in range(40)),
    *(problem(i, times(i), plus(i) if i < 70 else times(i)) for i in range(40, 80)),
    *(problem(i) for i in range(80, 85)),
]
BROKEN = [0, 1, 2, 3, 40, 41, 42, 72, 84]


def change(clusters: np.ndarray | None = None) -> ArmChange:
    flips = np.zeros(len(PROBLEMS))
    flips[BROKEN] = -1.0
    flips[[5, 75]] = 1.0
    return ArmChange(flips, flips, flips != 0, flips != 0, clusters=clusters)


def test_operations_by_hand() -> None:
    rows = {row.operation: row for row in operation_rows(PROBLEMS, change())}
    assert list(rows) == ["addition", "multiplication"]
    assert (rows["addition"].n, rows["addition"].n_broken, rows["addition"].n_fixed) == (50, 7, 1)
    assert (rows["multiplication"].n, rows["multiplication"].n_broken) == (60, 4)
    assert rows["addition"].estimate == pytest.approx(-6 / 50)
    p_values = [binomtest(7, 8).pvalue, binomtest(4, 5).pvalue]
    assert [row.p_value for row in rows.values()] == pytest.approx(p_values)
    assert [row.p_adjusted for row in rows.values()] == pytest.approx(list(multipletests(p_values, method="holm")[1]))
    # 20 against 20 of one step, 30 against 10 of two; the problems without steps have no addition either
    one, two = (-4 + 1) / 20 - 0, -3 / 30 - 0 / 10
    weights = np.array([20 * 20 / 40, 30 * 10 / 40])
    contrast = rows["addition"].contrast
    assert contrast is not None
    assert contrast.value == pytest.approx(float(weights @ [one, two] / weights.sum()))
    assert contrast.low < contrast.value < contrast.high


def test_steps_are_contrasted_with_all_others() -> None:
    rows = steps_rows(PROBLEMS, change())
    assert [(row.n_steps, row.n, row.n_broken, row.n_fixed) for row in rows] == [(1, 40, 4, 1), (2, 40, 4, 1)]
    assert rows[0].contrast is not None
    assert rows[0].contrast.value == pytest.approx(-3 / 40 - (-4 / 45))
    members = np.arange(85) < 40
    alone = contrast_accuracy(change().accuracy, members)
    assert alone is not None
    assert rows[0].contrast.p_value == alone.p_value
    raw = [row.contrast.p_value for row in rows if row.contrast is not None]
    assert [row.contrast.p_adjusted for row in rows] == pytest.approx(list(multipletests(raw, method="holm")[1]))


def test_contrasts_are_corrected_over_the_kinds() -> None:
    flips = np.where(np.arange(85) < 16, -1.0, 0.0)
    rows = steps_rows(PROBLEMS, ArmChange(flips, flips, flips != 0, flips != 0))
    raw = [row.contrast.p_value for row in rows if row.contrast is not None]
    adjusted = [row.contrast.p_adjusted for row in rows if row.contrast is not None]
    assert max(raw) < 0.01
    assert adjusted == pytest.approx(list(multipletests(raw, method="holm")[1]))
    assert adjusted != pytest.approx(raw)


def test_rows_work_on_clusters() -> None:
    told_twice = [*PROBLEMS, *(Problem(f"again {p.id}", "?", 1, p.steps) for p in PROBLEMS)]
    once = change()
    flips = np.tile(once.accuracy, 2)
    twice = ArmChange(flips, flips, flips != 0, flips != 0, clusters=cluster_problems(told_twice))
    # problems without steps stand alone, so these broken ones are two
    assert operation_rows(told_twice, twice)[0].p_value == operation_rows(PROBLEMS, once)[0].p_value
    addition = operation_rows(told_twice, twice)[0]
    assert addition.n == 100
    members = [any(step.operation == "addition" for step in p.steps) for p in told_twice]
    steps, clusters = [len(p.steps) for p in told_twice], cluster_problems(told_twice)
    expected = contrast_accuracy(flips, members, steps, clusters)
    assert addition.contrast is not None
    assert expected is not None
    assert (addition.contrast.p_value, addition.contrast.method) == (expected.p_value, expected.method)
    assert addition.contrast.p_value != contrast_accuracy(flips, members, steps).p_value  # type: ignore[union-attr]


def test_a_kind_of_a_single_calculation_has_a_row() -> None:
    some = [problem(0, plus(1)), problem(1, plus(1)), problem(2, times(3)), problem(3, times(4))]
    flips = np.array([-1.0, -1.0, 0.0, 0.0])
    rows = operation_rows(some, ArmChange(flips, flips, flips != 0, flips != 0, clusters=cluster_problems(some)))
    assert (rows[0].n, rows[0].p_value) == (2, 1.0)


def test_without_steps_there_are_no_rows() -> None:
    bare = [problem(i) for i in range(4)]
    flips = np.array([-1.0, 0.0, 0.0, 0.0])
    one = ArmChange(flips, flips, flips != 0, flips != 0)
    assert (operation_rows(bare, one), steps_rows(bare, one)) == ((), ())
