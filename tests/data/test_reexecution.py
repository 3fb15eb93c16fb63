"""Steps executed again, against hand-computed solutions and against Python's own arithmetic on every story."""

from pathlib import Path

import pytest

from codi_int.data.answers import parse_steps
from codi_int.data.problems import read_jsonl
from codi_int.data.reexecution import (
    NumberRange,
    exchange_operation,
    find_links,
    number_range,
    put_result,
    replace_values,
)
from codi_int.data.steps import calculate_exactly
from codi_int.data.stories import load_stories
from codi_int.types import OPERATIONS, Problem, Step

GSM8K = Path(__file__).parents[2].parent / "shared" / "gsm8k"
# Natalia sold 48 clips, half as many later: GSM8K's first problem
CLIPS = parse_steps("48/2=<<48/2=24>>24 and 48+24=<<48+24=72>>72")
# 16 eggs, 3 and 4 eaten, the rest sold for 2 each
EGGS = parse_steps("<<16-3=13>> <<13-4=9>> <<9*2=18>>")
WAGES = parse_steps("<<12*4=48>> <<48+50=98>>")


def test_links_are_the_latest_earlier_result() -> None:
    assert [(x.left, x.right) for x in find_links(CLIPS)] == [(None, None), (None, 0)]
    assert [(x.left, x.right) for x in find_links(EGGS)] == [(None, None), (0, None), (1, None)]
    twice = parse_steps("<<2*3=6>> <<4+2=6>> <<6+6=12>>")
    assert (find_links(twice)[2].left, find_links(twice)[2].right, find_links(twice)[2].n_ambiguous) == (1, 1, 2)


@pytest.mark.parametrize(
    ("steps", "pair", "answer"),
    [
        (CLIPS, ("division", "multiplication"), 144),  # 48*2 = 96, 48+96
        (CLIPS, ("addition", "subtraction"), 24),  # 48-24
        (EGGS, ("addition", "subtraction"), 46),  # 16+3 = 19, 19+4 = 23, 23*2
        (EGGS, ("multiplication", "division"), 4.5),  # 9/2
        (WAGES, ("multiplication", "addition"), 800),  # both exchange: 12+4 = 16, 16*50
    ],
)
def test_operations_that_trade_places(steps: tuple[Step, ...], pair: tuple, answer: float) -> None:
    assert exchange_operation(steps, *pair).answer == answer
    assert exchange_operation(steps, *reversed(pair)).answer == answer


@pytest.mark.parametrize(
    ("steps", "values", "answer"),
    [
        (WAGES, {12: 50}, 250),  # 50*4 = 200, 200+50
        (WAGES, {12: 50, 50: 12}, 212),  # 50*4 = 200, 200+12
        (WAGES, {48: 10}, 60),  # the result of a step, and what follows
        (WAGES, {98: 5}, 5),  # the last result is the answer
        (EGGS, {13: 99}, 190),  # 99-4 = 95, 95*2
    ],
)
def test_values_that_stand_in_for_others(steps: tuple[Step, ...], values: dict, answer: float) -> None:
    assert replace_values(steps, values).answer == answer


def test_a_link_follows_its_step_and_not_the_value() -> None:
    # the second 13 is the first step's result: with another operand there it becomes 15, and stays no 13
    again = replace_values(EGGS, {16: 18})
    assert again.steps == (
        Step(18, "subtraction", 3, 15),
        Step(15, "subtraction", 4, 11),
        Step(11, "multiplication", 2, 22),
    )


@pytest.mark.parametrize(("index", "result", "answer"), [(0, 20, 32), (1, 30, 60), (2, 7, 7), (0, 13, 18)])
def test_a_step_with_another_result(index: int, result: int, answer: int) -> None:
    assert put_result(EGGS, index, result).answer == answer


