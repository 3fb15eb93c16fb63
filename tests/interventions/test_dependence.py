"""Replacing thoughts by their mean: what is replaced, by what, and what that does."""

import torch
from torch.testing import assert_close

from codi_int.interventions.dependence import mean_residuals, replace_thoughts
from codi_int.types import Site


def test_means_are_those_of_the_captured_residuals(model, problems):

    means = mean_residuals(model, problems)
    batch = model.think(problems, capture="all")
    assert batch.residuals is not None
    for position in range(1, model.n_thoughts + 1):
        for layer in range(model.n_layers):
            assert_close(means[Site(layer, position)], batch.residuals[:, layer, position].mean(0))
    assert len(means) == model.n_thoughts * (model.n_layers + 1)


def test_a_single_problem_keeps_its_answer_because_it_is_its_own_mean(model, problems):
    for problem in problems[:4]:
        before = model.answer([problem])[0]
        kept = replace_thoughts(model, [problem], range(1, 7), mean_residuals(model, [problem]))
        assert kept.correct == (before.answer == problem.answer,)


def test_the_replaced_positions_say_the_same_on_every_problem_and_the_others_do_not(model, problems):
    means = mean_residuals(model, problems)
    sites = [Site(0, 3, "resid_pre"), *(Site(layer, 3) for layer in range(model.n_layers))]
    table = {site: lambda tensor, context, value=means[site]: value.expand_as(tensor) for site in sites}
    with model.hooks(table):
        batch = model.think(problems, capture="all")
    assert batch.residuals is not None
    spread = batch.residuals.std(0).amax(-1)
    last = model.n_layers - 1
    assert float(spread[last, 3]) == 0.0
    assert float(spread[last, 2]) > 0.0
    # thought 4 is fed with the projection of a constant, but still reads the question
    assert float(spread[last, 4]) > 0.0
    assert model.n_hooks == 0


def test_replacing_all_thoughts_makes_the_thoughts_constant(model, problems):
    means = mean_residuals(model, problems)
    done = replace_thoughts(model, problems, (1, 2, 3, 4, 5, 6), means)
    assert done.positions == (1, 2, 3, 4, 5, 6)
    assert len(done.correct) == len(problems)
    assert done.accuracy == sum(done.correct) / len(problems)
    assert torch.is_tensor(means[Site(0, 1)])
