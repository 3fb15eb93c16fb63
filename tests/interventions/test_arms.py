"""What edits add to residuals, by hand."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from codi_int.errors import ConfigError, HookError
from codi_int.interventions.edits.basic import Ablate, Amplify
from codi_int.interventions.engine.arms import edited_latents, plan_edit
from codi_int.interventions.engine.planning import Unedited
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.types import Site


@pytest.fixture
def sae() -> TopKSAE:
    """Three features in two dimensions; the third fires only where the first component is negative."""
    sae = TopKSAE(SAEConfig(d_in=2, d_sae=3, k=1, rule="relu"))
    with torch.no_grad():
        sae.W_enc.copy_(torch.tensor([[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]]))
        sae.W_dec.copy_(torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 1.0]]))
        sae.b_dec.copy_(torch.tensor([0.5, 0.5]))
    return sae.requires_grad_(False)


SITE = Site(1, 2)
X = torch.tensor([[4.0, 1.0], [1.0, 2.0], [-3.0, 1.0], [5.0, 0.0]])


def test_add_moves_only_the_rows_on_which_the_feature_fires(sae: TopKSAE) -> None:
    plan = plan_edit(Ablate(0), SITE, sae, X, sae.encode(X).dense())
    assert plan.rows.tolist() == [0, 3]
    assert plan.delta.tolist() == [[-8.0, 0.0], [-10.0, 0.0]]
    assert plan.firing_rate == 0.5
    assert plan.edit_size == pytest.approx(9.0)


def test_replace_moves_every_row_to_what_the_latents_decode_to(sae: TopKSAE) -> None:
    plan = plan_edit(
        Amplify(0, 2.0),
        SITE,
        sae,
        activations=X,
        latents=sae.encode(X).dense(),
        splice="replace",
    )
    assert plan.rows.tolist() == [0, 1, 2, 3]
    moved = X + plan.delta
    assert torch.allclose(moved, torch.tensor([[16.5, 0.5], [0.5, 6.5], [-2.5, 3.5], [20.5, 0.5]]))
    assert plan.edited.tolist() == [True, False, False, True]


def test_reconstruction_moves_every_row_to_its_decoding(sae: TopKSAE) -> None:
    plan = plan_edit(
        Unedited(),
        SITE,
        sae,
        activations=X,
        latents=sae.encode(X).dense(),
        splice="replace",
    )
    assert not plan.edited.any()
    assert torch.allclose(X + plan.delta, torch.tensor([[8.5, 0.5], [0.5, 6.5], [-2.5, 3.5], [10.5, 0.5]]))


def test_a_dead_feature_moves_nothing(sae: TopKSAE) -> None:
    latents = sae.encode(X.abs()).dense()
    plan = plan_edit(Ablate(2), SITE, sae, X.abs(), latents)
    assert len(plan.rows) == 0
    assert plan.edit_size == 0.0


@dataclass(frozen=True)
class Wrong:
    out: object
    label: str = "wrong"

    def edit(self, latents: Tensor) -> object:
        return self.out


@pytest.mark.parametrize("out", [None, torch.zeros(4, 2), torch.zeros(3)])
def test_edits_that_return_something_else_are_refused(sae: TopKSAE, out: object) -> None:
    with pytest.raises(HookError, match="instead of latents"):
        edited_latents(Wrong(out), sae.encode(X).dense())


def test_overflow_is_reported(sae: TopKSAE) -> None:
    with pytest.raises(ConfigError, match="overflows"):
        plan_edit(Amplify(0, 3e38), SITE, sae, X, sae.encode(X).dense())


def test_edits_in_place_do_not_reach_the_latents(sae: TopKSAE) -> None:
    latents = sae.encode(X).dense()
    before = latents.clone()

    class InPlace:
        label = "in place"

        def edit(self, given: Tensor) -> Tensor:
            return given.zero_()

    assert edited_latents(InPlace(), latents).eq(0).all()
    assert torch.equal(before, latents)
