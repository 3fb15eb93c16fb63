"""The parity check agrees where it should, and notices when it should not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from codi_int.model.parity import TOLERANCE, Parity, check_parity, plain_run


@pytest.mark.parametrize("variant", [{}, {"remove_eos": False, "suppress_last_id": True}])
def test_a_sound_model_agrees(variant: dict[str, bool], make_model: Callable[..., Any], problems: list[Any]) -> None:
    parity = check_parity(make_model("gpt2", **variant), problems, batch_size=3)
    assert parity.agrees
    assert (len(parity.worst_by_layer), len(parity.worst_by_position)) == (4, 7)
    assert (parity.n_answers_equal, parity.n_problems) == (7, 7)


def test_its_plain_loop_equals_the_tests_own(llama: Any, problems: list[Any], plain: Any) -> None:
    run = plain_run(llama, problems[0])
    expected = plain(llama, list(llama.encode_question(problems[0])), 7)
    assert torch.equal(run.states, expected.hidden_states[:, 1:])
    assert run.ids == expected.ids


def test_a_disturbed_run_is_noticed(llama: Any, problems: list[Any]) -> None:
    from codi_int.types import Site

    with llama.hooks({Site(2, 4): lambda r, c: r * 1.01}):
        parity = check_parity(llama, problems)
    assert not parity.agrees
    assert max(parity.worst_by_position[:4]) < 1e-5 < min(parity.worst_by_position[4:])


def test_what_is_as_far_as_the_tolerance_does_not_agree() -> None:
    def agrees(worst: float, equal: int = 2) -> bool:
        return Parity(2, (0.0, worst), (0.0, worst), equal).agrees

    assert not agrees(TOLERANCE)
    assert agrees(TOLERANCE / 2)
    assert not agrees(TOLERANCE / 2, equal=1)


def test_a_disturbance_is_placed_by_layer_and_by_position(llama: Any, problems: list[Any]) -> None:
    from codi_int.types import Site

    # the last layer at the last position: nothing else reads it but the answer
    with llama.hooks({Site(3, 6): lambda r, c: r * 1.01 + 0.1}):
        parity = check_parity(llama, problems[:2])
    assert [worst > 1e-5 for worst in parity.worst_by_layer] == [False, False, False, True]
    assert [worst > 1e-5 for worst in parity.worst_by_position] == [False] * 6 + [True]
