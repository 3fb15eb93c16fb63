"""Calculation marks: each form by hand, their arithmetic against Python's own, and all of GSM8K."""

import json
import re
from pathlib import Path

import pytest

from codi_int.data.steps import parse_steps, read_marks, report_steps
from codi_int.types import Step

GSM8K = Path(__file__).parents[2].parent / "shared" / "gsm8k"


@pytest.mark.parametrize(
    ("mark", "step"),
    [
        ("20*3=60", Step(20, "multiplication", 3, 60)),
        ("1,200/60=20", Step(1200, "division", 60, 20)),
        ("1,234,567+1=1,234,568", Step(1234567, "addition", 1, 1234568)),
        ("60 - .5 = 59.5", Step(60, "subtraction", 0.5, 59.5)),
        ("$5*2=$10", Step(5, "multiplication", 2, 10)),
        ("(5)+(6)=11", Step(5, "addition", 6, 11)),
        ("5 x 4=20", Step(5, "multiplication", 4, 20)),
        ("8÷2=4", Step(8, "division", 2, 4)),
        ("1/2*60=30", Step(0.5, "multiplication", 60, 30)),
        ("60*3/4=45", Step(60, "multiplication", 0.75, 45)),
        ("6*(10/4)=15", Step(6, "multiplication", 2.5, 15)),
        ("1/2+1/4=3/4", Step(0.5, "addition", 0.25, 0.75)),
        ("25%*200=50", Step(0.25, "multiplication", 200, 50)),
        ("100%-20%=80%", Step(1, "subtraction", 0.2, 0.8)),
        ("100-20=80%", Step(100, "subtraction", 20, 80)),
        ("-5+8=3", Step(-5, "addition", 8, 3)),
        ("5--3=8", Step(5, "subtraction", -3, 8)),
        ("00+05=5", Step(0, "addition", 5, 5)),
    ],
)
def test_a_mark_of_two_operands_is_a_step(mark, step):
    (found,) = read_marks(f"so <<{mark}>> it is")
    assert (found.text, found.kind, found.agreement) == (mark, "step", "exact")
    assert found.step == step


@pytest.mark.parametrize("mark", ["1+2+3=6", "6/3*2=4", "1 1/2*4=6", "(2+3)*4=20", "100-100*20%=80"])
def test_several_operations_are_an_expression_with_a_value(mark):
    (found,) = read_marks(f"<<{mark}>>")
    assert (found.kind, found.step, found.agreement) == ("expression", None, "exact")


@pytest.mark.parametrize(
    "mark",
    ["oops", "", "5x=10", "1=2=3", "((1=1", "2/0=1", "1,2,3+1=2", "9**9=1", "7//2=3", "50%", "__import__('os')=1"],
)
def test_what_has_no_value_is_kept_as_malformed(mark):
    (found,) = read_marks(f"<<{mark}>>")
    assert (found.text, found.kind, found.step, found.agreement) == (mark, "malformed", None, None)


def test_a_bracket_that_is_never_closed_is_kept_too():
    assert [(m.text, m.kind) for m in read_marks("<<1+1=2>> and <<3+4=7 more")] == [
        ("1+1=2", "step"),
        ("<<3+4=7 more", "malformed"),
    ]
    assert [m.kind for m in read_marks("3+4=7>> more")] == ["malformed"]


@pytest.mark.parametrize(
    ("mark", "agreement"),
    [
        ("10/3=3.33", "rounded"),
        ("10/3=3.34", "wrong"),
        ("10/3=3", "rounded"),
        ("10/3=4", "wrong"),
        ("1/3=33.3%", "rounded"),
        ("1/3=34.3%", "wrong"),
        ("2+2=5", "wrong"),
        ("0.1+0.2=0.3", "exact"),
        ("1/3+1/3=2/3", "exact"),
    ],
)
def test_results_are_right_after_rounding_to_their_last_digit_or_wrong(mark, agreement):
    assert read_marks(f"<<{mark}>>")[0].agreement == agreement


