"""The low-level pieces: the published padding, both paths of an edit, gradients and half precision."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from codi_int.errors import ConfigError, HookError
from codi_int.model.cache import KVCache
from codi_int.model.hooks import HookPoint
from codi_int.types import Site

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@torch.no_grad()
def published_evaluation(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """The official loop: the mask goes with the question and with nothing else; [batch, thoughts + 1, d_model]."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.hf.config)
    args = {"past_key_values": cache, "use_cache": True, "output_hidden_states": True}
    hidden = model.hf(ids, attention_mask=mask, **args).hidden_states[-1][:, -1:]
    states = [hidden]
    for _ in range(6):
        hidden = model.hf(inputs_embeds=model.projection(hidden), **args).hidden_states[-1]
        states.append(hidden)
    return torch.cat(states, 1)


def padded(model: Any, problems: list[Any]) -> tuple[Tensor, Tensor]:
    (batch,) = model.batches(problems[:5], padding="official")
    return batch.ids, batch.mask.long()


def test_official_padding_equals_the_published_evaluation(model: Any, problems: list[Any]) -> None:
    ids, mask = padded(model, problems)
    expected = published_evaluation(model, ids, mask)
    batch = model.think(problems[:5], [Site(None, p, "final_norm") for p in range(7)], padding="official")
    for position in range(7):
        ours = batch.at(Site(None, position, "final_norm")).values
        torch.testing.assert_close(ours, expected[:, position], rtol=1e-4, atol=1e-4)


def test_official_padding_differs_exactly_where_there_is_padding(model: Any, problems: list[Any]) -> None:
    ids, mask = padded(model, problems)
    leaking, masked = (model.think_tokens(ids, mask, padding=p) for p in ("official", "masked"))
    full = mask.all(1)
    assert 0 < full.sum() < len(full)
    torch.testing.assert_close(leaking.thoughts[full], masked.thoughts[full], **CLOSE)
    difference = (leaking.thoughts - masked.thoughts).abs().amax((1, 2))[~full]
    assert difference.min() > 1e-2
    with_more = torch.cat([torch.zeros_like(ids[:, :3]), ids], 1)
    more_mask = torch.cat([torch.zeros_like(mask[:, :3]), mask], 1)
    again = model.think_tokens(with_more, more_mask, padding="official").thoughts
    assert (again - leaking.thoughts).abs().amax() > 1e-2, "the leak depends on how much padding there is"


@pytest.mark.usefixtures("as_users_call")
def test_unknown_padding_is_refused(llama: Any, problems: list[Any]) -> None:
    with pytest.raises(ConfigError, match="masked, official"):
        llama.think(problems, padding="left")
    with pytest.raises(ConfigError, match="masked, official"):
        llama.prefill(torch.tensor([[5, 6]]), padding="left")


@torch.no_grad()
def one_road(model: Any, ids: list[int], site: Site, path: str) -> tuple[Tensor, Tensor]:
    """Thoughts and answer logits when zeros at `site` reach the answer by one path, with plain Hugging Face parts."""
    from transformers import DynamicCache

    def zero(module: Any, args: Any, out: Tensor) -> Tensor:
        out = out.clone()
        out[:, -1] = 0
        return out

    def edited(**inputs: Any) -> Any:
        handle = model.hf.model.layers[site.layer].register_forward_hook(zero)
        try:
            return model.hf(**inputs)
        finally:
            handle.remove()

    cache = DynamicCache(config=model.hf.config)
    inputs: dict[str, Any] = {"input_ids": torch.tensor([ids])}
    thoughts = []
    for position in range(7):
        args = {**inputs, "use_cache": True, "output_hidden_states": True}
        if position == site.position:
            other = copy.deepcopy(cache)
            changed, clean = edited(**args, past_key_values=other), model.hf(**args, past_key_values=cache)
            cache, out = (other, clean) if path == "cache" else (cache, changed)
        else:
            out = model.hf(**args, past_key_values=cache)
        thoughts.append(model.projection(out.hidden_states[-1][:, -1:]))
        inputs = {"inputs_embeds": thoughts[-1]}
    logits = model.hf(torch.tensor([[model.config.eot_id]]), past_key_values=cache, use_cache=True).logits
    return torch.cat(thoughts[:6], 1)[0], logits[0, -1]


