"""The kept clean pass: what it keeps, and that edited passes can start from its middle."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from codi_int.types import Site

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def test_log_probabilities_and_margins_equal_the_plain_loop(model: Any, problems: list[Any], plain: Any) -> None:
    for rollout in model.rollouts(problems):
        for i, row in enumerate(rollout.batch.rows):
            expected = plain(model, list(model.encode_question(problems[row])), 7)
            n = len(expected.logits)
            best = expected.logits.topk(2).values
            assert rollout.completions[i].ids == expected.ids
            assert int(rollout.decoded.counts[i]) == n
            logprobs = expected.logits.log_softmax(-1).max(-1).values
            torch.testing.assert_close(rollout.decoded.logprobs[i, :n], logprobs, **CLOSE)
            torch.testing.assert_close(rollout.decoded.margins[i, :n], best[:, 0] - best[:, 1], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(rollout.decoded.total_logprob[i], logprobs.sum(), rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(rollout.hidden[i], expected.hidden_states[:, -1], **CLOSE)


def test_teacher_forcing_gives_the_logits_of_writing(model: Any, problems: list[Any], plain: Any) -> None:
    for rollout in model.rollouts(problems):
        state = rollout.state_at(6)
        before = state.cache.length
        logits = model.teacher_force(state, rollout.decoded.ids[:, :-1])
        assert state.cache.length == before
        for i, row in enumerate(rollout.batch.rows):
            expected = plain(model, list(model.encode_question(problems[row])), 7).logits
            torch.testing.assert_close(logits[i, : len(expected)], expected, **CLOSE)


@pytest.mark.parametrize(("layer", "position"), [(2, 0), (0, 3), (3, 6)])
def test_an_edit_from_the_middle_equals_the_whole_model_run_again(
    layer: int, position: int, model: Any, problems: list[Any]
) -> None:
    site = Site(layer, position)
    with model.hooks({site: lambda resid, context: -resid}):
        naive = {c.problem_id: c.ids for c in model.answer(problems)}
        again = model.think(problems, capture=[Site(None, 6, "final_norm")])
    hidden = dict(zip(again.problem_ids, again.at(Site(None, 6, "final_norm")).values, strict=True))
    for rollout in model.rollouts(problems, [site]):
        rows = torch.arange(len(rollout.problem_ids)).repeat(2)
        state = rollout.state_at(position, rows)
        x = model.stack.run(-rollout.captured[site][rows][:, None], state.cache, range(layer + 1, model.n_layers))
        state = replace(state, hidden=model.stack.final_norm(x)[:, -1])
        while state.position < model.n_thoughts:
            state = model.step_thought(state)
        decoded = model.decode(state)
        for i, name in enumerate(state.problem_ids):
            assert decoded.tokens(i) == naive[name]
            torch.testing.assert_close(state.hidden[i], hidden[name], **CLOSE)


def test_states_of_a_rollout_do_not_disturb_each_other(llama: Any, problems: list[Any]) -> None:
    rollout = next(llama.rollouts(problems))
    first = llama.decode(rollout.state_at(6)).ids
    llama.step_thought(rollout.state_at(2), torch.full_like(rollout.hidden[:, 0], 3.0))
    torch.testing.assert_close(llama.decode(rollout.state_at(6)).ids, first)
    torch.testing.assert_close(first, rollout.decoded.ids)


def test_batches_hold_one_length_each_and_every_problem_once(llama: Any, problems: list[Any]) -> None:
    batches = llama.batches(problems, batch_size=2)
    assert sorted(row for batch in batches for row in batch.rows) == list(range(7))
    assert max(len(batch.rows) for batch in batches) == 2
    for batch in batches:
        assert batch.problem_ids == tuple(problems[row].id for row in batch.rows)
        assert [tuple(ids.tolist()) for ids in batch.ids] == [llama.encode_question(problems[r]) for r in batch.rows]
