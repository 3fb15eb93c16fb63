"""Hooks fire where they say, refuse what cannot work, and are gone afterwards."""

from functools import partial
from typing import Any

import pytest
import torch

from codi_int.errors import ConfigError, HookError, SiteError
from codi_int.model.hooks import HookContext, HookPoint
from codi_int.types import Site

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def torch_hooks(model: Any) -> int:
    modules = [*model.hf.modules(), *model.projection.modules()]
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


def test_a_site_hook_sees_and_replaces_one_position(model: Any, problems: list[Any]) -> None:
    site, seen = Site(1, 3), []
    clean = model.think(problems, capture="all")

    def zero(resid: torch.Tensor, context: Any) -> torch.Tensor:
        seen.append((context.site, context.position, context.name, resid.shape[1], context.layer()))
        return torch.zeros_like(resid)

    with model.hooks({site: zero}):
        edited = model.think(problems, capture="all")
    assert set(seen) == {(site, 3, "blocks.1.hook_resid_post", 32, 1)}
    assert (edited.residuals[:, 1, 3] == 0).all()
    torch.testing.assert_close(edited.residuals[:, :, :3], clean.residuals[:, :, :3], **CLOSE)
    torch.testing.assert_close(edited.residuals[:, :1, 3], clean.residuals[:, :1, 3], **CLOSE)
    assert (edited.residuals[:, 2:, 3] - clean.residuals[:, 2:, 3]).abs().amax(-1).min() > 1e-4
    assert (edited.residuals[:, :, 4:] - clean.residuals[:, :, 4:]).abs().amax(-1).min() > 1e-6


