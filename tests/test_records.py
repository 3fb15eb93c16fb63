"""Records of evidence nest; documents and tables show them flat, and read them back."""

import json
from dataclasses import replace

import pytest

from codi_int.interventions.evidence.family import Flips
from codi_int.interventions.screens.additivity import Interaction, PairRow
from codi_int.interventions.screens.confirmed import CONFIRMATION_COLUMNS, Confirmation
from codi_int.interventions.screens.curves import CurvePoint
from codi_int.interventions.screens.screen import ScreenRow
from codi_int.interventions.screens.thought_map import NO_PATH, MapCell
from codi_int.records import (
    EFFECT_COLUMNS,
    EVIDENCE_COLUMNS,
    ArmEffect,
    Estimate,
    FlatEffect,
    differing_key,
    flatten,
    table_row,
    unflatten,
)
from codi_int.types import Site

EFFECT = ArmEffect(
    accuracy=Estimate(-0.2, -0.3, -0.1, 0.04, 0.08),
    logprob=Estimate(-2.0, -3.0, -1.0, 0.02, 0.03),
    n_touched=11,
    n_broken=7,
    n_fixed=5,
    n_answer_changed=13,
)
ROW = ScreenRow(
    site=Site(2, 3),
    feature=17,
    firing_rate=0.25,
    edit_size=1.5,
    effect=EFFECT,
    rank=0.6,
    rank_logprob=0.7,
)
FLAT = {
    "site": "L2.P3",
    "feature": 17,
    "firing_rate": 0.25,
    "edit_size": 1.5,
    "n_touched": 11,
    "n_broken": 7,
    "n_fixed": 5,
    "n_answer_changed": 13,
    "estimate": -0.2,
    "low": -0.3,
    "high": -0.1,
    "p_value": 0.04,
    "p_adjusted": 0.08,
    "logprob": -2.0,
    "logprob_low": -3.0,
    "logprob_high": -1.0,
    "logprob_p": 0.02,
    "logprob_p_adjusted": 0.03,
    "rank": 0.6,
    "rank_logprob": 0.7,
    **dict.fromkeys(EVIDENCE_COLUMNS),
    **dict.fromkeys(CONFIRMATION_COLUMNS),
    "selected": False,
    "selected_logprob": False,
    "flips": {"broken": [], "fixed": []},
    "folds": [],
}
PAIR = PairRow(
    site=Site(2, 3),
    a=1,
    b=2,
    n_both=4,
    effect=replace(EFFECT, accuracy=Estimate(-0.2, -0.3, -0.1, 0.04), logprob=Estimate(-2.0, -3.0, -1.0)),
    estimate_a=-0.11,
    estimate_b=-0.05,
    logprob_a=-1.1,
    logprob_b=-0.5,
    interaction=Interaction(Estimate(0.1, 0.0, 0.2, 0.3, 0.4), 3),
    interaction_logprob=Interaction(Estimate(0.5, 0.4, 0.6, None), 6),
)


def test_a_row_of_a_table_has_the_flat_names_in_the_order_of_the_columns() -> None:
    assert table_row(ROW) == FLAT
    assert list(table_row(ROW)) == list(FLAT)


def test_flat_names_read_the_nested_values() -> None:
    nested = ("site", "flips", "folds")
    assert {name: getattr(ROW, name) for name in FLAT if name not in nested} == {
        k: v for k, v in FLAT.items() if k not in nested
    }


def test_a_cell_of_a_map_has_an_effects_names_for_the_same_places() -> None:
    # written out there, since a cell may have no effect, and a type that denies it would be wrong
    paths = [{name: getattr(cls, name).path for name in EFFECT_COLUMNS} for cls in (MapCell, FlatEffect)]
    assert paths[0] == paths[1]
    assert set(EFFECT_COLUMNS) < set(MapCell.columns)


def test_a_confirmation_has_flat_names_and_comes_back() -> None:
    found = Confirmation(
        n=90,
        n_broken=8,
        n_fixed=1,
        accuracy=Estimate(-0.07, -0.1, -0.02, 0.03, 0.06),
        logprob=Estimate(-0.5, None, None),
        confirmed=False,
        confirmed_logprob=None,
        power=0.4,
        fresh=Estimate(-0.06, -0.09, 0.0, 0.07),
        n_fresh=80,
        fold=1,
    )
    row = replace(ROW, confirmation=found, selected=True, flips=Flips((1, 4), (9,)), folds=(EFFECT, EFFECT))
    flat = json.loads(json.dumps(table_row(row)))
    assert flat["confirmation_estimate"] == -0.07
    assert (flat["fresh_n"], flat["fresh_p"], flat["confirmation_fold"]) == (80, 0.07, 1)
    assert unflatten(ScreenRow, {**flat, "site": Site.parse(flat["site"])}) == row


@pytest.mark.parametrize("record", [ROW, PAIR], ids=["screen", "pair"])
def test_what_is_written_flat_is_read_back_nested(record: ScreenRow | PairRow) -> None:
    flat = json.loads(json.dumps(table_row(record)))
    assert unflatten(type(record), {**flat, "site": Site.parse(flat["site"])}) == record


def test_a_record_in_a_record_is_flattened_by_its_own_columns() -> None:
    assert flatten(PAIR)["interaction"] == {
        "estimate": 0.1,
        "low": 0.0,
        "high": 0.2,
        "p_value": 0.3,
        "p_adjusted": 0.4,
        "n_departing": 3,
        "p_equivalence": None,
        "p_equivalence_adjusted": None,
    }


def test_a_cell_without_an_effect_has_no_numbers() -> None:
    row = flatten(MapCell(Site(1, 6), "both", 0, note=NO_PATH))
    assert {name for name, value in row.items() if value is not None} == {"site", "propagate", "n_replaced", "note"} | {
        "selected",
        "selected_logprob",
        "later",
    }


def test_a_point_of_a_curve_shows_the_accuracy_that_is_left_and_its_change() -> None:
    row = flatten(CurvePoint(n=8, accuracy=0.5, effect=EFFECT))
    assert (row["n"], row["accuracy"], row["estimate"], row["n_touched"]) == (8, 0.5, -0.2, 11)


@pytest.mark.parametrize("change", [{"unknown": 1}, {"rank_of_logprob": 0.5}])
def test_a_column_that_the_record_does_not_have_is_refused(change: dict) -> None:
    with pytest.raises(TypeError):
        unflatten(ScreenRow, {**FLAT, "site": Site(2, 3), **change})


def test_a_column_that_is_missing_is_refused() -> None:
    with pytest.raises(TypeError):
        unflatten(ScreenRow, {k: v for k, v in FLAT.items() if k != "high"})


@pytest.mark.parametrize(
    ("one", "other", "name"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, "b"),
        ({"a": 1}, {"a": 1, "b": None}, "b"),
        ({"a": 1, "c": None}, {"a": 1}, "c"),
    ],
)
def test_the_name_that_two_mappings_differ_in(one: dict, other: dict, name: str) -> None:
    assert differing_key(one, other) == name
