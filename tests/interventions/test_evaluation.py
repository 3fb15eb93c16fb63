"""Evaluation on codi-mini, which is right often enough that a wrong count shows."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

import codi_int as ci
from codi_int.interventions.dependence import mean_residuals, replace_thoughts
from codi_int.interventions.evaluation import Evaluation, EvaluationSettings, evaluate


@pytest.fixture(scope="module")
def mini() -> ci.CodiModel:
    return ci.load_model("codi-mini")


@pytest.fixture(scope="module")
def stories() -> Sequence[ci.Problem]:
    """Every third one asks for something that no model answers rightly."""
    found = ci.load_problems("stories:validation", limit=18)
    return [replace(problem, answer=-7) if i % 3 == 0 else problem for i, problem in enumerate(found)]


@pytest.fixture(scope="module")
def found(mini: ci.CodiModel, stories: Sequence[ci.Problem]) -> Evaluation:
    return evaluate(mini, stories, EvaluationSettings(replace=True, written=True))


def n_right(completions: Sequence[ci.Completion], problems: Sequence[ci.Problem]) -> int:
    return sum(c.answer == p.answer for c, p in zip(completions, problems, strict=True))


def test_answers_through_thoughts_are_counted(
    mini: ci.CodiModel, stories: Sequence[ci.Problem], found: Evaluation
) -> None:
    assert 10 <= found.overall.n_correct <= 12
    assert found.overall.n_correct == n_right(mini.answer(stories), stories)
    assert sum(row.n_correct for row in found.by_steps) == found.overall.n_correct


def test_answers_through_the_written_chain_are_counted(
    mini: ci.CodiModel, stories: Sequence[ci.Problem], found: Evaluation
) -> None:
    texts = [chain.text for chain in mini.write_chain(stories)]
    right = [ci.extract_answer(text) == p.answer for text, p in zip(texts, stories, strict=True)]
    whole, *by_steps = found.written_chain
    assert (whole.n, whole.n_correct) == (18, sum(right))
    assert 5 < whole.n_correct < 13
    assert [row.n for row in by_steps] == [row.n for row in found.by_steps]
    assert sum(row.n_correct for row in by_steps) == whole.n_correct


def test_replacing_all_thoughts_costs_answers(
    mini: ci.CodiModel, stories: Sequence[ci.Problem], found: Evaluation
) -> None:
    """The same by a plain hook at every layer of every thought, which puts the mean in the activation's place."""
    means = mean_residuals(mini, stories)
    sites = [ci.Site(layer, p) for p in range(1, 7) for layer in range(mini.n_layers)]
    sites += [ci.Site(0, p, "resid_pre") for p in range(1, 7)]
    table = {site: lambda x, context, mean=means[site]: mean.expand_as(x) for site in sites}
    with torch.no_grad(), mini.hooks(table):
        expected = n_right(mini.answer(stories), stories)
    whole = replace_thoughts(mini, stories, range(1, 7), means)
    assert sum(whole.correct) == expected
    assert expected < found.overall.n_correct / 2
    assert found.thoughts_replaced[0].n_correct == expected
    last = replace_thoughts(mini, stories, [6], means)
    assert found.thoughts_replaced[-1].n_correct == sum(last.correct)
    assert last.correct != whole.correct
