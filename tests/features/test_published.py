"""The published rules against the published per-feature scores, and by hand where those are silent."""

import json
from pathlib import Path

import pytest

from codi_int.data.steps import parse_steps
from codi_int.errors import ConfigError
from codi_int.features.published import (
    PublishedSpecialization,
    published_counts,
    published_patterns,
    published_specialization,
    published_swap_pairs,
    step_text,
)
from codi_int.types import Problem

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
# file to (specialized, features)
PUBLISHED = {
    "features_L14P3_k100_rank400-512.json": (5, 109),
    "features_L14P3_k75_rank300-455.json": (30, 156),
    "features_L3P3_k100_rank20-100.json": (0, 81),
}
NONE = {"addition": 0.0, "subtraction": 0.0, "multiplication": 0.0, "division": 0.0}


def scores(name):
    path = REFERENCE / name
    if not path.exists():
        pytest.skip("the published per-feature scores are not here")
    return json.loads(path.read_text())["features"]


def judge(row, ties="dropped"):
    return published_specialization(
        operation_percent=row["operation_percent"],
        value_count=row["value_count"],
        n_active=row["n_active"],
        ties=ties,
    )


def make_problem(marks, question="?"):
    return Problem(id=marks, question=question, answer=0, steps=parse_steps(marks))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tables_come_out_feature_by_feature(name):
    rows = scores(name)
    found = [judge(row) for row in rows]
    assert [(f.type, f.label) for f in found] == [(r["published_type"], r["published_label"]) for r in rows]
    assert (sum(f.type != "general" for f in found), len(found)) == PUBLISHED[name]


def test_ties_that_count_only_take_away():
    for name in PUBLISHED:
        for row in scores(name):
            counted = judge(row, ties="counted")
            assert counted.type == "general" or judge(row).type != "general"


def test_a_feature_on_addition_and_multiplication_alike():
    both = NONE | {"addition": 100.0, "multiplication": 100.0}
    published = published_specialization(both, {"12": 0}, 1)
    assert (published.type, published.label) == ("operation-specialized", "addition")
    assert published_specialization(both, {"12": 0}, 1, ties="counted").type == "general"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(70.0, 0.0, "general"), (70.1, 29.9, "operation-specialized"), (100.0, 30.0, "general")],
)
def test_bounds_of_an_operation_are_open(first, second, expected):
    percent = NONE | {"division": first, "subtraction": second}
    assert published_specialization(percent, {"12": 0, "20": 0}, 10).type == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(50, 0, "general"), (51, 19, "value-specialized"), (100, 20, "general")],
)
def test_bounds_of_a_value_are_open(first, second, expected):
    found = published_specialization(NONE, {"12": second, "20": first}, 100)
    assert found.type == expected
    if expected != "general":
        assert (found.label, found.value, found.operation) == ("number 20", 20, None)


def test_both_make_it_highly_specialized():
    found = published_specialization(NONE | {"addition": 100.0}, {"12": 0, "100": 2}, 2)
    assert found == PublishedSpecialization(
        type="highly-specialized",
        label="addition + number 100",
        operation="addition",
        value=100,
        n_active=2,
    )


def test_a_feature_that_never_fires_is_general():
    assert published_specialization(NONE, {"12": 0}, 0).type == "general"


def test_a_number_in_the_place_of_counts_is_refused():
    with pytest.raises(ConfigError, match=r"value_count maps names to numbers, got 12\.\nGive"):
        published_specialization(NONE, 12, 1)
    with pytest.raises(ConfigError, match=r"operation_percent maps names to numbers, got 80\.0\.\n"):
        published_specialization(80.0, {}, 1)


def test_counts_find_numbers_inside_numbers():
    problems = [make_problem("<<5*120=600>><<600-1=599>>"), make_problem("<<3*4=12>>")]
    operations, values = published_counts(problems)
    assert operations == {"addition": 0.0, "subtraction": 50.0, "multiplication": 100.0, "division": 0.0}
    assert values == {"12": 2, "20": 1, "30": 0, "50": 0, "100": 0}
    assert published_counts([])[0] == NONE


def test_patterns_need_three_samples():
    twice = [make_problem("<<50*2=100>>", "How many in total?")] * 2
    assert published_patterns(twice) == ()
    assert published_patterns([*twice, make_problem("<<1000/2=500>>", "How many?")]) == ("round numbers", "how many")
    assert published_patterns([make_problem("<<7*2=14>>")] * 3) == ("multiplication",)


def test_swap_pairs_are_all_pairs_of_operations():
    percent = {"162": "addition", "165": "subtraction", "452": "multiplication", "7": "addition"}
    found = {int(f): published_specialization(NONE | {name: 100.0}, {"12": 0}, 1) for f, name in percent.items()}
    assert published_swap_pairs(found) == ((162, 165), (162, 452), (165, 452))


def test_steps_as_the_reports_print_them():
    assert step_text(parse_steps("<<20*3=60>><<60+5=65>>")) == "20*3=60 | 60+5=65"