def test_what_cannot_be_executed_says_why() -> None:
    stories = NumberRange(True, 0, 99)
    assert exchange_operation(parse_steps("<<3*0=0>>"), "multiplication", "division").why_not == "division by zero"
    assert exchange_operation(EGGS, "multiplication", "division", stories).why_not == "not a whole number"
    assert exchange_operation(WAGES, "multiplication", "addition", stories).why_not == "outside the data's numbers"
    assert exchange_operation(CLIPS, "multiplication", "subtraction").why_not == "not in the steps"
    assert replace_values(CLIPS, {1000: 1}).why_not == "not in the steps"
    assert replace_values((), {12: 50}).why_not == "no steps"
    assert put_result(CLIPS, 2, 5).why_not == "not in the steps"
    assert put_result((), 0, 5).why_not == "no steps"


def test_a_rounded_result_stays_as_written_where_nothing_reaches_it() -> None:
    steps = parse_steps("<<10/3=3.33>> <<3.33*6=20>> <<20+5=25>>")
    assert replace_values(steps, {5: 7}).answer == 27
    assert exchange_operation(steps, "addition", "subtraction").answer == 15
    # what it does reach is computed exactly: 11/3*6 = 22, plus 5
    assert replace_values(steps, {10: 11}).answer == 27


def test_arithmetic_is_exact() -> None:
    assert calculate_exactly(0.1, "addition", 0.2) == 0.3
    assert calculate_exactly(1, "division", 4) == 0.25
    assert isinstance(calculate_exactly(0.5, "multiplication", 4), int)
    assert calculate_exactly(1, "division", 0) is None


def test_the_range_is_that_of_all_numbers() -> None:
    problems = [Problem("a", "?", 72, CLIPS), Problem("b", "?", 18, EGGS)]
    assert number_range(problems) == NumberRange(True, 2, 72)
    assert number_range([Problem("c", "?", 0.5, ())]) == NumberRange(False, 0.5, 0.5)


def plain_python(steps: tuple[Step, ...], index: int, result: int) -> float:
    """A story's answer by variables: every operand that was produced is looked up by the value it had."""
    signs = dict(zip(OPERATIONS, "+-*/", strict=True))
    names: dict[float, str] = {}
    scope: dict[str, float] = {}
    for i, step in enumerate(steps):
        left, right = (names.get(n, str(n)) for n in (step.left, step.right))
        exec(f"v{i} = {result if i == index else f'{left} {signs[step.operation]} {right}'}", {}, scope)
        names[step.result] = f"v{i}"
    return scope[f"v{len(steps) - 1}"]


def test_every_story_gives_what_python_gives() -> None:
    checked = 0
    for problem in load_stories("validation", limit=300):
        for index in range(len(problem.steps)):
            again = put_result(problem.steps, index, 17)
            try:
                expected = plain_python(problem.steps, index, 17)
            except ZeroDivisionError:
                assert again.why_not == "division by zero"
                continue
            assert again.answer == pytest.approx(expected, abs=1e-9)
            checked += 1
    assert checked > 600


def test_nothing_changed_is_the_written_answer() -> None:
    for problem in load_stories("validation", limit=300):
        for index, step in enumerate(problem.steps):
            assert put_result(problem.steps, index, step.result).steps == problem.steps


@pytest.mark.skipif(not GSM8K.is_dir(), reason="GSM8K is not there")
def test_gsm8k_gives_an_answer_or_a_reason() -> None:
    problems = read_jsonl(GSM8K / "test.jsonl")
    numbers = number_range(problems)
    exchanged = [exchange_operation(p.steps, "addition", "multiplication", numbers) for p in problems]
    assert all((again.answer is None) == (again.why_not is not None) for again in exchanged)
    assert sum(again.answer is not None for again in exchanged) > 800
    assert all(numbers.low <= again.answer <= numbers.high for again in exchanged if again.answer is not None)
    for problem in problems:
        if problem.steps:
            assert put_result(problem.steps, 0, problem.steps[0].result).steps == problem.steps
