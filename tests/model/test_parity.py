"""The parity check agrees where it should, and notices when it should not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from codi_int.model.parity import check_parity, plain_run


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
