"""Input from which little can be told: plain answers, or errors of two lines."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import codi_int as ci
from codi_int.data.stories import load_stories
from codi_int.errors import CodiError
from codi_int.features.details import describe_feature
from codi_int.features.pairs import swap_pairs
from codi_int.features.profiles import Profiles, profile_rows
from codi_int.features.rule_table import compare_rules
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.types import Problem

N = 120


def two_features(problems: tuple[Problem, ...], fires: np.ndarray) -> Profiles:
    """An SAE of two features that fire as told."""
    sae = TopKSAE(SAEConfig(d_in=2, d_sae=2, k=2))
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(2))
        sae.W_dec.copy_(torch.eye(2))
    found = profile_rows(sae.requires_grad_(False), torch.tensor(fires, dtype=torch.float32))
    return replace(found, problems=problems, data="made", site=ci.Site(2, 3), by_feature={})


@pytest.fixture(scope="module")
def stories() -> tuple[Problem, ...]:
    return load_stories("validation", limit=N)


def test_two_features_of_which_one_never_fires_and_one_always(stories: tuple[Problem, ...]) -> None:
    found = compare_rules(two_features(stories, np.array([[1.0, 0.0]] * N)))
    assert [cell.n for cell in found.cells] == [1, 1, 1, 0, 0, 0]
    assert [cell.share for cell in found.cells[3:]] == [None] * 3
    # what fires on every problem is a specialist of nothing, whatever the stories are full of
    assert found.tested.rows[0].type == "general"
    assert swap_pairs(two_features(stories, np.array([[1.0, 0.0]] * N)), found.tested).rows == ()
    dead = describe_feature(two_features(stories, np.array([[1.0, 0.0]] * N)), 1)
    assert (dead.profile.rank, dead.profile.n_firing) == (0, 0)
    assert "fires on 0 of 120 problems" in repr(dead)


def test_no_feature_fires_at_all(stories: tuple[Problem, ...]) -> None:
    profiles = two_features(stories, np.zeros((N, 2)))
    found = compare_rules(profiles)
    assert len(profiles) == 0
    assert [cell.n for cell in found.cells] == [0] * 6
    assert found.to_dict()["rows"] == []


def test_a_property_that_always_or_never_holds_tells_nothing(stories: tuple[Problem, ...]) -> None:
    divided = tuple(p for p in load_stories("sae", limit=600) if any(s.operation == "division" for s in p.steps))[:N]
    fires = np.random.default_rng(0).random((len(divided), 2)) < 0.4
    tested = compare_rules(two_features(divided, fires.astype(float))).tested
    names = {(one.kind, one.name) for row in tested.rows for one in row.properties}
    assert ("operation", "division") not in names
    assert [row.type for row in tested.rows] == ["general", "general"]


def test_rows_of_another_place_are_refused(stories: tuple[Problem, ...]) -> None:
    with pytest.raises(CodiError, match=r"reads rows of 2 numbers, got activations of shape \[5, 3\]") as caught:
        profile_rows(two_features(stories, np.zeros((N, 2))).sae, torch.zeros(5, 3))
    assert caught.value.remedy