@pytest.mark.parametrize("path", ["cache", "recurrence"])
@pytest.mark.parametrize("position", [0, 3])
def test_each_road_alone(path: Any, position: int, llama: Any, problems: list[Any]) -> None:
    site = Site(1, position)
    ids = llama.encode_question(problems[1])
    thoughts, logits = one_road(llama, list(ids), site, path)
    with llama.hooks({site: lambda r, c: torch.zeros_like(r)}, propagate=path):
        ours = llama.think(problems[1:2])
        (rollout,) = llama.rollouts(problems[1:2])
    torch.testing.assert_close(ours.thoughts[0], thoughts, **CLOSE)
    torch.testing.assert_close(llama.teacher_force(rollout.state_at(6), rollout.decoded.ids)[0, 0], logits, **CLOSE)
    clean = llama.think(problems[1:2]).thoughts
    changed_next = bool((ours.thoughts - clean)[0, position].abs().max() > 1e-4)
    assert changed_next == (path == "recurrence")


def test_an_edit_at_the_last_position_reaches_the_answer_through_the_cache_only(
    llama: Any, problems: list[Any]
) -> None:
    def logits(table: dict[Any, Any], propagate: Any) -> Tensor:
        (batch,) = llama.batches(problems[:1])
        with llama.hooks(table, propagate=propagate):
            rollout = llama.rollout(batch)
        return llama.teacher_force(rollout.state_at(6), batch.ids[:, :0])[0, 0]

    zero = {Site(1, 6): lambda r, c: torch.zeros_like(r)}
    clean, both, cache, recurrence = (
        logits(table, path) for table, path in (({}, "both"), (zero, "both"), (zero, "cache"), (zero, "recurrence"))
    )
    assert torch.equal(clean, recurrence)
    torch.testing.assert_close(both, cache)
    assert (both - clean).abs().max() > 1e-3


def test_two_roads_in_two_blocks_make_both(llama: Any, problems: list[Any]) -> None:
    edit = {Site(1, 3): lambda r, c: torch.zeros_like(r)}
    with llama.hooks(edit):
        both = llama.think(problems[:2]).thoughts
    with llama.hooks(edit, propagate="cache"), llama.hooks(edit, propagate="recurrence"):
        torch.testing.assert_close(llama.think(problems[:2]).thoughts, both, **CLOSE)


def test_a_hook_that_no_road_can_carry_is_refused(llama: Any) -> None:
    for site in (Site(None, 2, "thought"), Site(None, 2, "final_norm")):
        with (
            pytest.raises(HookError, match="reaches nothing"),
            llama.hooks({site: lambda t, c: None}, propagate="cache"),
        ):
            raise AssertionError("the block was entered")


