"""Answer extraction and step parsing, against cases written by hand and against GSM8K where it is at hand."""

import json
from pathlib import Path

import pytest

from codi_int.data.answers import extract_answer, is_right, parse_steps, write_step
from codi_int.errors import ConfigError
from codi_int.types import Step

GSM8K = Path(__file__).parents[2].parent / "shared" / "gsm8k"


@pytest.mark.parametrize(
    ("text", "after_phrase", "last"),
    [
        ("The answer is: 18", 18, 18),
        ("The answer is : 18", 18, 18),
        ("The answer is: 18The answer is: 20", 18, 20),
        ("The answer is: $1,200.", 1200, 1200),
        ("The answer is: -3", -3, -3),
        ("The answer is: 0.5 litres", 0.5, 0.5),
        ("The answer is: many", None, None),
        ("I count 5 and 7", None, 7),
        ("so the answer is 12 of 30", 12, 30),
        ("", None, None),
        ("The answer is: -$5", -5, 5),
        ("The answer is: $-5", -5, -5),
        ("The answer is: \u22125", -5, 5),
        ("The answer is: 3/4", 0.75, 4),
        ("The answer is: -1 1/2 hours", -1.5, 2),
        ("The answer is: 1,234,567.5", 1234567.5, 1234567.5),
        ("The answer is: 1,23", None, 123),
        ("The answer is: 1.2.3", None, 3),
        ("The answer is: 3/4/5", None, 5),
        ("The answer is: 1e5", None, 5),
        ("The answer is: 5/0", None, 0),
        ("The answer is: 18.", 18, 18),
        ("It is .5", None, 5),
        ("The answer is: 12345678901234567891", 12345678901234567891, 12345678901234567891),
        ("The answer is: " + "9" * 330, None, None),
    ],
)
def test_both_rules(text, after_phrase, last):
    assert extract_answer(text) == after_phrase
    assert extract_answer(text, rule="last") == last


def test_whole_numbers_are_integers():
    assert isinstance(extract_answer("The answer is: 4.0"), int)


def test_unknown_rule_is_refused():
    with pytest.raises(ConfigError, match="after-phrase, last"):
        extract_answer("1", rule="first")


@pytest.mark.parametrize(
    ("given", "true", "right"),
    [
        (12, 12, True),
        (12.0, 12, True),
        (12, 12.0, True),
        (None, 0, False),
        (1_234_568, 1_234_567, False),
        (2_000_000_000.5, 2_000_000_000, False),
        (0.000_001, 0, False),
        (10**400, 12, False),
        (0.333333, 1 / 3, True),
        (0.33333, 1 / 3, False),
        (-2.5000024, -2.5, True),
        (-2.500003, -2.5, False),
        (2.5, -2.5, False),
        (float("nan"), 2.5, False),
    ],
)
def test_only_a_true_answer_that_is_no_whole_number_may_be_missed(given, true, right):
    assert is_right(given, true) is right


def test_steps_of_a_written_solution():
    text = "20*3=<<20*3=60>>60 and $<<1,200/60=20>>20; <<60 - .5 = 59.5>>59.5; <<1+2+3=6>>6; <<oops>>"
    assert parse_steps(text) == (
        Step(20, "multiplication", 3, 60),
        Step(1200, "division", 60, 20),
        Step(60, "subtraction", 0.5, 59.5),
    )


def test_writing_a_step_is_read_back():
    step = Step(48, "division", 2, 24)
    assert write_step(step) == "<<48/2=24>>"
    assert parse_steps(write_step(step)) == (step,)


@pytest.mark.skipif(not GSM8K.exists(), reason="GSM8K is not shipped")
def test_gsm8ks_simple_steps_are_right():
    rows = [json.loads(line) for line in (GSM8K / "test.jsonl").read_text().splitlines()]
    steps = [s for row in rows for s in parse_steps(row["answer"])]
    assert len(steps) > 3500
    value = {
        "addition": lambda a, b: a + b,
        "subtraction": lambda a, b: a - b,
        "multiplication": lambda a, b: a * b,
        "division": lambda a, b: a / b if b else None,
    }
    right = [s for s in steps if abs((value[s.operation](s.left, s.right) or 0) - s.result) <= 0.011 * abs(s.result)]
    assert len(right) / len(steps) > 0.98
