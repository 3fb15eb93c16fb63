"""The written chain against Hugging Face's own `generate`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from codi_int.errors import HookError
from codi_int.types import Site


def generated(model: Any, problem: Any, limit: int) -> tuple[int, ...]:
    """Greedy ids by Hugging Face for one question, read without <bot>; up to and without the end token."""
    ids = torch.tensor([model.tokenizer(problem.question)["input_ids"]])
    never = [model.stack.vocab_size - 1] if model.config.suppress_last_id else None
    out = model.hf.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=limit,
        do_sample=False,
        suppress_tokens=never,
        eos_token_id=model.config.eos_id,
        pad_token_id=0,
    )
    new = out[0, ids.shape[1] :].tolist()
    return tuple(new[: new.index(model.config.eos_id)] if model.config.eos_id in new else new)


def test_it_equals_hugging_faces_greedy_generate(model: Any, problems: list[Any]) -> None:
    written = model.write_chain(problems, max_new_tokens=12, batch_size=2)
    assert [c.ids for c in written] == [generated(model, p, 12) for p in problems]
    assert [c.problem_id for c in written] == [p.id for p in problems]
    assert [c.text for c in written] == [model.tokenizer.decode(c.ids, skip_special_tokens=True) for c in written]


def test_rows_end_at_the_end_token_each_at_its_own(make_model: Callable[..., Any], problems: list[Any]) -> None:
    free = [c.ids for c in make_model("llama").write_chain(problems, max_new_tokens=12)]
    end = next(t for t in free[0][2:] if t not in free[0][:2] and any(t not in ids for ids in free))
    model = make_model("llama", eos_id=end)
    written = [c.ids for c in model.write_chain(problems, max_new_tokens=12)]
    assert written == [generated(model, p, 12) for p in problems]
    assert len({len(ids) for ids in written}) > 1


@pytest.mark.parametrize("variant", [{"remove_eos": False}, {"suppress_last_id": True}])
def test_the_eos_before_bot_goes_too_and_the_last_id_stays_out(
    variant: dict[str, bool], make_model: Callable[..., Any], problems: list[Any]
) -> None:
    model = make_model("gpt2", **variant)
    assert [c.ids for c in model.write_chain(problems[:3], 9)] == [generated(model, p, 9) for p in problems[:3]]


def test_hooks_are_refused_because_they_could_not_fire(llama: Any, problems: list[Any]) -> None:
    with llama.hooks({Site(1, 0): lambda r, c: None}):
        llama.think(problems[:1])  # so that the hook has fired
        with pytest.raises(HookError, match="no thoughts"):
            llama.write_chain(problems[:1])
