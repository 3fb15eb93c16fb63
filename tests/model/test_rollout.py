"""The kept clean pass: what it keeps, and that edited passes can start from its middle."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from codi_int.model.rollout import Grouping, group_by_length, group_in_order, usual_opening
from codi_int.types import Completion, Site

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


def longer(problem: Any) -> Any:
    return replace(problem, id=f"{problem.id} longer", question=f"Tom {problem.question}")


def test_batches_hold_every_problem_once_and_pad_in_front(llama: Any, problems: list[Any]) -> None:
    problems = [*problems, *map(longer, problems)]
    batches = llama.batches(problems, batch_size=3)
    assert sorted(row for batch in batches for row in batch.rows) == list(range(14))
    assert max(len(batch.rows) for batch in batches) == 3
    assert any(batch.mask is not None for batch in batches)
    for batch in batches:
        assert batch.problem_ids == tuple(problems[row].id for row in batch.rows)
        masks = [None] * len(batch.rows) if batch.mask is None else batch.mask
        for row, ids, mask in zip(batch.rows, batch.ids, masks, strict=True):
            real = ids if mask is None else ids[mask]
            assert tuple(real.tolist()) == llama.encode_question(problems[row])
            assert mask is None or mask.tolist() == sorted(mask.tolist())


def lengths_of(lengths: list[int], **settings: Any) -> list[list[int]]:
    encoded = [tuple([7] * n) for n in lengths]
    grouping = Grouping(**{"batch_size": 4, "pad_id": 0, "device": torch.device("cpu"), **settings})
    batches = group_by_length(encoded, [str(i) for i in range(len(lengths))], grouping)
    assert [batch.mask is None for batch in batches] == [len({lengths[r] for r in b.rows}) == 1 for b in batches]
    return [[lengths[row] for row in batch.rows] for batch in batches]


def test_neighbouring_lengths_share_a_batch_until_padding_is_an_eighth() -> None:
    assert lengths_of([9, 8, 8, 20, 21, 10]) == [[8, 8, 9, 10], [20, 21]]
    assert lengths_of([8, 8, 8, 9], padding_share=0.0) == [[8, 8, 8], [9]]
    assert lengths_of([7, 8]) == [[7, 8]], "one of sixteen"
    assert lengths_of([5, 8]) == [[5], [8]], "three of sixteen"


def test_questions_without_room_for_the_longest_answer_stay_among_their_equals() -> None:
    assert lengths_of([16, 17, 17, 18, 16, 15], roomy=16) == [[15, 16, 16], [17, 17], [18]]


def test_the_usual_opening_is_what_half_of_the_answers_begin_with() -> None:
    def of(*answers: tuple[int, ...]) -> tuple[int, ...]:
        return usual_opening([Completion("p", "", ids, None) for ids in answers])

    assert of((1, 2, 3), (1, 2, 4), (5, 2, 3)) == (1, 2)
    assert of((1, 2), (1, 2), (1,), (4,)) == (1, 2)
    assert of((1,), (2,), (3,)) == ()
    assert of((2,), (1,)) == (1,), "the lower of two that are equally common"
    assert of((), ()) == of() == ()


@pytest.mark.parametrize("guess", ["usual", "nonsense", "too long", "right"])
def test_a_guess_changes_no_answer(guess: str, make_model: Any, problems: list[Any]) -> None:
    """Answers of this model vary in length and wording: an id that some of them write is taken for the end token."""
    free = make_model("llama").answer(problems)
    end = next(t for c in free for t in c.ids[2:] if 0 < sum(t in other.ids for other in free) < 7)
    model = make_model("llama", eos_id=end)
    encoded = [model.encode_question(problem) for problem in problems]
    grouping = Grouping(7, model.config.pad_id, model.device)
    (batch,) = group_in_order(encoded, [problem.id for problem in problems], grouping)
    plain = model.rollout(batch)
    assert len({len(completion.ids) for completion in plain.completions}) > 1
    ids = {
        "usual": usual_opening(plain.completions) or plain.completions[0].ids[:2],
        "nonsense": (5, 6, 5),
        "too long": plain.completions[0].ids * 9,
        "right": plain.decoded.ids,
    }[guess]
    state = plain.state_at(6)
    with torch.no_grad():
        found = model.decode(state, guess=ids)
    assert state.cache.length == plain.slot(6) + 1
    assert torch.equal(found.counts, plain.decoded.counts)
    assert torch.equal(found.ended, plain.decoded.ended)
    assert torch.equal(found.ids, plain.decoded.ids)
    torch.testing.assert_close(found.logprobs, plain.decoded.logprobs, **CLOSE)
    torch.testing.assert_close(found.margins, plain.decoded.margins, rtol=1e-4, atol=1e-4)


def test_a_right_guess_is_read_in_one_forward(llama: Any, problems: list[Any], monkeypatch: Any) -> None:
    (batch,) = llama.batches(problems[:1])
    rollout, widths, run = llama.rollout(batch), [], type(llama.stack).run
    monkeypatch.setattr(
        type(llama.stack), "run", lambda self, x, *r, **k: widths.append(x.shape[1]) or run(self, x, *r, **k)
    )
    with torch.no_grad():
        llama.decode(rollout.state_at(6), guess=rollout.completions[0].ids)
    assert widths == [llama.config.max_new_tokens]


def test_hooks_on_the_answer_see_it_word_by_word(llama: Any, problems: list[Any]) -> None:
    seen: list[int] = []
    (batch,) = llama.batches(problems[:1])
    with llama.hooks({"blocks.1.hook_resid_post": lambda x, hook: seen.append(x.shape[1])}):
        llama.rollout(batch, guess=(5, 6))
    assert seen[7:] == [1] * llama.config.max_new_tokens


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_a_padded_batch_gives_what_each_problem_gives_alone(batch_size: int, model: Any, problems: list[Any]) -> None:
    problems = [*problems, *map(longer, problems)]
    alone = {p.id: model.think([p], answers=True) for p in problems}
    together = model.think(problems, answers=True, batch_size=batch_size)
    for i, problem in enumerate(problems):
        torch.testing.assert_close(together.thoughts[i], alone[problem.id].thoughts[0], **CLOSE)
        assert together.completions[i] == alone[problem.id].completions[0]


def test_a_rollout_keeps_no_slot_more_than_it_needs_and_can_be_read_again(llama: Any, problems: list[Any]) -> None:
    for rollout in llama.rollouts(problems):
        assert rollout.cache.capacity == rollout.cache.length == rollout.slot(6) + 1
        again = llama.read_again(replace(rollout, cache=llama.stack.new_cache(0, 0))).cache
        for ours, theirs in zip(
            (*again.keys, *again.values), (*rollout.cache.keys, *rollout.cache.values), strict=True
        ):
            assert torch.equal(ours, theirs)
