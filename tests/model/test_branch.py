"""Rows that share a prefix: the same keys, values and readings as rows that each have their own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from codi_int.model.branch import BranchedCache, Branches
from codi_int.model.rollout import Grouping, QuestionBatch, RolloutPart, group_in_order, join_rollouts
from codi_int.types import Site

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
SHARES = {
    "neighbours": Branches(torch.tensor([1, 2, 3]), 2),
    "anywhere": Branches(torch.tensor([4, 0, 4]), 3),
    "one each": Branches(torch.tensor([2, 5]), 1),
    "one problem": Branches(torch.tensor([6]), 4),
}


def padded(model: Any, problems: list[Any]) -> QuestionBatch:
    """The problems in one batch, in their order, whatever their lengths."""
    encoded = [model.encode_question(problem) for problem in problems]
    grouping = Grouping(len(problems), model.config.pad_id, model.device)
    (batch,) = group_in_order(encoded, [problem.id for problem in problems], grouping)
    assert batch.mask is not None
    return batch


@pytest.mark.parametrize("position", [0, 3, 6])
@pytest.mark.parametrize("share", SHARES)
def test_thoughts_and_answers_equal_those_of_rows_with_a_cache_each(
    share: str, position: int, model: Any, problems: list[Any]
) -> None:
    branches = SHARES[share]
    rollout = model.rollout(padded(model, problems))
    generator = torch.Generator().manual_seed(1)
    moved = torch.randn(len(branches.rows), model.d_model, generator=generator)
    plain, shared = rollout.state_at(position, branches.rows), rollout.branch_at(position, branches)
    assert isinstance(shared.cache, BranchedCache)
    assert shared.problem_ids == plain.problem_ids
    shapes = []
    with torch.no_grad():
        for state in (plain, shared):
            # every row another state, so that rows of one problem can be told apart
            state = replace(state, hidden=state.hidden + moved)
            while state.position < model.n_thoughts:
                state = model.step_thought(state)
            shapes.append((state.hidden, model.teacher_force(state, rollout.decoded.ids[branches.rows])))
    torch.testing.assert_close(shapes[1][0], shapes[0][0], **CLOSE)
    torch.testing.assert_close(shapes[1][1], shapes[0][1], rtol=1e-4, atol=1e-4)


def test_keys_and_values_are_those_of_gathered_rows(llama: Any, problems: list[Any]) -> None:
    branches = SHARES["anywhere"]
    rollout = llama.rollout(padded(llama, problems))
    plain, shared = rollout.state_at(2, branches.rows).cache, rollout.branch_at(2, branches).cache
    new = torch.randn(2, 9, llama.stack.n_kv_heads, 3, llama.stack.head_dim)
    for cache in (plain, shared):
        cache.extend(3)
        cache.store(1, *new)
    skipped = plain.length - shared.length  # padding that all of these problems begin with
    for layer in (0, 1):
        for ours, theirs in zip(shared.read(layer), plain.read(layer), strict=True):
            used = plain.length if layer == 1 else plain.length - 3  # layer 0 did not store the last three
            torch.testing.assert_close(ours[:, :, : used - skipped], theirs[:, :, skipped:used])
    for ours, theirs in zip(shared.last_slot(1), plain.last_slot(1), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert torch.equal(shared.positions[:, : shared.length], plain.positions[:, skipped : plain.length])
    assert torch.equal(shared.valid[:, : shared.length], plain.valid[:, skipped : plain.length])


def test_a_prefix_of_neighbours_is_read_where_it_lies(llama: Any, problems: list[Any]) -> None:
    rollout = llama.rollout(padded(llama, problems))
    storage = rollout.cache.keys[2].untyped_storage().data_ptr()
    beside, apart = (rollout.branch_at(3, SHARES[name]).cache for name in ("neighbours", "anywhere"))
    assert beside.prefix_keys[2].untyped_storage().data_ptr() == storage
    assert apart.prefix_keys[2].untyped_storage().data_ptr() != storage
    assert rollout.cache.length == rollout.slot(6) + 1


def test_it_grows_where_an_answer_is_longer_than_expected(make_model: Callable[..., Any], problems: list[Any]) -> None:
    model = make_model("llama")
    rollout = model.rollout(padded(model, problems))
    branches = SHARES["neighbours"]
    long = torch.randint(5, 40, (6, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = model.teacher_force(rollout.branch_at(6, branches), long)
        theirs = model.teacher_force(rollout.state_at(6, branches.rows), long)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_hook_on_patterns_sees_whole_patterns(llama: Any, problems: list[Any]) -> None:
    branches = SHARES["neighbours"]
    rollout = llama.rollout(padded(llama, problems))
    states = rollout.state_at(5, branches.rows), rollout.branch_at(5, branches)
    seen: list[torch.Tensor] = []

    def keep(pattern: torch.Tensor, hook: Any) -> torch.Tensor:
        seen.append(pattern.clone())
        return pattern.flip(1)

    with torch.no_grad(), llama.hooks({"blocks.1.attn.hook_pattern": keep}):
        plain, shared = (llama.step_thought(state).hidden for state in states)
    width = seen[1].shape[-1]
    torch.testing.assert_close(seen[1], seen[0][..., -width:], **CLOSE)
    torch.testing.assert_close(shared, plain, **CLOSE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes(dtype: torch.dtype, make_model: Callable[..., Any], problems: list[Any]) -> None:
    model = make_model("llama")
    model.hf.to(dtype)
    model.projection.to(dtype)
    rollout = model.rollout(padded(model, problems))
    branches = SHARES["anywhere"]
    with torch.no_grad():
        plain = model.step_thought(rollout.state_at(5, branches.rows)).hidden
        shared = model.step_thought(rollout.branch_at(5, branches)).hidden
    assert shared.dtype == dtype
    tolerance = {torch.bfloat16: 0.1, torch.float64: 1e-10}[dtype]
    torch.testing.assert_close(shared, plain, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("position", [0, 3, 6])
def test_problems_of_several_batches_go_on_together_as_they_do_apart(
    position: int, model: Any, problems: list[Any]
) -> None:
    site = Site(1, 2)
    batches = [padded(model, problems[:4]), *model.batches(problems[4:7])]
    rollouts = [model.rollout(batch, [site]) for batch in batches]
    rows = [torch.tensor([2, 0]), *(torch.arange(len(batch.rows)).flip(0) for batch in batches[1:])]
    parts = [RolloutPart(rollout, some) for rollout, some in zip(rollouts, rows, strict=True)]
    assert len({rollout.batch.ids.shape[1] for rollout in rollouts}) > 1
    joined = join_rollouts(parts, position, [site])
    everyone = torch.arange(len(joined.problem_ids))
    assert joined.problem_ids == tuple(r.problem_ids[i] for r, some in zip(rollouts, rows, strict=True) for i in some)
    assert torch.equal(joined.captured[site], torch.cat([p.rollout.captured[site][p.rows] for p in parts]))

    def answered(rollout: Any, branches: Branches) -> torch.Tensor:
        state = rollout.branch_at(position, branches)
        while state.position < model.n_thoughts:
            state = model.step_thought(state)
        longest = int(rollout.decoded.counts[branches.rows].max())
        logits = model.teacher_force(state, rollout.decoded.ids[branches.rows, : longest - 1])
        counted = torch.arange(longest) < rollout.decoded.counts[branches.rows][:, None]
        return logits[counted]

    with torch.no_grad():
        together = answered(joined, Branches(everyone, 2))
        apart = torch.cat([answered(part.rollout, Branches(part.rows, 2)) for part in parts])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)
