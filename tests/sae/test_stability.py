"""Features under another seed: copies are found, strangers are at chance, and only comparable SAEs are paired."""

from dataclasses import replace

import pytest
import torch

from codi_int.sae import Provenance, SAEConfig, TopKSAE
from codi_int.sae.stability import reseed_stability
from codi_int.types import Site

SITE = Site(1, 3)


def sae(seed: int, **settings) -> TopKSAE:
    known = Provenance(seed=seed, recipe={"epochs": 3, "seed": seed})
    out = TopKSAE(SAEConfig(**{"d_in": 40, "d_sae": 30, "k": 4, "provenance": known, **settings}))
    with torch.no_grad():
        out.W_dec.copy_(torch.randn(out.W_dec.shape, generator=torch.Generator().manual_seed(100 + seed)))
    return out


def compared(*saes: TopKSAE, alive: torch.Tensor | None = None):
    named = {f"sae{i}": s for i, s in enumerate(saes)}
    living = {name: torch.ones(s.d_sae, dtype=torch.bool) if alive is None else alive for name, s in named.items()}
    return reseed_stability(named, dict.fromkeys(named, SITE), living)


def test_a_shuffled_copy_is_stable_and_a_stranger_is_at_chance():
    first, stranger, copy = sae(0), sae(1), sae(2)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        copy.W_dec.copy_(-3 * first.W_dec[order])
    by_pair = {(pair.first, pair.second): pair for pair in compared(first, stranger, copy)}
    assert len(by_pair) == 3
    assert by_pair["sae0", "sae2"].mean == pytest.approx(1.0, abs=1e-5)
    assert by_pair["sae0", "sae2"].share_alive == 1.0
    other = by_pair["sae0", "sae1"]
    assert other.mean == pytest.approx(other.mean_chance, abs=0.05)
    assert other.share_alive == 0.0


def test_dead_features_are_left_out_of_the_share():
    first, half = sae(0), sae(1)
    alive = torch.arange(30) < 15
    with torch.no_grad():
        half.W_dec[:15] = first.W_dec[:15]
    (pair,) = compared(first, half, alive=alive)
    assert pair.mean_alive == pytest.approx(1.0, abs=1e-5)
    assert pair.share_alive == 1.0
    assert pair.mean < 0.8
    (none_alive,) = compared(first, half, alive=torch.zeros(30, dtype=torch.bool))
    assert none_alive.share_alive == none_alive.mean_alive == 0.0


@pytest.mark.parametrize("other", [{"k": 5}, {"d_sae": 31}, {"rule": "relu"}])
def test_saes_that_differ_in_more_than_the_seed_are_not_paired(other):
    assert compared(sae(0), sae(1, **other)) == ()


def test_another_recipe_and_the_same_weights_are_not_paired():
    longer = sae(1)
    longer.config = replace(longer.config, provenance=Provenance(seed=1, recipe={"epochs": 9, "seed": 1}))
    assert compared(sae(0), longer) == ()
    assert compared(sae(0), sae(0)) == ()
