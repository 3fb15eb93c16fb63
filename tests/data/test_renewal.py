"""Problems with other numbers: the text, the steps and the answer change together, or not at all."""

import re

import pytest

from codi_int.data.renewal import renew, renewable
from codi_int.data.steps import calculate_exactly, parse_steps
from codi_int.types import Problem


def problem(question: str, steps: str, answer: float, name: str = "p1") -> Problem:
    return Problem(name, question, answer, parse_steps(steps))


BOXES = problem(
    "Mia has 12 boxes of 30 pens. She gives away 45 pens in 7 days. How many are left?",
    "<<12*30=360>><<360-45=315>>",
    315,
)


def numbers(text: str) -> list[int]:
    return [int(found) for found in re.findall(r"\d+", text)]


def test_text_steps_and_answer_change_together() -> None:
    seen = set()
    for seed in range(30):
        found = renew(BOXES, str(seed))
        assert found is not None
        boxes, pens, given, days = numbers(found.question)
        assert found.answer == boxes * pens - given
        assert days == 7  # used in no step
        assert all(calculate_exactly(s.left, s.operation, s.right) == s.result for s in found.steps)
        assert (len(str(boxes)), len(str(pens)), len(str(given))) == (2, 2, 2)
        assert re.sub(r"\d+", "#", found.question) == re.sub(r"\d+", "#", BOXES.question)
        seen.add(found.answer)
    assert len(seen) > 25
    assert renew(BOXES, "3") == renew(BOXES, "3")


@pytest.mark.parametrize(
    ("question", "steps", "answer", "expected"),
    [
        ("5 and 5 make how many?", "<<5+5=10>>", 10, ()),  # twice in the text: which is which?
        ("Of 10 pens half, then 5 more.", "<<10/2=5>><<5+5=10>>", 10, ()),  # also results
        ("1 cow and 12 hens", "<<1+12=13>>", 13, (12,)),  # "1 cow" would become "4 cow"
        ("3.5 kg at 20 dollars, 1,200 in all, 4/5 of it, 2nd", "<<3.5*20=70>>", 70, (20,)),
        ("12 boxes of 30", "<<12*30=360>>", 100, ()),  # its steps do not give its answer
        ("12 boxes of 30", "", 360, ()),
        ("A letter of 7 pages to 2 friends twice a week", "<<7*2=14>><<14*2=28>>", 28, ()),  # 7: days of the week?
        ("9 pages to 2 friends twice a year", "<<9*2=18>><<18*2=36>>", 36, (9,)),  # which 2 is whose?
        ("15 pens at 8 for 3", "<<24/8=3>><<15+24=39>>", 39, ()),  # 24 was worked out without a mark
    ],
)
def test_what_may_be_renewed(question: str, steps: str, answer: int, expected: tuple[int, ...]) -> None:
    given = problem(question, steps, answer)
    assert renewable(given) == expected
    if not expected:
        assert renew(given, "0") is None


def test_a_draw_that_leaves_fractions_is_drawn_again() -> None:
    shared = problem("48 pens for 6 children. How many each?", "<<48/6=8>>", 8)
    for seed in range(20):
        found = renew(shared, str(seed))
        if found is not None:
            pens, children = numbers(found.question)
            assert found.answer * children == pens
            assert found.answer >= 1