def test_the_report_counts_all_and_keeps_what_is_bad():
    report = report_steps(["<<1+1=2>><<2+3+4=9>>", "<<2+2=5>>", "none", "<<10/3=3.3>>", "<<a>><<1+1=2>>", "<<3*3=9>>"])
    assert (report.n_problems, report.n_without_marks, report.n_marks) == (6, 1, 7)
    assert (report.n_steps, report.n_expressions, report.malformed) == (5, 1, ("a",))
    assert (report.n_exact, report.n_rounded, report.wrong) == (4, 1, ("2+2=5",))
    assert (report.n_problems_parsed, report.n_problems_consistent) == (4, 3)
    assert (report.n_problems_exact, report.n_problems_simple) == (2, 2)


@pytest.mark.parametrize(("mark", "kind"), [("1/2/4=0.125", "expression"), ("60/2/4=7.5", "expression")])
def test_two_divisions_are_no_step(mark, kind):
    (found,) = read_marks(f"<<{mark}>>")
    assert (found.kind, found.step, found.agreement) == (kind, None, "exact")


def test_a_wrong_result_is_no_step_and_a_rounded_one_is():
    assert parse_steps("<<2+2=5>> <<10/3=3.34>>") == ()
    assert parse_steps("<<10/3=3.33>>") == (Step(10, "division", 3, 3.33),)


@pytest.mark.parametrize("piece", ["<<", "a", ">>", "<<1", "1 ", "<<1+1=2", "<<" + "1 " * 30_000])
def test_sixty_thousand_characters_hide_no_step_behind_them(piece):
    """In linear time: a pattern that backtracks takes minutes here."""
    text = (piece * (60_000 // len(piece) + 1))[:60_000]
    for long in (text, f"<<{text}>>"):
        assert parse_steps(f"{long} >> <<1+1=2>>")[-1:] == (Step(1, "addition", 1, 2),)


@pytest.mark.skipif(not GSM8K.exists(), reason="GSM8K is not shipped")
@pytest.mark.parametrize(
    ("split", "problems", "unmarked", "parsed", "simple", "marks"),
    [("train", 7473, 95, 7376, 5229, 23716), ("test", 1319, 18, 1301, 918, 4282)],
)
def test_the_counts_on_gsm8k(split, problems, unmarked, parsed, simple, marks):
    texts = [json.loads(line)["answer"] for line in (GSM8K / f"{split}.jsonl").read_text().splitlines()]
    report = report_steps(texts)
    assert (report.n_problems, report.n_without_marks, report.n_marks) == (problems, unmarked, marks)
    assert (report.n_problems_parsed, report.n_problems_consistent, report.n_problems_exact) == (parsed,) * 3
    assert report.n_problems_simple == simple
    assert report.malformed == (("560//10=56", "180//3=60") if split == "train" else ())
    assert report.wrong == ()


@pytest.mark.skipif(not GSM8K.exists(), reason="GSM8K is not shipped")
def test_gsm8ks_marks_have_the_value_that_python_gives_them():
    texts = [json.loads(line)["answer"] for line in (GSM8K / "test.jsonl").read_text().splitlines()]
    marks = [mark for text in texts for mark in read_marks(text)]
    for mark in marks:
        left, _, right = re.sub(r"(?<![\d.])0+(?=\d)", "", mark.text.replace(",", "")).rpartition("=")
        right_there = abs(eval(left) - eval(right)) < 1e-9  # the marks hold digits and signs only
        assert (mark.agreement == "exact") == right_there, mark.text
        if mark.step is not None:
            signs = {"addition": "+", "subtraction": "-", "multiplication": "*", "division": "/"}
            written = f"{mark.step.left}{signs[mark.step.operation]}{mark.step.right}"
            assert eval(written) == pytest.approx(eval(left))


@pytest.mark.parametrize(
    ("mark", "agreement"), [("1/8=0.13", "rounded"), ("1/8=0.12", "rounded"), ("1/8=0.14", "wrong")]
)
def test_half_a_unit_of_the_last_digit_is_rounded_either_way(mark, agreement):
    (found,) = read_marks(f"<<{mark}>>")
    assert found.agreement == agreement


@pytest.mark.parametrize(
    ("mark", "kind"), [("3/3+1=2", "expression"), ("2/3+1=5/3", "step"), ("4/3+1=7/3", "expression")]
)
def test_only_a_proper_fraction_is_an_operand(mark, kind):
    (found,) = read_marks(f"<<{mark}>>")
    assert found.kind == kind
