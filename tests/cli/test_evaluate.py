"""eval: what it prints."""

import json
from collections.abc import Callable

import pytest
from scipy.stats import binomtest

import codi_int as ci


def test_accuracy_is_that_of_the_models_answers(run: Callable, shelf) -> None:
    document = json.loads(run("eval", "--model", shelf.model, "--data", shelf.data, "--json").out)
    problems = ci.load_problems(shelf.data)
    right = [c.answer == p.answer for c, p in zip(ci.load_model(shelf.model).answer(problems), problems, strict=True)]
    assert document["overall"]["n_correct"] == sum(right)
    interval = binomtest(sum(right), len(right)).proportion_ci(method="wilson")
    assert (document["overall"]["low"], document["overall"]["high"]) == pytest.approx((interval.low, interval.high))
    assert sum(row["n"] for row in document["by_steps"]) == len(problems)
    for row in document["by_operation"]:
        assert row["n"] == sum(any(step.operation == row["group"] for step in p.steps) for p in problems)


def test_the_table_shows_steps_operations_and_replaced_thoughts(run: Callable, shelf) -> None:
    ran = run("eval", "--model", shelf.model, "--data", shelf.data, "--limit", "4", "--replace-thoughts")
    assert ran.code == 0, ran.err
    for text in ("through thoughts", "steps", "by operation", "all thoughts replaced", "thought 6 replaced", "%"):
        assert text in ran.out
