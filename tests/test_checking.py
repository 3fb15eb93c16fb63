"""Annotations are held against what is passed, in every test anew, up to a number of calls."""

import checking
import jaxtyping
import pytest
import torch

from codi_int.sae.kernels.reference import select


def test_a_wrong_shape_is_refused_until_the_checks_of_a_test_are_used_up() -> None:
    right, wrong = torch.zeros(2, 4), torch.zeros(4)
    for _ in range(2):
        select(right, 1)
        with pytest.raises(jaxtyping.TypeCheckError):
            select(wrong, 1)
    for _ in range(checking.CALLS):
        select(right, 1)
    try:
        select(wrong, 1)
    except jaxtyping.TypeCheckError:
        pytest.fail("it is still checked")
    except (IndexError, RuntimeError):
        pass  # what an unchecked call makes of it is not the question


def test_the_next_test_is_checked_again() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        select(torch.zeros(4), 1)
