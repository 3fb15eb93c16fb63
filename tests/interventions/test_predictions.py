"""Predictions from claims, on hand-computed problems in the style of GSM8K."""

import pytest

from codi_int.data.answers import parse_steps
from codi_int.errors import ConfigError
from codi_int.interventions.patching.predictions import (
    ExchangeOperations,
    ExchangeValues,
    parse_claim,
    parse_pull,
    predict_answers,
    predict_patch,
)
from codi_int.types import Problem


def problem(name: str, answer: float, marks: str) -> Problem:
    return Problem(name, "How many?", answer, parse_steps(marks))


EGGS = problem("eggs", 18, "<<16-3=13>> <<13-4=9>> <<9*2=18>>")
CLIPS = problem("clips", 72, "<<48/2=24>> <<48+24=72>>")
ROBE = problem("robe", 3, "<<2/2=1>> <<2+1=3>>")
SPRINTS = problem("sprints", 54, "<<3*3=9>> <<9*6=54>>")
OTHER_END = problem("percent", 150, "<<50+1=51>>")
NO_STEPS = problem("bare", 7, "")
ALL = (EGGS, CLIPS, ROBE, SPRINTS, OTHER_END, NO_STEPS)


def test_operations_that_trade_places() -> None:
    found = predict_answers(ExchangeOperations("addition", "subtraction"), ALL)
    # 16+3 = 19, 19+4 = 23, 23*2 = 46; 48-24 = 24; 2-1 = 1
    assert [row.answer for row in found.rows] == [46, 24, 1, None, None, None]
    assert [row.informative for row in found.rows] == [True, True, True, False, False, False]
    assert found.not_predicted == {"not in the steps": 1, "steps do not end in the answer": 1, "no steps": 1}
    assert found.n_informative == 3
    assert found.claim == "addition and subtraction trade places"


def test_an_answer_that_stays_is_predicted_but_not_informative() -> None:
    (row,) = predict_answers(ExchangeOperations("multiplication", "division"), (ROBE, SPRINTS, CLIPS)).rows[:1]
    assert (row.answer, row.informative) == (6, True)  # 2*2 = 4, 2+4 = 6
    with pytest.raises(ConfigError, match="answer stays the same 1 of 1"):
        predict_answers(ExchangeOperations("multiplication", "division"), (problem("one", 5, "<<5*1=5>>"),))


def test_values_trade_places_in_both_directions() -> None:
    twelve, fifty = problem("a", 60, "<<12*5=60>>"), problem("b", 51, "<<50+1=51>>")
    found = predict_answers(ExchangeValues(12, 50), (twelve, fifty, problem("c", 250, "<<25*10=250>>")))
    assert [row.answer for row in found.rows] == [250, 13, None]


def test_a_pull_turns_other_operations_into_one() -> None:
    found = predict_answers(parse_pull("multiplication"), ALL)
    # 2*2 = 4, 2*4 = 8; 48*2 = 96, 48*96 and 16*3*4 are more than any number here; the sprints multiply already
    assert [row.answer for row in found.rows] == [None, None, 8, None, None, None]
    assert found.not_predicted["outside the data's numbers"] == 2
    assert found.claim == "every other operation becomes multiplication"
    found = predict_answers(parse_pull("subtraction:addition"), ALL)
    # one way alone: 16+3 = 19, 19+4 = 23, 23*2 = 46, and the clips' addition stays
    assert [row.answer for row in found.rows] == [46, None, None, None, None, None]
    assert found.claim == "subtraction becomes addition"


def test_a_pull_turns_the_answer_or_another_value_into_one() -> None:
    found = predict_answers(parse_pull("value:54"), ALL)
    assert [row.answer for row in found.rows] == [54, 54, 54, 54, None, None]
    assert [row.informative for row in found.rows] == [True, True, True, False, False, False]
    assert found.claim == "the answer becomes 54"
    found = predict_answers(parse_pull("value:48:50"), ALL)
    # 50/2 = 25, 50+25 = 75
    assert [row.answer for row in found.rows] == [None, 75, None, None, None, None]
    assert found.claim == "48 becomes 50"
    for text, says in (("power", "is no prediction"), ("a:b:c", "is no prediction"), ("value:x", "no number")):
        with pytest.raises(ConfigError, match=says):
            parse_pull(text)


def test_results_stay_among_the_numbers_of_the_data() -> None:
    found = predict_answers(ExchangeOperations("multiplication", "addition"), (CLIPS, SPRINTS, EGGS))
    # 48*24 is more than any number here; 3+3 = 6, 6+6 = 12; 9+2 = 11
    assert [row.answer for row in found.rows] == [None, 12, 11]
    assert found.not_predicted == {"outside the data's numbers": 1}


def test_a_prediction_that_no_problem_supports_is_refused() -> None:
    with pytest.raises(ConfigError, match="No problem supports the prediction that 1000 and 2000 trade places") as no:
        predict_answers(ExchangeValues(1000, 2000), ALL)
    assert len(str(no.value).splitlines()) == 2


def test_a_patch_puts_the_sources_result_in_place() -> None:
    found = predict_patch((EGGS, CLIPS, SPRINTS), (1, 2, -1), step=1)
    # 24-4 = 20, 20*2 = 40; 48+9 = 57
    assert [row.answer for row in found.rows] == [40, 57, None]
    assert [row.source_id for row in found.rows] == ["clips", "sprints", None]
    assert [row.source_answer for row in found.rows] == [72, 54, None]
    assert found.not_predicted == {"no source": 1}
    third = predict_patch((EGGS, CLIPS), (1, 0), step=3)
    assert [row.why_not for row in third.rows] == ["not in the steps", "not in the steps"]


def test_ambiguous_links_are_counted() -> None:
    twice = problem("twice", 12, "<<2*3=6>> <<4+2=6>> <<6+6=12>>")
    assert [row.ambiguous for row in predict_patch((twice, SPRINTS), (1, 0), step=1).rows] == [True, False]


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("addition:subtraction", ExchangeOperations("addition", "subtraction")),
        ("value:12:50", ExchangeValues(12, 50)),
        ("value:0.5:1,000", ExchangeValues(0.5, 1000)),
    ],
)
def test_claims_in_words(text: str, claim: object) -> None:
    assert parse_claim(text) == claim


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("addition", "Write two of addition"),
        ("addition:minus", "Write two of addition"),
        ("addition:addition", "with itself"),
        ("value:12", "two values"),
        ("value:12:x", "no number"),
        ("value:12:inf", "no number"),
        ("value:12:12", "with itself"),
        ("value:1:2:3", "two values"),
        ("", "no prediction"),
    ],
)
def test_claims_that_are_none_teach(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        parse_claim(text)
    assert len(str(refused.value).splitlines()) == 2
