"""eval: what it prints."""

import json
from collections.abc import Callable

import pytest
import torch
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
        assert text in ran.page


def test_padding_rule_and_throughput_are_told(run: Callable, shelf) -> None:
    words = ("eval", "--model", shelf.model, "--data", shelf.data, "--json")
    problems, model = ci.load_problems(shelf.data), ci.load_model(shelf.model)
    for padding, rule in (("official", "last"), ("masked", "after-phrase")):
        ran = run(*words, "--padding", padding, "--rule", rule, "--batch-size", "5")
        document = json.loads(ran.out)
        written = model.answer(problems, padding, 5)
        right = [ci.extract_answer(c.text, rule) == p.answer for c, p in zip(written, problems, strict=True)]
        assert document["overall"]["n_correct"] == sum(right)
        assert document["n_unanswered"] == sum(ci.extract_answer(c.text, rule) is None for c in written)
        assert (document["padding"], document["rule"], document["batch_size"]) == (padding, rule, 5)
        assert document["problems_per_second"] == pytest.approx(12 / document["seconds"])


def test_a_batch_without_memory_is_halved(run: Callable, shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    from codi_int.model.hooked import CodiModel

    real = CodiModel.answer

    def answer(self: CodiModel, problems, *rest):
        if len(problems) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, problems, *rest)

    words = ("eval", "--model", shelf.model, "--data", shelf.data, "--padding", "official", "--batch-size", "4")
    expected = json.loads(run(*words[:-4], "--batch-size", "1", "--json").out)
    monkeypatch.setattr(CodiModel, "answer", answer)
    document = json.loads(run(*words, "--json").out)
    assert (document["n_halved"], document["batch_size"]) == (2, 1)
    assert document["overall"] == expected["overall"]
    assert "halved 2 times" in run(*words).page


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--padding", "left"), "masked, official"),
        (("--rule", "first"), "after-phrase, last"),
        (("--batch-size", "0"), "--batch-size is 0; it takes whole numbers from 1"),
        (("--replace-thoughts", "--padding", "official"), "masked padding only"),
    ],
)
def test_settings_that_cannot_work_are_refused(run: Callable, shelf, words: tuple[str, ...], says: str) -> None:
    ran = run("eval", "--model", shelf.model, "--data", shelf.data, *words)
    assert (ran.code, len(ran.err.strip().splitlines())) == (2, 2)
    assert says in ran.err
