"""Evaluation on codi-mini, which is right often enough that a wrong count shows."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from statsmodels.stats.proportion import proportion_confint

import codi_int as ci
from codi_int.interventions.dependence import mean_residuals, replace_thoughts
from codi_int.interventions.evaluation import Evaluation, EvaluationSettings, evaluate


@pytest.fixture(scope="module")
def mini() -> ci.CodiModel:
    return ci.load_model("codi-mini")


@pytest.fixture(scope="module")
def stories() -> Sequence[ci.Problem]:
    """Twelve, each told three times; every third one asks for something that no model answers rightly."""
    found = ci.load_problems("stories:validation", limit=12)
    asked = [replace(problem, answer=-7) if i % 3 == 0 else problem for i, problem in enumerate(found)]
    return [replace(problem, id=f"{problem.id} {telling}") for problem in asked for telling in range(3)]


@pytest.fixture(scope="module")
def found(mini: ci.CodiModel, stories: Sequence[ci.Problem]) -> Evaluation:
    return evaluate(mini, stories, EvaluationSettings(replace=True, written=True))


def n_right(completions: Sequence[ci.Completion], problems: Sequence[ci.Problem]) -> int:
    return sum(c.answer == p.answer for c, p in zip(completions, problems, strict=True))


def test_answers_through_thoughts_are_counted(
    mini: ci.CodiModel, stories: Sequence[ci.Problem], found: Evaluation
) -> None:
    assert 20 <= found.overall.n_correct <= 24
    assert found.overall.n_correct == n_right(mini.answer(stories), stories)
    assert sum(row.n_correct for row in found.by_steps) == found.overall.n_correct


def test_answers_through_the_written_chain_are_counted(
    mini: ci.CodiModel, stories: Sequence[ci.Problem], found: Evaluation
) -> None:
    texts = [chain.text for chain in mini.write_chain(stories)]
    right = [ci.extract_answer(text) == p.answer for text, p in zip(texts, stories, strict=True)]
    whole, *by_steps = found.written_chain
    assert (whole.n, whole.n_correct) == (36, sum(right))
    assert 10 < whole.n_correct < 25
    assert [row.n for row in by_steps] == [row.n for row in found.by_steps]
    assert sum(row.n_correct for row in by_steps) == whole.n_correct


def test_stories_about_one_calculation_are_one_observation(found: Evaluation) -> None:
    """Three tellings say what one says, less a little for Student's quantile; taken for three they would say more."""
    rows = [found.overall, *found.by_steps, *found.by_operation, *found.thoughts_replaced]
    rows += [*found.thoughts_replaced_by_steps, *found.written_chain]
    assert len(rows) > 20
    for row in rows:
        once, thrice = (proportion_confint(row.n_correct / k, row.n / k, method="wilson") for k in (3, 1))
        assert row.low <= once[0] + 1e-9 < thrice[0] + 1e-6
        assert row.high >= once[1] - 1e-9 > thrice[1] - 1e-6
        assert row.method == "Wilson, by cluster"


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
    assert expected < 0.7 * found.overall.n_correct
    assert found.thoughts_replaced[0].n_correct == expected
    last = replace_thoughts(mini, stories, [6], means)
    assert found.thoughts_replaced[-1].n_correct == sum(last.correct)
    assert last.correct != whole.correct
