"""What is found out about an edit once, whoever wrote it."""

import pytest
import torch

from codi_int.errors import HookError
from codi_int.interventions.edits.adapt import as_edit
from codi_int.interventions.edits.basic import Ablate, Amplify, check_edit
from codi_int.interventions.edits.combined import Together
from codi_int.interventions.edits.values import Interchange


class Own:
    label = "negate"

    def edit(self, latents: torch.Tensor) -> torch.Tensor:
        return -latents


def test_an_own_object_has_every_field() -> None:
    found = as_edit(Own())
    assert (found.label, found.kind, found.features, found.mode) == ("negate", "own", (), None)
    assert not found.movable
    assert found.residual is None
    assert found.latents is not None
    assert found.latents(torch.ones(2, 3), None).equal(-torch.ones(2, 3))
    assert as_edit(found) is found


def test_own_edits_are_seen_whole() -> None:
    assert as_edit(Ablate((1, 2), "mean")).mode == "mean"
    assert as_edit(Together((Amplify(1, 2), Amplify(2, 2)))).factor == 2
    assert as_edit(Interchange(None, (1, 0))).takes_all
    swapped = as_edit(Interchange(0, (1, 0))).latents
    assert swapped is not None
    assert swapped(torch.zeros(2, 1), torch.tensor([[3.0], [4.0]])).tolist() == [[4.0], [3.0]]


def test_what_is_no_edit_is_refused() -> None:
    with pytest.raises(HookError, match="is no edit"):
        as_edit(3)
    check_edit(Own())
