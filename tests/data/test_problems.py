"""Reading problems: both file formats, names, and errors that name the line."""

import copy
import json
import pickle
from pathlib import Path

import pytest

from codi_int.data.problems import (
    Problems,
    as_problems,
    load_problems,
    name_of_problems,
    problems_sha256,
    read_jsonl,
    write_jsonl,
)
from codi_int.errors import DataError

GSM8K = Path(__file__).parents[2].parent / "shared" / "gsm8k"


def write(tmp_path, *lines):
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_gsm8k_format(tmp_path):
    row = {"question": "How many?", "answer": "48/2 = <<48/2=24>>24\n<<48+24=72>>\n#### 1,072"}
    (problem,) = load_problems(write(tmp_path, json.dumps(row), ""))
    assert problem.answer == 1072
    assert [s.result for s in problem.steps] == [24, 72]
    assert problem.id == "data-1"


def test_own_format_is_read_back(tmp_path):
    problems = load_problems("stories:validation", limit=5)
    write_jsonl(problems, tmp_path / "own.jsonl")
    assert load_problems(tmp_path / "own.jsonl") == problems
    assert load_problems(str(tmp_path / "own.jsonl"), limit=2) == problems[:2]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "holds no problems"),
        (('{"question": "a?", "answer": 1}', "{nope"), "line 2: no JSON"),
        (('{"question": "a?"}',), "line 1: the field 'answer' is missing"),
        (('{"answer": 1}',), "line 1: the field 'question' is missing"),
        (('{"question": "a?", "answer": "#### many"}',), "line 1: 'answer' gives no number"),
        (("[1]",), "line 1: an object is wanted"),
        (('{"question": "", "answer": 1}',), "line 1: 'question' must be a text"),
        (('{"question": "a?", "answer": 1, "steps": 3}',), "line 1: 'steps' must be"),
        (
            ('{"question": "a?", "answer": 1, "steps": [[1, "power", 2, 1]]}',),
            "line 1: .*'power', which does not exist",
        ),
        (('{"question": "a?", "answer": 1, "steps": [[1, "addition", null, 1]]}',), "line 1: .*no number"),
        (('{"question": "a?", "answer": 1' + "0" * 400 + "}",), "line 1: a number of 401 digits"),
        (('{"question": "a <bot> b?", "answer": 1}',), "line 1: the question holds '<bot>'"),
        (('{"question": "a?", "answer": 1, "id": [1]}',), "line 1: 'id' must be"),
        (('{"id": "x", "question": "a?", "answer": 1}',) * 2, "'x' stands twice"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path, lines, message):
    with pytest.raises(DataError, match=message) as error:
        read_jsonl(write(tmp_path, *lines))
    assert str(error.value).count("\n") <= 1


def test_a_null_id_is_none_at_all(tmp_path):
    row = '{"id": null, "question": "a?", "answer": 1}'
    assert [p.id for p in read_jsonl(write(tmp_path, row, row))] == ["data-1", "data-2"]


def test_a_table_of_commas_is_read_like_lines_of_json(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(
        'id,question,answer\n,"Tom has 3, and buys 4 more.\nHow many?",7\n'
        "mine,What is 6 times 7?,6*7=<<6*7=42>>42 #### 42\n"
    )
    first, second = load_problems(path)
    assert (first.id, first.question, first.answer) == ("own-2", "Tom has 3, and buys 4 more.\nHow many?", 7)
    assert (second.id, second.answer, second.steps[0].result) == ("mine", 42, 42)
    assert load_problems(path, limit=1) == (first,)
    path.write_text("question,answer\nhow?,many\n")
    with pytest.raises(DataError, match=r"own\.csv, line 2: 'answer' gives no number"):
        load_problems(path)
    path.write_text("question,answer\n")
    with pytest.raises(DataError, match="holds no problems"):
        load_problems(path)


@pytest.mark.parametrize("name", ["stories:validation", "gsm8k:test", " stories:sae "])
def test_the_name_of_a_data_set_is_no_question(name):
    with pytest.raises(DataError, match="is the name of a data set, no question") as told:
        as_problems(name)
    assert told.value.remedy == f"Give load_problems({name!r})."
    assert as_problems("stories: how many are 3?")[0].question == "stories: how many are 3?"


def test_no_file_no_name_no_limit(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_problems(tmp_path / "nothing.jsonl")
    with pytest.raises(DataError, match="no data set 'novels:test'"):
        load_problems("novels:test")
    with pytest.raises(DataError, match="limit is 0"):
        load_problems("stories:validation", limit=0)


def test_the_hash_sees_order_and_content():
    problems = load_problems("stories:validation", limit=3)
    assert problems_sha256(problems) != problems_sha256(problems[::-1])
    assert problems_sha256(problems) == problems_sha256(load_problems("stories:validation", limit=3))


@pytest.mark.skipif(not GSM8K.exists(), reason="GSM8K is not shipped")
def test_the_original_gsm8k_is_read_whole():
    assert len(load_problems(GSM8K / "test.jsonl")) == 1319
    train = load_problems(GSM8K / "train.jsonl")
    assert len(train) == 7473
    assert train[0].answer == 72


def test_problems_know_their_name_and_hash(tmp_path):
    problems = load_problems("stories", limit=5)
    assert problems.name == "stories:validation"
    assert problems.sha256 == problems_sha256(tuple(problems))
    write_jsonl(problems, tmp_path / "own.jsonl")
    assert load_problems(tmp_path / "own.jsonl").name == str(tmp_path / "own.jsonl")


def test_a_slice_of_problems_says_its_range():
    problems = load_problems("stories:validation", limit=5)
    assert problems[1:3].name == problems[-4:-2].name == "stories:validation[1:3]"
    assert problems[::2].name == "stories:validation[0:5:2]"
    assert problems[:9] is problems
    assert problems[1:3] == tuple(problems)[1:3]
    assert tuple(problems)[1:3] == problems[1:3]
    assert problems[0] == next(iter(problems))


def test_problems_cannot_be_changed_and_are_copied_whole():
    problems = load_problems("stories:validation", limit=2)
    with pytest.raises(AttributeError, match="cannot be changed"):
        problems.name = "another"
    for twin in (copy.deepcopy(problems), pickle.loads(pickle.dumps(problems))):
        assert isinstance(twin, Problems)
        assert twin == problems
        assert twin.name == problems.name


def test_the_name_given_counts_and_a_list_has_none():
    problems = load_problems("stories:validation", limit=2)
    assert name_of_problems(problems) == "stories:validation"
    assert name_of_problems(problems, "mine") == "mine"
    assert name_of_problems(list(problems)) == "unnamed"
