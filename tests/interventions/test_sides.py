"""Which problems confirm which."""

from dataclasses import replace

import numpy as np
import pytest

from codi_int.data.chains import split_folds
from codi_int.data.problems import Problems, load_problems
from codi_int.errors import ConfigError
from codi_int.interventions.screens.sides import SelectionPlan, take_sides


def test_stories_are_confirmed_on_as_many_stories_that_selected_nothing() -> None:
    sides = take_sides(load_problems("stories:validation", limit=30))
    assert (sides.confirmed_on, sides.folds) == ("stories:confirmation", None)
    assert sides.confirming == load_problems("stories:confirmation", limit=30)
    assert take_sides(load_problems("stories:sae")[10:40]).confirmed_on == "stories:confirmation"


def test_who_selects_on_the_confirmation_is_confirmed_by_the_next_draw() -> None:
    sides = take_sides(load_problems("stories:confirmation", limit=20))
    assert sides.confirmed_on == "stories:confirmation/2"


def test_other_data_confirm_each_other_in_two_folds() -> None:
    problems = Problems(load_problems("stories:validation", limit=40), "mine.jsonl")
    sides = take_sides(problems)
    assert (sides.confirmed_on, sides.confirming) == ("folds", None)
    assert sides.folds is not None
    assert sides.folds.tolist() == split_folds(problems).tolist()
    assert take_sides(list(problems)).confirmed_on == "folds"


def test_nothing_confirms_where_nothing_should() -> None:
    sides = take_sides(load_problems("stories:validation", limit=20), SelectionPlan(confirm="none"))
    assert (sides.confirmed_on, sides.confirming, sides.folds, sides.notes) == (None, None, None, ())


def test_too_few_for_two_folds_is_said() -> None:
    sides = take_sides(list(load_problems("stories:validation", limit=2)))
    assert sides.confirmed_on is None
    assert sides.notes == ("2 problems cannot be divided into two folds that confirm each other: nothing is.",)


def test_a_confirming_set_that_selected_is_refused() -> None:
    problems = load_problems("stories:validation", limit=20)
    with pytest.raises(ConfigError) as error:
        take_sides(problems, SelectionPlan(confirm=problems[15:20]))
    assert str(error.value).splitlines() == [
        "5 of the 5 problems of stories:validation[15:20] that should confirm have selected: "
        f"{problems[15].id!r}, {problems[16].id!r}, {problems[17].id!r} and others.",
        "Give --confirm other problems, --confirm folds, or --confirm none.",
    ]
    # another id does not make it another problem
    copied = [replace(problems[3], id="other")]
    with pytest.raises(ConfigError, match=r"1 of the 1 problems of unnamed .* 'other'"):
        take_sides(problems, SelectionPlan(confirm=copied))


def test_one_cluster_is_refused_on_either_side() -> None:
    problems = load_problems("stories:validation", limit=20)
    same = [replace(problems[0], id=str(i), question=f"{problems[0].question} {i}") for i in range(4)]
    with pytest.raises(ConfigError, match="single cluster"):
        take_sides(same)
    with pytest.raises(ConfigError, match=r"All 4 problems of .* that should confirm have one and"):
        take_sides(problems, SelectionPlan(confirm=same))
    # a single problem has no calculation to share
    assert take_sides(problems, SelectionPlan(confirm=same[:1])).confirming is not None


@pytest.mark.parametrize("bound", [0.0, 0.51, float("nan"), -0.1])
def test_a_bound_that_is_none_is_refused(bound: float) -> None:
    with pytest.raises(ConfigError, match="smallest effect of interest"):
        SelectionPlan(bound=bound)


def test_chains_that_selected_are_known() -> None:
    problems = load_problems("stories:validation", limit=400)
    sides = take_sides(problems)
    assert sides.confirming is not None
    chains = {tuple((s.left, s.operation, s.right) for s in p.steps) for p in problems}
    expected = [tuple((s.left, s.operation, s.right) for s in p.steps) not in chains for p in sides.confirming]
    assert sides.fresh.tolist() == expected
    # from two steps on no chain is shared, so what is not fresh has one step
    assert {len(p.steps) for p, new in zip(sides.confirming, sides.fresh, strict=True) if not new} == {1}
    assert np.unique(sides.clusters).size == sides.groups.sizes.size
