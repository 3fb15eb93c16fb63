"""Pareto fronts on the published table, feature matching by brute force, and decoder cosines."""

import itertools
import math

import pytest
import torch

from codi_int.errors import SAEError
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.sae.compare import (
    GridPoint,
    decoder_structure,
    match_features,
    published_front,
    relative_efficiency,
    strict_front,
)

PUBLISHED = {
    (512, 5): (0.702, 0.855),
    (1024, 5): (0.710, 0.909),
    (2048, 5): (0.719, 0.952),
    (512, 10): (0.765, 0.723),
    (1024, 10): (0.766, 0.840),
    (2048, 10): (0.768, 0.876),
    (512, 20): (0.804, 0.545),
    (1024, 20): (0.813, 0.651),
    (2048, 20): (0.819, 0.735),
    (512, 100): (0.878, 0.0),
    (1024, 100): (0.880, 0.017),
    (2048, 100): (0.879, 0.078),
}
"""d_sae, k -> explained variance, dead share: tables 2.1 and 2.2 of the published grid report"""
POINTS = [GridPoint(f"{d}/{k}", k, d, ev, dead) for (d, k), (ev, dead) in PUBLISHED.items()]


def random_sae(d_sae: int = 6, d_in: int = 5, seed: int = 0, rule: str = "relu") -> TopKSAE:
    sae = TopKSAE(SAEConfig(d_in, d_sae, 2, rule))
    torch.nn.init.normal_(sae.W_dec, generator=torch.Generator().manual_seed(seed))
    return sae


def test_the_published_notion_finds_all_twelve_optimal():
    assert published_front(POINTS) == tuple(POINTS)


def test_the_strict_notion_drops_the_one_that_is_worse_in_every_respect():
    names = {point.name for point in strict_front(POINTS)}
    assert names == {point.name for point in POINTS} - {"2048/100"}


def test_equal_points_do_not_dominate_each_other():
    twins = [GridPoint("a", 5, 512, 0.7, 0.1), GridPoint("b", 5, 512, 0.7, 0.1)]
    assert strict_front(twins) == tuple(twins)


def test_efficiency_as_published():
    """The report: 87.8% with 512 active features is 0.171% each, 81.1% with 382 of 1,024 is 0.212%."""
    assert GridPoint("", 100, 512, 0.878, 0.0).per_active_feature == pytest.approx(0.00171, abs=1e-5)
    assert GridPoint("", 20, 1024, 0.811, 1 - 382 / 1024).per_active_feature == pytest.approx(0.00212, abs=1e-5)
    assert GridPoint("", 20, 1024, 0.1, 1.0).per_active_feature == 0.0


def test_efficiency_relative_to_matryoshka_as_published():
    """The report: Matryoshka 72.1% with 769 active features; TopK is 2.3, 1.6 and 1.8 times as efficient."""
    matryoshka = GridPoint("", 32, 2048, 0.721, 1 - 769 / 2048)
    points = [
        GridPoint("", 20, 1024, 0.811, 1 - 382 / 1024),
        GridPoint("", 20, 2048, 0.816, 1 - 557 / 2048),
        GridPoint("", 100, 512, 0.878, 0.0),
    ]
    assert relative_efficiency(points, matryoshka) == pytest.approx((2.26, 1.56, 1.83), abs=0.01)
    assert relative_efficiency(points, GridPoint("", 5, 64, -0.1, 0.0)) == (None, None, None)


@pytest.mark.parametrize("rule", ["relu", "abs"])
def test_matching_is_the_best_of_all_pairings(rule):
    first, second = random_sae(seed=1, rule=rule), random_sae(seed=2, rule=rule)
    cosines = torch.nn.functional.cosine_similarity(first.W_dec[:, None], second.W_dec[None], dim=-1).detach()
    cosines = cosines.abs() if rule == "abs" else cosines
    best = max(sum(cosines[i, j].item() for i, j in enumerate(p)) for p in itertools.permutations(range(6)))
    found = match_features(first, second)
    assert sorted(found.partners.tolist()) == list(range(6))
    assert found.mean == pytest.approx(best / 6, abs=1e-6)


def test_a_shuffled_and_flipped_copy_is_found_again():
    first, second = random_sae(30, 40, rule="abs"), random_sae(30, 40, rule="abs")
    order = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        second.W_dec.copy_(-2 * first.W_dec[order])
    found = match_features(first, second)
    assert torch.equal(order[found.partners], torch.arange(30))
    assert found.share_above(0.999) == 1.0


def test_a_smaller_partner_leaves_features_alone():
    found = match_features(random_sae(6), random_sae(4, seed=5))
    assert int((found.partners == -1).sum()) == 2
    assert (found.similarity[found.partners == -1] == 0).all()


def test_saes_of_different_width_are_not_compared():
    with pytest.raises(SAEError, match="width 5 and 7"):
        match_features(random_sae(), random_sae(d_in=7))


def test_decoder_structure_against_torch():
    sae = random_sae(50, 64)
    found = decoder_structure(sae)
    cosines = torch.nn.functional.cosine_similarity(sae.W_dec[:, None], sae.W_dec[None], dim=-1).detach()
    for i in (0, 17, 49):
        others = torch.cat([cosines[i, :i], cosines[i, i + 1 :]])
        assert found.nearest[i].item() == pytest.approx(others.max().item(), abs=1e-5)
    assert found.mean_abs_cosine == pytest.approx(math.sqrt(2 / (math.pi * 64)), rel=0.1)


def test_structure_needs_two_features():
    with pytest.raises(SAEError, match="no pairs"):
        decoder_structure(TopKSAE(SAEConfig(4, 1, 1)))
