"""Dictionaries side by side: planted effects are found where they are, on problems that selected nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from codi_int.interventions.evidence.concordance import ProblemDraws
from codi_int.interventions.evidence.family import Flips
from codi_int.interventions.screens.against import _ranked, _strongest
from codi_int.interventions.screens.change_store import KeptChanges
from codi_int.interventions.screens.changes import ArmChange
from codi_int.interventions.screens.confirmed import Confirmation
from codi_int.interventions.screens.matching import Pairing
from codi_int.interventions.screens.screen_records import Screen, ScreenRow
from codi_int.interventions.screens.screened import Dictionary, Screened
from codi_int.interventions.screens.seeds import _agreements, _found, _Pairs
from codi_int.interventions.screens.sides import SelectionPlan, Sides, take_sides
from codi_int.records import ArmEffect, Estimate
from codi_int.types import Problem, Site

N, SITE = 600, Site(2, 3)
PROBLEMS = tuple(Problem(f"p{i}", f"question {i}", i, ()) for i in range(N))
FOLDS = take_sides(PROBLEMS, SelectionPlan(confirm="folds"))
ALONE = Sides(PROBLEMS, SelectionPlan(confirm="none"))


def screened(name: str, accuracy: np.ndarray, probability: np.ndarray, **more: Any) -> Screened:
    """A dictionary whose features change what the columns say; nothing is run."""
    rows, changes = [], KeptChanges()
    for feature, column in enumerate(accuracy.T):
        effect = ArmEffect(
            accuracy=Estimate(float(column.mean()), None, None),
            logprob=Estimate(0.0, None, None),
            n_touched=50,
            n_broken=0,
            n_fixed=0,
            n_answer_changed=0,
            probability=Estimate(float(probability[:, feature].mean()), None, None),
        )
        rows.append(ScreenRow(SITE, feature, 0.1, 1.0, effect, flips=Flips.of(column), **more))
        touched = np.zeros(column.size, dtype=bool)
        arm = ArmChange(column, column, touched, touched, probability=probability[:, feature])
        changes.add({(SITE, feature): arm})
    return Screened(bare(Dictionary, name=name), bare(Screen, rows=tuple(rows)), changes)


def bare(kind: type, **values: Any) -> Any:
    """A record with some of its fields alone."""
    out = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(out, name, value)
    return out


def selecting(one: Screened) -> Screened:
    """The same with its first feature selected."""
    first, *rest = one.screen.rows
    return replace(one, screen=bare(Screen, rows=(replace(first, selected=True), *rest)))


def breaking(*shares: float, seed: int = 0) -> np.ndarray:
    """A column for each share of problems that a feature breaks."""
    generator = np.random.default_rng(seed)
    return -(generator.random((N, len(shares))) < np.array(shares)).astype(float)


def pairing(partners: list[int]) -> Pairing:
    ones = np.where(np.array(partners) >= 0, 0.9, 0.0)
    return Pairing(np.array(partners), ones, ones)


def test_an_effect_is_there_where_the_partner_has_it_and_not_shown_where_it_has_not() -> None:
    own = screened("own", breaking(0.08, 0.0), np.zeros((N, 2)))
    own = selecting(own)
    has = screened("seed 1", breaking(0.0, 0.07, seed=1), np.zeros((N, 2)))
    lacks = screened("seed 2", breaking(0.002, 0.07, seed=2), np.zeros((N, 2)))
    none = screened("seed 3", breaking(0.1, seed=3), np.zeros((N, 1)))
    pairings = {"seed 1": pairing([1, 0]), "seed 2": pairing([0, 1]), "seed 3": pairing([-1, 0])}
    found = _found(own, [has, lacks, none], pairings, ALONE, None)
    assert [(row.feature, row.dictionary, row.there) for row in found] == [
        (0, "seed 1", True),
        (0, "seed 2", False),
        (0, "seed 3", False),
    ]
    first, second, third = found
    assert first.other is not None
    assert first.other.p_adjusted == pytest.approx(2 * first.other.p_value)  # Holm over two that could be tested
    assert first.own.value == pytest.approx(own.screen.rows[0].estimate)
    assert first.difference.low < 0 < first.difference.high
    assert second.difference.high < 0  # the own one breaks more, shown
    assert (third.partner, third.other, third.difference, third.matched) == (None, None, None, False)


def test_a_partner_that_repairs_what_the_own_feature_breaks_does_not_have_the_effect() -> None:
    own = screened("own", breaking(0.08), np.zeros((N, 1)))
    own = selecting(own)
    other = screened("seed 1", -breaking(0.08), np.zeros((N, 1)))
    (row,) = _found(own, [other], {"seed 1": pairing([0])}, ALONE, None)
    assert row.other.p_adjusted < 1e-6
    assert not row.there


def test_of_two_folds_a_finding_is_looked_at_on_the_one_that_did_not_select_it() -> None:
    # breaks problems of fold 0 alone, which selected it
    column = np.where(FOLDS.folds == 0, breaking(0.1)[:, 0], 0.0)[:, None]
    estimate = Estimate(0.0, None, None)
    confirmation = Confirmation(
        n=1,
        n_broken=0,
        n_fixed=0,
        accuracy=estimate,
        logprob=estimate,
        confirmed=False,
        confirmed_logprob=None,
        power=None,
        fold=0,
    )
    own = screened("own", column, np.zeros((N, 1)), selected=True, confirmation=confirmation)
    (row,) = _found(own, [screened("seed 1", column, np.zeros((N, 1)))], {"seed 1": pairing([0])}, FOLDS, None)
    assert row.n == int((FOLDS.folds == 1).sum())
    assert (row.own.value, row.other.value, row.there) == (0.0, 0.0, False)


def planted(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Changes of probability of 20 features, and of the same features in another order."""
    sizes = np.concatenate([generator.uniform(0.1, 0.3, 5), np.full(15, 0.001)])
    touched = generator.random((N, 20)) < 0.3
    order = generator.permutation(20)
    return -sizes * touched, order