def test_a_zeroed_layer_output_equals_a_plain_torch_hook(llama: Any, problems: list[Any], plain: Any) -> None:
    """The oracle: Hugging Face's forward with torch's own hook on the block, for the third thought only."""
    calls = [0]

    def zero(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor | None:
        calls[0] += 1
        return torch.zeros_like(output) if calls[0] == 4 else None

    ids = list(llama.encode_question(problems[0]))
    handle = llama.hf.model.layers[1].register_forward_hook(zero)
    try:
        expected = plain(llama, ids, 7)
    finally:
        handle.remove()
    with llama.hooks({Site(1, 3): lambda resid, context: 0 * resid}):
        batch = llama.think(problems[:1], capture="all", answers=True)
    states = expected.hidden_states[:, 1:-1].transpose(0, 1).clone()
    states[1, 3] = 0  # Hugging Face writes this one down before or after the hook, as its own hooks happen to stand
    torch.testing.assert_close(batch.residuals[0, :-1], states, **CLOSE)
    assert batch.completions[0].ids == expected.ids


def test_a_hook_that_returns_none_only_reads(model: Any, problems: list[Any]) -> None:
    seen = []
    clean = model.think(problems[:2], capture=[Site(2, 1)])
    with model.hooks({Site(2, 1): lambda resid, context: seen.append(resid.clone())}):
        again = model.think(problems[:2])
    torch.testing.assert_close(torch.cat(seen), clean.at(Site(2, 1)).values, **CLOSE)
    torch.testing.assert_close(again.thoughts, clean.thoughts, **CLOSE)


def test_functions_in_the_manner_of_transformer_lens(model: Any, problems: list[Any]) -> None:
    seen = []

    def keep(tensor: torch.Tensor, hook: Any, tag: str = "") -> None:
        seen.append((hook.name, hook.position, hook.layer(), tuple(tensor.shape[2:]), tag))

    def keep_by_partial(tensor: torch.Tensor, tag: str, hook: Any) -> None:
        seen.append((hook.name, hook.position, hook.layer(), tuple(tensor.shape[2:]), tag))

    point = HookPoint("blocks.0.attn.hook_z", (2, "answer"))
    with model.hooks({"blocks.2.attn.hook_q": keep, point: partial(keep_by_partial, tag="x")}):
        model.answer(problems[:1])
    assert next(s for s in seen if s[4] == "x") == ("blocks.0.attn.hook_z", 2, 0, (4, 8), "x")
    assert {s[1] for s in seen if s[4] == "x"} == {2, "answer"}
    assert {s[1] for s in seen if s[4] == ""} == {0, 1, 2, 3, 4, 5, 6, "answer"}


def test_receipts_count_calls_by_position(llama: Any, problems: list[Any]) -> None:
    batches = len(llama.batches(problems))
    with llama.hooks({Site(1, 3): lambda r, c: None, "blocks.2.hook_mlp_out": lambda t, hook: None}) as session:
        llama.think(problems)
    on_site, on_name = session.receipts
    assert on_site.fired == {3: batches}
    assert on_name.fired == dict.fromkeys(range(7), batches)
    assert on_name.total == 7 * batches


@pytest.mark.parametrize(
    ("fn", "signature"),
    [(lambda resid: resid, "(resid)"), (lambda a, b, c: a, "(a, b, c)"), (lambda *, hook: 0, "(*, hook)")],
)
def test_a_hook_of_other_arguments_is_refused_before_anything_runs(llama: Any, fn: Any, signature: str) -> None:
    with pytest.raises(HookError) as told, llama.hooks({Site(1, 3): fn}):
        raise AssertionError("the block runs")
    assert told.value.rule.startswith(f"The hook at L1.P3 takes {signature}, and is called with a tensor and a context")
    assert llama.n_hooks == 0


def test_several_hooks_at_one_place_work_one_after_the_other(llama: Any, problems: list[Any]) -> None:
    site = Site(1, 3)
    double = {"blocks.1.hook_resid_post": lambda t, hook: 2 * t if hook.position == 3 else None}
    with llama.hooks({site: lambda r, c: torch.ones_like(r)}), llama.hooks(double):
        assert llama.n_hooks == 2
        batch = llama.think(problems[:1], capture=[site])
    assert (batch.at(site).values == 2).all()


@pytest.mark.parametrize("bad", [torch.zeros(1), "text", 3])
@pytest.mark.usefixtures("as_users_call")
def test_an_unusable_return_value_is_refused_and_nothing_stays(llama: Any, problems: list[Any], bad: Any) -> None:
    before = torch_hooks(llama)
    with pytest.raises(HookError, match=r"L1\.P3 returned"), llama.hooks({Site(1, 3): lambda r, c: bad}):
        llama.think(problems)
    assert llama.n_hooks == 0
    assert torch_hooks(llama) == before


def test_an_integer_tensor_is_refused(llama: Any, problems: list[Any]) -> None:
    with pytest.raises(HookError, match="int64"), llama.hooks({Site(1, 3): lambda r, c: r.long()}):
        llama.think(problems)


def test_no_hook_survives_its_block_also_after_an_exception(model: Any, problems: list[Any]) -> None:
    clean, before = model.think(problems[:2]).thoughts, torch_hooks(model)
    with model.hooks({Site(1, 3): lambda r, c: 0 * r}):
        model.think(problems[:2])
    with pytest.raises(ZeroDivisionError), model.hooks({Site(1, 3): lambda r, c: 1 / 0}):
        model.think(problems[:2])
    assert model.n_hooks == 0
    assert torch_hooks(model) == before
    torch.testing.assert_close(model.think(problems[:2]).thoughts, clean)


def test_a_hook_that_never_fired_is_an_error(llama: Any, problems: list[Any]) -> None:
    point = HookPoint("blocks.1.hook_resid_post", ("answer",))
    table = {point: lambda t, hook: None, Site(1, 1): lambda r, c: None}
    with pytest.raises(HookError, match=r"Never fired: blocks\.1\.hook_resid_post at answer"), llama.hooks(table):
        llama.think(problems[:1])
    with pytest.raises(KeyError), llama.hooks({Site(1, 1): lambda r, c: None}):
        raise KeyError("an error of the user's own is not covered up")


@pytest.mark.usefixtures("as_users_call")
def test_places_that_do_not_exist_are_refused_before_the_run(llama: Any) -> None:
    table: list[tuple[Any, type[Exception], str]] = [
        ("blocks.1.hook_resid_pots", HookError, "blocks.1.hook_resid_post"),
        ("blocks.9.hook_resid_post", HookError, "No hook is named"),
        (HookPoint("blocks.1.hook_resid_post", (7,)), HookError, "0 to 6 and 'answer'"),
        (Site(16, 3), SiteError, "layers 0 to 3"),
        (Site(1, 7), SiteError, "to 6"),
    ]
    for key, error, text in table:
        with pytest.raises(error, match=text), llama.hooks({key: lambda t, c: None}):
            raise AssertionError("the block was entered")
    with pytest.raises(HookError, match="cannot be called"), llama.hooks({Site(1, 3): 3}):
        raise AssertionError("the block was entered")
    with pytest.raises(ConfigError, match="propagate"), llama.hooks({Site(1, 3): lambda t, c: None}, propagate="none"):
        raise AssertionError("the block was entered")
    assert llama.n_hooks == 0


def test_a_hook_outside_every_block_has_no_layer() -> None:
    context = HookContext(name="hook_thought", position=1, problem_ids=())
    with pytest.raises(ValueError, match="invalid literal"):
        context.layer()
