"""Chains of calculations and the clusters and folds that they make."""

import numpy as np

from codi_int.data.chains import chain_of, cluster_problems, split_folds
from codi_int.data.stories import load_stories
from codi_int.types import Problem, Step

TWICE = Step(20, "multiplication", 3, 60)
PLUS = Step(60, "addition", 5, 65)
LESS = Step(60.0, "subtraction", 0.5, 59.5)


def problem(name: str, *steps: Step) -> Problem:
    return Problem(name, f"question {name}", 1, steps)


def test_a_chain_is_its_calculations_in_order():
    assert chain_of(problem("a", TWICE, PLUS)) == "20*3, 60+5"
    assert chain_of(problem("a", TWICE, LESS)) == "20*3, 60-0.5"
    assert chain_of(problem("a", Step(8, "division", 4, 2))) == "8/4"
    assert chain_of(problem("a")) is None


def test_equal_chains_are_one_cluster_and_order_counts():
    several = [
        problem("a", TWICE, PLUS),
        problem("b"),
        problem("c", PLUS, TWICE),
        problem("d", TWICE, PLUS),
        problem("e"),
        problem("f", TWICE),
    ]
    assert cluster_problems(several).tolist() == [0, 1, 2, 0, 3, 4]


def test_validation_has_the_clusters_that_counting_gives():
    problems = load_stories("validation")
    one_step = [p for p in problems if len(p.steps) == 1]
    assert (len(one_step), cluster_problems(one_step).max() + 1) == (263, 184)
    labels = cluster_problems(problems)
    assert labels.max() + 1 == len({p.steps for p in problems}) == 1398
    for left, right in ((0, 1), (2, 400), (17, 1000)):
        assert (labels[left] == labels[right]) == (problems[left].steps == problems[right].steps)


def test_folds_keep_clusters_whole_and_do_not_depend_on_company():
    problems = load_stories("validation")
    folds, labels = split_folds(problems), cluster_problems(problems)
    assert all(len(np.unique(folds[labels == label])) == 1 for label in range(60))
    assert 0.45 < folds.mean() < 0.55
    assert split_folds(problems[700:900]).tolist() == folds[700:900].tolist()


def test_folds_are_the_same_in_every_version_and_process():
    folds = split_folds(load_stories("validation", 40))
    assert "".join(map(str, folds)) == "0110101000011110100000110101101010011011"
