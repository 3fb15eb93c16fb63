"""The three rules on features that are made by hand: who is a specialist, who only looks like one."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

import codi_int as ci
from codi_int.data.chains import chain_of
from codi_int.data.stories import load_stories
from codi_int.errors import CodiError
from codi_int.features.profiles import Profiles, profile_rows
from codi_int.features.published import published_counts, published_specialization
from codi_int.features.rule_table import compare_rules, side_by_side
from codi_int.features.specialization import specialization
from codi_int.features.specialization_records import RulePlan
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.types import Problem

N = 500
HAS: dict[str, Callable[[Problem], bool]] = {
    "division": lambda p: any(step.operation == "division" for step in p.steps),
    "number 12": lambda p: any(12 in (step.left, step.right, step.result) for step in p.steps),
    "4 steps": lambda p: len(p.steps) == 4,
    "chance": lambda p: False,
    "once": lambda p: False,
    "never": lambda p: False,
}
"""what each feature is for, in the order of their indices"""


def made(problems: tuple[Problem, ...], seed: int, data: str = "made") -> Profiles:
    """Features that fire on 3 of 4 problems that have what they are for, and on 1 of 50 others."""
    rng = np.random.default_rng(seed)
    sae = TopKSAE(SAEConfig(d_in=len(HAS), d_sae=len(HAS), k=len(HAS), rule="abs"))
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(len(HAS)))
        sae.W_dec.copy_(torch.eye(len(HAS)))
    fires = np.array([[rng.random() < (0.75 if has(p) else 0.02) for has in HAS.values()] for p in problems])
    fires[:, 3] = rng.random(len(problems)) < 0.3
    fires[:, 4:] = False
    fires[0, 4] = True
    found = profile_rows(sae, torch.tensor(fires, dtype=torch.float32))
    return replace(found, problems=problems, data=data, site=ci.Site(2, 3), by_feature={})


@pytest.fixture(scope="module")
def profiles() -> Profiles:
    return made(load_stories("validation", limit=N), seed=0)


@pytest.fixture(scope="module")
def confirming() -> Profiles:
    return made(load_stories("sae", limit=N), seed=1, data="others")


@pytest.fixture(scope="module")
def tested(profiles: Profiles, confirming: Profiles) -> ci.Specialization:
    return specialization(profiles, "tested", confirming)


def test_what_was_planted_is_found(tested: ci.Specialization) -> None:
    rows = {row.feature: row for row in tested.rows}
    assert sorted(rows) == [0, 1, 2, 3, 4]  # the one that never fires is not alive
    assert (rows[0].type, rows[0].label) == ("operation-specialized", "division")
    assert (rows[1].type, rows[1].label) == ("value-specialized", "number 12")
    assert (rows[2].type, rows[2].label) == ("length-specialized", "4 steps")
    assert (rows[3].type, rows[3].label) == ("general", "mixed patterns")
    assert rows[4].type == "untested"
    assert rows[0].strong
    assert not rows[3].strong
    assert rows[0].n_active <= rows[0].n_firing
    first = rows[0].confirmed[0]
    assert first.name == "division"
    assert first.confirmation.share == first.confirmation.n_both / first.confirmation.n_firing
    assert first.confirmation.low < first.confirmation.difference < first.confirmation.high
    assert tested.n_confirmed == sum(len(row.confirmed) for row in tested.rows)
    assert (tested.confirmed_on, tested.n_confirming, tested.n_problems) == ("others", N, N)
    # chains that are in both sets are told apart
    assert first.fresh is not None
    selecting, others = ({chain_of(p) for p in load_stories(name, limit=N)} for name in ("validation", "sae"))
    assert first.fresh.n == len(others - selecting) < len(others) == first.confirmation.n


def test_length_alone_makes_no_operation(tested: ci.Specialization) -> None:
    """A feature for long problems meets every operation more often: selected, and not confirmed given the length."""
    (row,) = [row for row in tested.rows if row.feature == 2]
    selected = {one.name for one in row.properties}
    assert {"addition", "multiplication"} & selected
    assert {one.name for one in row.confirmed} == {"4 steps"}


def test_a_feature_is_tested_from_the_least_number_of_chains_on(profiles: Profiles, confirming: Profiles) -> None:
    (row,) = [row for row in specialization(profiles, "tested", confirming).rows if row.feature == 3]
    for least, expected in ((row.n_active, "general"), (row.n_active + 1, "untested")):
        found = specialization(profiles, "tested", confirming, RulePlan(least_firing=least))
        assert next(one.type for one in found.rows if one.feature == 3) == expected


def test_strong_is_said_of_what_confirms(profiles: Profiles, confirming: Profiles) -> None:
    """A margin between the share that selected and the one that confirms tells which of the two is looked at."""
    evidence = [one for row in specialization(profiles, "tested", confirming).rows for one in row.confirmed]
    judged = set()
    for one in evidence:
        seen = one.selected.difference, one.confirmation.difference
        if min(seen) <= 0 or seen[0] == seen[1]:
            continue
        plan = RulePlan(margin=sum(seen) / 2)
        again = [two for row in specialization(profiles, "tested", confirming, plan).rows for two in row.confirmed]
        (twin,) = [two for two in again if two.selected == one.selected and two.name == one.name]
        assert twin.strong == (seen[1] > seen[0])
        judged.add(twin.strong)
        if judged == {True, False}:
            break
    assert judged


def test_two_folds_confirm_each_other(profiles: Profiles) -> None:
    found = specialization(profiles)
    assert found.confirmed_on == "folds"
    (division,) = [row for row in found.rows if row.feature == 0]
    assert division.label == "division"
    assert {one.fold for one in division.properties} == {0, 1}
    (one, other) = [one for one in division.properties if one.name == "division"]
    assert one.selected.n == other.confirmation.n
    assert one.selected.n + one.confirmation.n == found.n_chains


def test_repeats_of_a_calculation_count_once(profiles: Profiles) -> None:
    problems = profiles.problems
    again = tuple(
        replace(problem, id=f"{problem.id}-again", question=f"{problem.question} Again?") for problem in problems
    )
    twice = replace(
        profiles,
        problems=(*problems, *again),
        latents=ci.Latents(
            torch.cat([profiles.latents.values] * 2), torch.cat([profiles.latents.indices] * 2), profiles.d_sae
        ),
        by_feature={},
    )
    once, both = specialization(profiles), specialization(twice)
    assert both.n_problems == 2 * N
    assert both.n_chains == once.n_chains < N
    assert [row.properties for row in both.rows] == [row.properties for row in once.rows]


def test_published_rules_are_the_published_ones(profiles: Profiles) -> None:
    for rule, ties in (("published", "dropped"), ("published-ties-counted", "counted")):
        for row in specialization(profiles, rule).rows:
            size = np.abs(profiles.column(row.feature))
            top = [profiles.problems[i] for i in np.argsort(-size, kind="stable")[:100] if size[i]]
            found = published_specialization(*published_counts(top), len(top), ties)
            assert (row.type, row.label, row.n_active) == (found.type, found.label, len(top))


def test_the_table_has_an_n_in_every_cell(profiles: Profiles, confirming: Profiles) -> None:
    found = compare_rules(profiles, confirming, band=(0.2, 0.4))
    assert [(cell.rule, cell.population, cell.n) for cell in found.cells[:3]] == [
        (rule, "alive", 5) for rule in ("published", "published-ties-counted", "tested")
    ]
    inside = [row for row in profiles if 0.2 <= row.firing_rate <= 0.4]
    assert {(cell.population, cell.n) for cell in found.cells[3:]} == {("0.2 to 0.4", len(inside))}
    tested = found.cells[2]
    assert (tested.n_specialized, tested.n_operation, tested.n_value, tested.n_length) == (3, 1, 1, 1)
    assert (tested.n_untested, tested.n_single, tested.share) == (1, 0, 0.6)
    # the feature that fires once is a specialist by the published rule wherever its one problem allows it
    published = found.cells[0]
    assert published.n_single in (0, 1)
    assert published.n_also_tested <= published.n_specialized
    rows = found.to_dict()["rows"]
    assert [row["feature"] for row in rows] == [row.feature for row in found.tested.rows]
    assert {row["tested_label"] for row in rows} >= {"division", "number 12"}
    assert list(found.to_frame().rule) == [cell.rule for cell in found.cells]


def test_what_the_table_counts(profiles: Profiles, confirming: Profiles) -> None:
    found = compare_rules(profiles, confirming)
    published = found.rules[0]
    rows = tuple(
        replace(row, type="operation-specialized", n_firing=n, firing_rate=rate)
        for row, n, rate in zip(published.rows, (1, 1, 2, 3, 9), (0.1, 0.2, 0.2, 0.3, 0.4), strict=True)
    )
    rules = (replace(published, rows=rows), *found.rules[1:])
    alive, *_, band, _, _ = side_by_side(rules, (0.2, 0.3)).cells
    assert (alive.n, alive.n_specialized, alive.n_single, alive.n_operation) == (5, 5, 2, 5)
    assert (band.n, band.n_single) == (3, 1)  # both ends of the band are in it


def test_what_cannot_be_told_is_refused(profiles: Profiles, confirming: Profiles) -> None:
    bare = replace(profiles, problems=tuple(replace(p, steps=()) for p in profiles.problems), by_feature={})
    for rule in ("published", "tested"):
        with pytest.raises(CodiError, match=r"None of the 500 problems of made has written steps, .*\nTake problems"):
            specialization(bare, rule)
    with pytest.raises(
        CodiError, match=r"There is no rule 'strict'\.\nRules: published, published-ties-counted, tested"
    ):
        specialization(profiles, "strict")
    with pytest.raises(CodiError, match=r"500 of the 500 problems that should confirm have selected\.\n"):
        specialization(profiles, "tested", profiles)
    other = replace(confirming, site=ci.Site(1, 3), by_feature={})
    with pytest.raises(CodiError, match=r"are of another SAE or site: feature numbers mean other things there\.\n"):
        specialization(profiles, "tested", other)
    with pytest.raises(
        CodiError, match=r"A band of firing rates goes from a lower to a higher share, got 0\.3 to 0\.1"
    ):
        compare_rules(profiles, band=(0.3, 0.1))
    with pytest.raises(CodiError, match="are shares"):
        RulePlan(alpha=0.0)


def test_few_problems_and_few_features_are_answered() -> None:
    few = made(load_stories("validation", limit=12), seed=0)
    found = specialization(few)
    assert (found.n_selected, found.n_tested) == (0, 0)
    assert found.notes == ("12 chains are too few for two folds that confirm each other.",)
    assert {row.type for row in found.rows} <= {"general", "untested"}
    # folds of 16 and 14: enough to have a property ten times, not to have and lack it; of 28 and 32 they are enough
    assert specialization(made(load_stories("validation", limit=30), seed=0)).notes
    assert not specialization(made(load_stories("validation", limit=60), seed=0)).notes
