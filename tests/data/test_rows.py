"""Rows of the data sets as they are distributed, from files of three kinds and through a hub that is played."""

import json
import sys
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codi_int.data.problems import load_problems
from codi_int.data.rows import problem_from_row
from codi_int.errors import DataError
from codi_int.types import Problem, Step

SVAMP = {
    "ID": "chal-1",
    "Body": "Each pack of dvds costs 76 dollars. If there is a discount of 25 dollars on each pack",
    "Question": "How much do you have to pay to buy each pack?",
    "Equation": "( 76.0 - 25.0 )",
    "Answer": "51",
    "Type": "Subtraction",
    "question_concat": "not read",
}
ROWS = {
    "svamp": (
        SVAMP,
        Problem("chal-1", f"{SVAMP['Body']} {SVAMP['Question']}", 51, (Step(76, "subtraction", 25, 51),)),
    ),
    "gsm-hard": (
        {"input": "How many eggs? ", "code": "def solution(): ...", "target": -9867630.0},
        Problem("r", "How many eggs?", -9867630, ()),
    ),
    "multiarith": ({"question": " How many now?", "final_ans": "64"}, Problem("r", "How many now?", 64, ())),
    "multiarith-original": (
        {"iIndex": 1, "sQuestion": "How much?", "lEquations": ["X=(8.0*5.0)"], "lSolutions": [40.0]},
        Problem("r", "How much?", 40, (Step(8, "multiplication", 5, 40),)),
    ),
    "gsm8k-aug": (
        {"question": "Out of 600?", "cot": "<<600*30/100=180>> <<600-180=420>>", "answer": "420"},
        Problem("r", "Out of 600?", 420, (Step(600, "multiplication", 0.3, 180), Step(600, "subtraction", 180, 420))),
    ),
    "gsm8k": (
        {"question": "How many?", "answer": "48/2 = <<48/2=24>>24\n#### 1,024"},
        Problem("r", "How many?", 1024, (Step(48, "division", 2, 24),)),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_usual_fields_of_each_data_set(name):
    row, problem = ROWS[name]
    assert problem_from_row(row, "r", "here") == problem


def test_svamps_nested_equations_give_no_step():
    row = {**SVAMP, "Equation": "( ( 8.0 + 2.0 ) * 3.0 )", "Answer": 30.0}
    assert problem_from_row(row, "r", "here").steps == ()


@pytest.mark.parametrize("bad", ["inf", "nan", "", "many", None, True, [1, 2], float("nan")])
def test_an_answer_that_is_no_number_is_refused(bad):
    with pytest.raises(DataError, match="'final_ans' gives no number"):
        problem_from_row({"question": "How many?", "final_ans": bad}, "r", "here")


def test_a_strange_row_is_told_which_fields_are_known():
    with pytest.raises(DataError, match=r"'question' is missing[\s\S]*Fields there: text[\s\S]*SVAMP \(Body") as error:
        problem_from_row({"text": "a"}, "r", "here")
    assert str(error.value).count("\n") == 1


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
def test_lines_arrays_and_tables_give_the_same_problems(tmp_path, ending):
    rows = [{"input": f"How many {i}?", "target": i + 0.5} for i in range(5)]
    path = tmp_path / f"hard.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(json.dumps(rows) if ending == "json" else "\n".join(map(json.dumps, rows)))
    problems = load_problems(path)
    assert [(p.id, p.question, p.answer) for p in problems] == [
        (f"hard-{i + 1}", f"How many {i}?", i + 0.5) for i in range(5)
    ]
    assert load_problems(str(path), limit=2) == problems[:2]


@pytest.mark.parametrize(("ending", "says"), [("parquet", "no parquet file"), ("json", "no JSON")])
def test_a_broken_array_or_table_is_said(tmp_path, ending, says):
    path = tmp_path / f"bad.{ending}"
    path.write_text("[nope")
    with pytest.raises(DataError, match=says):
        load_problems(path)


class Rows(list):
    """What `datasets` gives, as far as it is used."""

    def select(self, indices):
        return Rows(self[i] for i in indices)


@pytest.fixture
def hub(monkeypatch):
    """A played `datasets` that notes what it was asked for."""
    asked = []

    def load_dataset(repository, configuration, split):
        asked.append((repository, configuration, split))
        return Rows([{**SVAMP, "ID": f"chal-{i}"} for i in range(3)])

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    return asked


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("svamp", ("ChilleD/SVAMP", None, "train+test")),
        ("svamp:test", ("ChilleD/SVAMP", None, "test")),
        ("gsm-hard", ("reasoning-machines/gsm-hard", None, "train")),
        ("multiarith", ("ChilleD/MultiArith", None, "test")),
        ("gsm8k-aug:test", ("zen-E/GSM8k-Aug", None, "test")),
        ("gsm8k:train", ("openai/gsm8k", "main", "train")),
    ],
)
def test_a_name_asks_the_hub_for_the_right_repository_and_split(hub, name, asked):
    assert len(load_problems(name, limit=2)) == 2
    assert hub == [asked]


def test_a_split_that_does_not_exist_is_refused_before_the_hub_is_asked(hub):
    with pytest.raises(DataError, match=r"gsm-hard has no split 'validation'[\s\S]*Splits: test"):
        load_problems("gsm-hard:validation")
    assert hub == []


def test_without_a_network_it_is_said_what_to_download(monkeypatch):
    def load_dataset(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(DataError, match=r"ConnectionError[\s\S]*huggingface.co/datasets/ChilleD/SVAMP") as error:
        load_problems("svamp")
    assert str(error.value).count("\n") == 1
