"""Which feature is which: permuted and turned-around dictionaries are matched back, dead features take no part."""

import numpy as np
import pytest
import torch

from codi_int.errors import SAEError
from codi_int.interventions.screens.matching import CHANCE_DRAWS, match_by_rate, match_dictionaries
from codi_int.sae.config import SAEConfig
from codi_int.sae.topk import TopKSAE

N, D_SAE, D_IN = 200, 12, 8


def dictionary(rows: torch.Tensor, rule: str = "abs") -> TopKSAE:
    sae = TopKSAE(SAEConfig(d_in=rows.shape[1], d_sae=rows.shape[0], k=1, rule=rule))
    with torch.no_grad():
        sae.W_dec.copy_(rows)
    return sae


@pytest.fixture
def rows() -> torch.Tensor:
    return torch.randn(D_SAE, D_IN, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def fires() -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.random((N, D_SAE)) < generator.uniform(0.05, 0.5, D_SAE)


def test_a_permuted_dictionary_is_matched_back_whatever_lengths_and_signs(rows, fires) -> None:
    order = np.random.default_rng(1).permutation(D_SAE)
    signs = torch.tensor([1.0, -1.0]).repeat(D_SAE // 2)[:, None]
    pairing = match_dictionaries(dictionary(rows), dictionary(3 * signs * rows[order]), fires, fires[:, order])
    assert pairing.partners.tolist() == np.argsort(order).tolist()
    assert pairing.cosine == pytest.approx(1.0)
    assert pairing.overlap == pytest.approx(1.0)
    assert pairing.shared.all()
    # where values are kept with their sign, a direction turned around is another feature
    kept = match_dictionaries(dictionary(rows, "relu"), dictionary(signs * rows, "relu"), fires, fires)
    assert kept.cosine[1::2].max() < 0.99


def test_firing_decides_between_directions_that_are_alike(rows, fires) -> None:
    rows[1] = rows[0]
    swapped = fires.copy()
    swapped[:, [0, 1]] = fires[:, [1, 0]]
    pairing = match_dictionaries(dictionary(rows), dictionary(rows), fires, swapped)
    assert pairing.partners[:2].tolist() == [1, 0]
    # and a direction alone does not make the same feature
    silent = fires.copy()
    silent[:, 5] = ~fires[:, 5]
    lone = match_dictionaries(dictionary(rows), dictionary(rows), fires, silent)
    assert lone.partners[5] == 5
    assert lone.cosine[5] == pytest.approx(1.0)
    assert lone.overlap[5] == 0.0
    assert lone.shared.tolist() == [i != 5 for i in range(D_SAE)]


def test_the_overlap_is_jaccards(rows) -> None:
    a, b = np.zeros((N, 1), bool), np.zeros((N, 1), bool)
    a[:30], b[20:60] = True, True
    pairing = match_dictionaries(dictionary(rows[:1]), dictionary(rows[:1]), a, b)
    assert pairing.overlap[0] == pytest.approx(10 / 60)


def test_dead_features_and_those_beyond_a_smaller_dictionary_have_no_partner(rows, fires) -> None:
    fires[:, 3] = False
    pairing = match_dictionaries(dictionary(rows), dictionary(rows), fires, fires)
    assert pairing.partners[3] == -1
    assert (pairing.cosine[3], pairing.overlap[3], bool(pairing.shared[3])) == (0.0, 0.0, False)
    small = match_dictionaries(dictionary(rows), dictionary(rows[:4]), fires, fires[:, :4])
    assert sorted(small.partners[small.partners >= 0]) == [0, 1, 2]
    with pytest.raises(SAEError, match="share no directions"):
        match_dictionaries(dictionary(rows), dictionary(rows[:, :5]), fires, fires)


def test_chance_is_partners_that_fire_as_often(fires) -> None:
    rates = np.arange(1, 41) * 5
    draws = match_by_rate(rates, rates[::-1].copy(), seed=3)
    assert draws.shape == (CHANCE_DRAWS, 40)
    for draw in draws:
        assert sorted(draw) == list(range(40))
        partners = rates[::-1][draw]
        assert np.abs(np.log(partners / rates)).max() < 0.8
    assert len({tuple(draw) for draw in draws}) > 1
    few = match_by_rate(rates, rates[:10], seed=3)
    assert ((few >= 0).sum(axis=1) == 10).all()
    assert np.array_equal(match_by_rate(rates, rates, seed=3), match_by_rate(rates, rates, seed=3))