def test_agreement_is_high_for_partners_and_no_more_than_chance_for_features_that_fire_as_often() -> None:
    changes, order = planted(np.random.default_rng(0))
    own, there = (screened(name, np.zeros((N, 20)), c) for name, c in (("own", changes), ("seed 1", changes[:, order])))
    draws = ProblemDraws.make(ALONE.groups, draws=200)
    rates = (np.full(20, 180), np.full(20, 180))
    right = pairing(np.argsort(order).tolist())
    pairs = [(feature, int(partner)) for feature, partner in enumerate(right.partners)]
    rows = _agreements(_Pairs(own, there, pairs, draws), right, rates, seed=0)
    by = {(row.measure, row.pairs): row for row in rows}
    same = by["probability", "all"]
    assert (same.concordance.value, same.concordance.low) == (pytest.approx(1.0), pytest.approx(1.0))
    assert same.rank_correlation.value == pytest.approx(1.0)
    assert same.n == 20
    assert abs(same.chance.value) < 0.4
    assert same.beyond_chance.low > 0.4
    assert by["probability", "matched"].chance is None
    # no feature changes any answer: nothing to agree on
    assert (by["accuracy", "all"].concordance.value, by["accuracy", "all"].concordance.low) == (0.0, None)
    wrong = [(feature, feature) for feature in range(20)]
    lone = _agreements(_Pairs(own, there, wrong, draws), pairing(list(range(20))), rates, seed=0)[0]
    # partners at random are no better than chance
    assert lone.beyond_chance.low < 0.1
    assert lone.concordance.high < 0.3
    # the matched ones alone: of fewer than five no coefficient is given
    few = replace(right, cosine=np.where(np.arange(20) < 4, 0.9, 0.1))
    assert {row.pairs for row in _agreements(_Pairs(own, there, pairs, draws), few, rates, seed=0)} == {"all"}


def test_the_strongest_are_ranked_on_one_half_and_measured_on_the_other() -> None:
    shares = [0.12, 0.1, 0.08] + [0.02] * 9
    own = screened("own", breaking(*shares), np.zeros((N, 12)))
    # a dictionary in which nothing is: the same damage, spread evenly
    null = screened("frozen", breaking(*[0.03] * 12, seed=4), np.zeros((N, 12)))
    rows, names = _strongest([own, null], ALONE, None)
    assert names[0].startswith("one half of")
    assert [(row.dictionary, row.n_strongest) for row in rows] == [("frozen", 1), ("frozen", 3), ("frozen", 10)]
    three = rows[1]
    half = FOLDS.folds
    top = _ranked(own, half == 0)[:3]
    assert sorted(top) == [0, 1, 2]
    assert three.own.value == pytest.approx(own.accuracy(top, N)[half == 1].mean())
    assert three.n == int((half == 1).sum())
    assert three.difference.high < 0
    # what looks strongest by luck on one half is as weak as the others on the other one
    assert rows[0].other.value > null.accuracy(_ranked(null, half == 0)[:1], N)[half == 0].mean()


def test_changes_are_kept_and_read_back(tmp_path) -> None:
    generator = np.random.default_rng(0)
    values = np.where(generator.random((N, 3)) < 0.1, generator.normal(size=(N, 3)), 0.0)
    kept = KeptChanges(tmp_path)
    touched = np.zeros(N, dtype=bool)
    for feature in range(3):
        column = values[:, feature]
        kept.add({(SITE, 7 * feature): ArmChange(column, column, touched, touched, probability=column)})
    kept.save()
    again = KeptChanges(tmp_path)
    assert again.features == {0, 7, 14}
    assert np.array_equal(again.matrix([14, 0], N), values[:, [2, 0]])
    (tmp_path / "changes.npz").write_bytes(b"no file of ours")
    from codi_int.errors import OutputError

    with pytest.raises(OutputError, match="cannot be read"):
        KeptChanges(tmp_path)
