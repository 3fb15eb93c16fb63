"""think: what it prints."""

import json
from collections.abc import Callable

import pytest
import torch

import codi_int as ci


def test_it_prints_the_models_own_thoughts_and_answers(run: Callable, shelf) -> None:
    ran = run("think", "--model", shelf.model, "--data", shelf.data, "--limit", "2", "--written", "--json")
    rows = json.loads(ran.out)["problems"]
    problems, model = ci.load_problems(shelf.data, limit=2), ci.load_model(shelf.model)
    batch = model.think(problems, answers=True)
    written = model.write_chain(problems)
    for i, row in enumerate(rows):
        assert row["thought_norms"] == pytest.approx([float(torch.linalg.norm(t)) for t in batch.thoughts[i]], rel=1e-5)
        assert row["text"] == batch.completions[i].text
        assert row["written"] == written[i].text
        assert (row["true_answer"], row["question"]) == (problems[i].answer, problems[i].question)
        cosine = torch.nn.functional.cosine_similarity(batch.thoughts[i, 2], batch.thoughts[i, 1], dim=0)
        assert row["thought_steps"][1] == pytest.approx(float(cosine), abs=1e-5)


def test_a_typed_question_has_no_true_answer_and_unknown_words_are_told(run: Callable, shelf) -> None:
    ran = run("think", "Tom has 3 zeppelins .", "--model", shelf.model)
    assert ran.code == 0
    assert "question-1" in ran.page
    assert "right" not in ran.page
    assert "wrong" not in ran.page
    assert "warning: 1 of 1 question holds words that random does not know (zeppelins)" in ran.err
    assert run("think", " ", "--model", shelf.model).code == 2