@pytest.mark.parametrize("component", ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"])
def test_every_component_of_a_block_can_be_replaced(component: Any, model: Any, problems: list[Any]) -> None:
    """Replaced by what it is on another problem, everything downstream of the residual must be that problem's."""
    site = Site(2, 2, component)
    source = model.think(problems[:1], [site]).at(site).values
    with model.hooks({site: lambda r, c: source.expand_as(r)}):
        edited = model.think(problems[1:2], [site, Site(2, 2), Site(2, 2, "resid_mid"), Site(2, 2, "resid_pre")])
    clean = model.think(problems[1:2], [Site(2, 2), Site(2, 2, "resid_mid"), Site(2, 2, "resid_pre")])
    torch.testing.assert_close(edited.at(site).values, source)
    pre, mid = (edited.at(Site(2, 2, c)).values for c in ("resid_pre", "resid_mid"))
    if component == "attn_out":
        torch.testing.assert_close(mid, pre + source, **CLOSE)
    if component == "mlp_out":
        torch.testing.assert_close(edited.at(Site(2, 2)).values, clean.at(Site(2, 2, "resid_mid")).values + source)
    assert (edited.thoughts[:, 2:] - clean.thoughts[:, 2:]).abs().max() > 1e-3
    torch.testing.assert_close(edited.thoughts[:, :2], clean.thoughts[:, :2], **CLOSE)


def test_the_thought_site_is_what_is_fed_next(model: Any, problems: list[Any]) -> None:
    sites = [Site(None, p, "thought") for p in range(7)]
    batch = model.think(problems, sites)
    for position in range(6):
        torch.testing.assert_close(batch.at(sites[position]).values, batch.thoughts[:, position])
    with model.hooks({sites[2]: lambda t, c: torch.zeros_like(t)}):
        edited = model.think(problems, [Site(0, 3, "resid_pre")])
    assert (edited.thoughts[:, 2] == 0).all()
    torch.testing.assert_close(edited.thoughts[:, :2], batch.thoughts[:, :2])


def test_a_head_cut_out_at_the_answer_changes_the_answer_only(llama: Any, problems: list[Any]) -> None:
    def cut(z: Tensor, hook: Any) -> Tensor:
        z = z.clone()
        z[:, :, 1] = 0
        return z

    (batch,) = llama.batches(problems[:1])
    clean = llama.rollout(batch)
    before = llama.teacher_force(clean.state_at(6), clean.decoded.ids)
    with llama.hooks({HookPoint("blocks.3.attn.hook_z", ("answer",)): cut}):
        hooked = llama.rollout(batch)
        after = llama.teacher_force(clean.state_at(6), clean.decoded.ids)
    assert torch.equal(hooked.hidden, clean.hidden)
    head = slice(llama.stack.head_dim, 2 * llama.stack.head_dim)
    weight = llama.hf.model.layers[3].self_attn.o_proj.weight
    saved = weight[:, head].clone()
    weight[:, head] = 0
    expected = llama.teacher_force(clean.state_at(6), clean.decoded.ids)
    weight[:, head] = saved
    torch.testing.assert_close(after, expected, **CLOSE)
    assert (after - before).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_gradients_of_the_answer_equal_finite_differences(
    kind: str, make_model: Callable[..., Any], problems: list[Any]
) -> None:
    model = make_model(kind)
    model.hf.double()
    model.projection.double()
    ids, answer = torch.tensor([model.encode_question(problems[0])]), torch.tensor([[9, 4]])
    direction = torch.randn(32, generator=torch.Generator().manual_seed(0)).double()

    def score(shift: Tensor) -> Tensor:
        with model.hooks({Site(1, 2): lambda r, c: r + shift * direction}):
            state = model.prefill(ids)
            while state.position < 6:
                state = model.step_thought(state)
            return model.teacher_force(state, answer).log_softmax(-1)[0, 1, 4]

    at = torch.zeros((), dtype=torch.float64, requires_grad=True)
    score(at).backward()
    step = torch.tensor(1e-5, dtype=torch.float64)
    with torch.no_grad():
        expected = (score(step) - score(-step)) / (2 * step)
    assert expected.abs() > 1e-6
    torch.testing.assert_close(at.grad, expected, rtol=1e-5, atol=1e-9)


def test_think_leaves_gradients_on_when_asked(llama: Any, problems: list[Any]) -> None:
    shift = torch.zeros(32, requires_grad=True)
    with llama.hooks({Site(0, 1): lambda r, c: r + shift}):
        assert not llama.think(problems[:2]).thoughts.requires_grad
        llama.think(problems[:2], grad=True).thoughts.square().sum().backward()
    assert shift.grad is not None
    assert shift.grad.abs().min() > 0


def test_float32_edits_are_cast_into_a_bfloat16_model(make_model: Callable[..., Any], problems: list[Any]) -> None:
    model = make_model("llama")
    exact = model.think(problems, capture="all")
    model.hf.bfloat16()
    model.projection.bfloat16()
    assert model.dtype == torch.bfloat16
    batch = model.think(problems, capture="all", answers=True)
    assert batch.residuals.dtype == torch.bfloat16
    error = (batch.residuals.float() - exact.residuals)[:, :, 0].norm(dim=-1) / exact.residuals[:, :, 0].norm(dim=-1)
    assert error.max() < 0.05
    with model.hooks({Site(1, 3): lambda r, c: r.float() + 1.0}):
        edited = model.think(problems, [Site(1, 3)]).at(Site(1, 3)).values
    assert torch.equal(edited, (batch.residuals[:, 1, 3].float() + 1.0).bfloat16())


def test_thoughts_and_an_ordinary_answer_fit_without_a_copy_of_the_cache(
    model: Any, problems: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = []
    monkeypatch.setattr(KVCache, "_grow", lambda cache, capacity: grown.append(capacity))
    for batch in model.batches(problems):
        assert model.rollout(batch).cache.capacity >= batch.ids.shape[1] + model.n_thoughts
    assert grown == []


def test_an_answer_ends_where_the_positions_end(make_model: Callable[..., Any]) -> None:
    model = make_model("gpt2")
    state = model.prefill(torch.full((1, 151), 9))
    for _ in range(model.n_thoughts):
        state = model.step_thought(state)
    # 160 positions: 151 of the question, 6 thoughts and <eot> leave room for two to read, and a third is never read
    assert model.decode(state, stop_at_eos=False).ids.shape == (1, 3)


def test_a_question_that_is_too_long_is_named(make_model: Callable[..., Any]) -> None:
    model = make_model("gpt2")
    mask = torch.ones(3, 161, dtype=torch.bool)
    mask[0, :100] = mask[2, :1] = False
    with pytest.raises(ConfigError) as told:
        model.prefill(torch.full((3, 161), 9), mask, ("short", "long", "shorter"))
    assert told.value.rule == "The question 'long' is 161 tokens long; the model has 160 positions."
