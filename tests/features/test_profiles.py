"""Profiles of features, against a plain count over the dense latents of an SAE that is made by hand."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

import codi_int as ci
from codi_int.errors import CodiError
from codi_int.features import profiles
from codi_int.features.details import describe_feature
from codi_int.sae import SAEConfig, TopKSAE

SITE = ci.Site(14, 3)
ROWS = [[3.0, 0.0, 0.0], [-1.0, 0.0, 2.0], [4.0, 0.0, 0.0], [0.0, 0.0, -5.0]]


def identity_sae() -> TopKSAE:
    """Each feature is a dimension; of each row the two largest magnitudes are kept, with their sign."""
    sae = TopKSAE(SAEConfig(d_in=3, d_sae=3, k=2, rule="abs"))
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(3))
        sae.W_dec.copy_(torch.eye(3))
        sae.b_enc.zero_()
        sae.b_dec.zero_()
    return sae


@pytest.mark.parametrize("rows_at_once", [1, 3, 4096])
def test_by_hand(monkeypatch: pytest.MonkeyPatch, rows_at_once: int) -> None:
    monkeypatch.setattr(profiles, "ROWS_AT_ONCE", rows_at_once)
    found = profiles.profile_rows(identity_sae(), torch.tensor(ROWS))
    # feature 0 fires on three problems with 3, -1 and 4, feature 2 on two with 2 and -5, feature 1 never
    assert [tuple(asdict(one).values())[:9] for one in found] == [
        (1, 0, 0.75, 3, 4, pytest.approx(8 / 3), 4.0, 2.0, 4.0),
        (2, 2, 0.5, 2, 4, pytest.approx(3.5), 5.0, -1.5, -5.0),
    ]
    assert (found.alive, found.d_sae, found.n_problems, found.model) == ((0, 2), 3, 4, None)
    assert found.column(2).tolist() == [0.0, 2.0, 0.0, -5.0]
    assert found.column(1).tolist() == [0.0] * 4
    # columns in the order asked for, a feature that never fires among them
    assert found.firing([2, 1, 0]).T.tolist() == [[False, True] * 2, [False] * 4, [True, True, True, False]]
    # rows are reconstructed whole: no row has more than two numbers
    assert found.explained_variance == 1.0


@pytest.mark.parametrize("rows_at_once", [1, 2])
def test_of_equal_magnitudes_the_first_gives_the_sign(monkeypatch: pytest.MonkeyPatch, rows_at_once: int) -> None:
    monkeypatch.setattr(profiles, "ROWS_AT_ONCE", rows_at_once)
    for first in (4.0, -4.0):
        (only,) = profiles.profile_rows(identity_sae(), torch.tensor([[first, 0.0, 0.0], [-first, 0.0, 0.0]]))
        assert (only.max_activation, only.max_signed, only.mean_signed) == (4.0, first, 0.0)


def test_a_single_feature_has_no_neighbour() -> None:
    sae = TopKSAE(SAEConfig(d_in=3, d_sae=1, k=1, rule="abs"))
    with torch.no_grad():
        sae.W_enc.copy_(torch.ones(3, 1))
    (only,) = profiles.profile_rows(sae, torch.tensor(ROWS))
    assert (only.nearest, only.nearest_cosine) == (None, None)


def test_what_explains_nothing_has_no_share() -> None:
    same = profiles.profile_rows(identity_sae(), torch.tensor([ROWS[0]] * 3))
    assert same.explained_variance is None
    poor = identity_sae()
    with torch.no_grad():
        poor.W_dec.zero_()
    assert profiles.profile_rows(poor, torch.tensor(ROWS)).explained_variance == pytest.approx(0.0)


def test_activations_of_another_place_are_refused() -> None:
    with pytest.raises(CodiError, match=r"The SAE reads rows of 3 numbers, got activations of shape \[4, 2\]\.\nGive"):
        profiles.profile_rows(identity_sae(), torch.zeros(4, 2))
    with pytest.raises(CodiError, match=r"There are no activations to profile\.\n"):
        profiles.profile_rows(identity_sae(), torch.zeros(0, 3))
    found = profiles.profile_rows(identity_sae(), torch.tensor(ROWS))
    with pytest.raises(CodiError, match=r"Feature 3 does not exist\.\nThe SAE has features 0 to 2\."):
        describe_feature(found, 3)


@pytest.fixture(scope="module")
def shipped() -> ci.CodiModel:
    return ci.load_model("codi-mini")


def test_the_shipped_sae_against_numpy(shipped: ci.CodiModel) -> None:
    problems = ci.load_problems("stories:validation", limit=60)
    found = ci.profile_features("codi-mini/L14.P3", shipped, problems)
    rows = shipped.think(problems, capture=[SITE]).at(SITE).values
    dense = ci.load_sae("codi-mini/L14.P3").encode(rows).dense().numpy()
    counts = (dense != 0).sum(0)
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda feature: (-counts[feature], feature))
    assert [one.feature for one in found] == order
    assert [one.rank for one in found] == list(range(1, len(order) + 1))
    for one in found[:: max(1, len(found) // 20)]:
        column = np.abs(dense[:, one.feature])
        assert (one.n_firing, one.n_problems) == (counts[one.feature], 60)
        assert one.firing_rate == counts[one.feature] / 60
        assert one.mean_activation == pytest.approx(column[column > 0].mean(), rel=1e-5)
        assert one.max_activation == pytest.approx(column.max(), rel=1e-6)
        signed = dense[:, one.feature]
        assert one.mean_signed == pytest.approx(signed[signed != 0].mean(), rel=1e-4)
        assert one.max_signed == signed[column.argmax()]


def test_it_agrees_with_the_order_of_curves(shipped: ci.CodiModel) -> None:
    problems = ci.load_problems("stories:validation", limit=40)
    engine = ci.FeatureInterventionEngine(shipped, {SITE: ci.load_sae("codi-mini/L14.P3")})
    found = ci.profile_features("codi-mini/L14.P3", shipped, problems)
    assert tuple(one.feature for one in found) == ci.rank_features(engine, problems, "frequency")[: len(found)]


def test_an_sae_elsewhere_or_nowhere_is_refused(shipped: ci.CodiModel) -> None:
    problems = ci.load_problems("stories:validation", limit=4)
    with pytest.raises(CodiError, match=r"trained at L14\.P3, not at L10\.P3"):
        ci.profile_features("codi-mini/L14.P3", shipped, problems, site=ci.Site(10, 3))
    homeless = TopKSAE(SAEConfig(d_in=96, d_sae=8, k=2))
    with pytest.raises(CodiError, match=r"at which site it was trained\.\nGive it: site=Site\(14, 3\)"):
        ci.profile_features(homeless, shipped, problems)
