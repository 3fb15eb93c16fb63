"""Edits made of edits: what they name, how they are ordered, and which contradictions they refuse."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from codi_int.errors import CodiError, ConfigError, FeatureError, HookError, SiteError
from codi_int.interventions.edits.basic import Ablate, Amplify, Swap, can_move
from codi_int.interventions.edits.combined import AtSites, Together, reach_order
from codi_int.interventions.edits.residual import InterchangeResidual
from codi_int.interventions.edits.values import Clamp, Interchange
from codi_int.types import Site

A, B = Site(1, 2), Site(0, 4)
LATENTS = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])


@dataclass(frozen=True)
class Own:
    label: str = "own"

    def edit(self, latents: Tensor) -> Tensor:
        return latents + 1


def test_edits_of_one_site_are_made_together_in_any_order() -> None:
    parts = (Ablate(0), Amplify(1, 2.0), Interchange(3, (1, 0)))
    for order in (parts, parts[::-1]):
        assert Together(order).edit(LATENTS).tolist() == [[0.0, 4.0, 3.0, 8.0], [0.0, 12.0, 7.0, 4.0]]
    both = Together(parts)
    assert (both.features, both.kind) == ((0, 1, 3), "several")
    assert both.label == "ablate 0 and amplify 1 x 2 and 3 of another problem on 2 problems"
    assert both.moved_to([3, 0, 1]) == Together((Ablate((3,)), Amplify((0,), 2.0), Interchange((1,), (1, 0))))
    assert Together((Ablate(1), Ablate(2))).kind == "ablate"
    assert can_move(both)
    assert not can_move(Together((Ablate(1), Own())))


def test_values_of_the_clean_run_reach_the_parts_that_ask_for_them() -> None:
    out = Together((Ablate(0), Interchange(1, (1, -1)))).edit_from(LATENTS, -LATENTS)
    assert out.tolist() == [[0.0, -6.0, 3.0, 4.0], [0.0, 6.0, 7.0, 8.0]]


def test_sites_stand_in_the_order_in_which_the_model_reaches_them() -> None:
    texts = [
        "P2.final_norm",
        "P1.thought",
        "L3.P2",
        "L2.P2.mlp_out",
        "L2.P2.head:10",
        "L2.P2",
        "L2.P2.head:9",
        "L0.P3",
        "L2.P2.resid_pre",
        "L2.P2.attn_out",
        "L2.P2.resid_mid",
        "P2.thought",
    ]
    ordered = sorted(map(Site.parse, texts), key=reach_order)
    assert [str(site) for site in ordered] == [
        "P1.thought",
        "L2.P2.resid_pre",
        "L2.P2.head:9",
        "L2.P2.head:10",
        "L2.P2.attn_out",
        "L2.P2.resid_mid",
        "L2.P2.mlp_out",
        "L2.P2",
        "L3.P2",
        "P2.final_norm",
        "P2.thought",
        "L0.P3",
    ]
    assert AtSites({B: Ablate(1), A: Ablate(2)}).sites == (A, B)
    assert AtSites({B: Ablate(1), A: Ablate(2)}) == AtSites(((A, Ablate(2)), (B, Ablate(1))))


def test_an_edit_at_sites_names_what_its_parts_name() -> None:
    edit = AtSites({A: (Ablate(3), Clamp(1, 0)), B: Swap(3, 4)})
    assert edit.features == (3, 1, 3, 4)
    assert edit.kind == "several"
    assert edit.label == "ablate 3 and clamp 1 to at least 0 at L1.P2; swap 3 with 4 at L0.P4"
    moved = AtSites({A: (Ablate((5,)), Clamp((6,), 0)), B: Swap((7,), (8,))})
    assert edit.moved_to([5, 6, 7, 8]) == moved
    assert edit.movable
    assert not AtSites({A: Ablate(3), B: InterchangeResidual((1, 0))}).movable
    assert AtSites({A: Ablate(3)}).label == "ablate 3"
    same = AtSites({A: Ablate(3), Site(None, 3, "thought"): Swap(1, 2), B: Ablate(3)})
    assert same.label == "ablate 3 at L1.P2, L0.P4; swap 1 with 2 at P3.thought"


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: AtSites({A: (Ablate(3), Amplify(3, 2.0))}), FeatureError, "3 is named twice at one site: 'ablate 3'"),
        (lambda: AtSites({A: (Interchange(None, (1, 0)), Ablate(3))}), FeatureError, "takes all features"),
        (lambda: AtSites({A: (Ablate(3), InterchangeResidual((1, 0)))}), ConfigError, "edits no latents"),
        (lambda: AtSites([(A, Ablate(3)), (A, Ablate(4))]), SiteError, "L1.P2 is named twice"),
        (lambda: AtSites({}), ConfigError, "at no site"),
        (lambda: AtSites({A: ()}), ConfigError, "made of no edits"),
        (lambda: AtSites({A: AtSites({B: Ablate(3)})}), ConfigError, "names sites of its own"),
        (lambda: AtSites({A: object()}), HookError, "is no edit"),
    ],
)
def test_contradictions_are_refused(make: Callable[[], object], error: type[CodiError], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        make()
    assert len(str(caught.value).splitlines()) <= 2
