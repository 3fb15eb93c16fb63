"""Thinking and answering against the plain Hugging Face loop, and independence of batch and order."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from codi_int.errors import ConfigError, SiteError
from codi_int.model.parity import plain_run
from codi_int.types import Site

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def test_every_layer_thought_and_answer_equal_the_plain_loop(model: Any, problems: list[Any], plain: Any) -> None:
    batch = model.think(problems, capture="all", answers=True)
    assert batch.residuals.shape == (7, 4, 7, 32)
    for row, problem in enumerate(problems):
        expected = plain(model, list(model.encode_question(problem)), 7)
        residuals = expected.hidden_states[:, 1:-1].transpose(0, 1)
        torch.testing.assert_close(batch.residuals[row, :-1], residuals, **CLOSE)
        torch.testing.assert_close(batch.thoughts[row], expected.thoughts, **CLOSE)
        assert batch.completions[row].ids == expected.ids
        assert batch.completions[row].problem_id == problem.id


def test_the_last_layer_is_taken_before_the_final_norm(model: Any, problems: list[Any], plain: Any) -> None:
    sites = [Site(3, 2), Site(None, 2, "final_norm")]
    batch = model.think(problems[:1], capture=sites)
    normed = model.stack.final_norm(batch.at(sites[0]).values)
    expected = plain(model, list(model.encode_question(problems[0])), 1).hidden_states[2, -1]
    torch.testing.assert_close(normed[0], expected, **CLOSE)
    torch.testing.assert_close(batch.at(sites[1]).values[0], expected, **CLOSE)


@pytest.mark.parametrize("variant", [{"remove_eos": False}, {"suppress_last_id": True}, {"prj_no_ln": True}])
def test_conventions_of_other_checkpoints_equal_the_plain_loop(
    variant: dict[str, bool], make_model: Callable[..., Any], problems: list[Any], plain: Any
) -> None:
    model = make_model("gpt2", **variant)
    ids = list(model.encode_question(problems[0]))
    assert ids[-2:] == ([3, model.config.bot_id] if variant.get("remove_eos") is False else [ids[-2], ids[-1]])
    expected = plain(model, ids, 7)
    batch = model.think(problems[:1], answers=True)
    torch.testing.assert_close(batch.thoughts[0], expected.thoughts, **CLOSE)
    assert batch.completions[0].ids == expected.ids


def test_results_do_not_depend_on_batch_or_order(model: Any, problems: list[Any]) -> None:
    together = model.think(problems, capture="all", answers=True)
    for order in ([3], list(range(6, -1, -1))):
        some = model.think([problems[i] for i in order], capture="all", answers=True, batch_size=2)
        torch.testing.assert_close(some.residuals, together.residuals[order], **CLOSE)
        torch.testing.assert_close(some.thoughts, together.thoughts[order], **CLOSE)
        assert [c.ids for c in some.completions] == [together.completions[i].ids for i in order]


def test_results_do_not_depend_on_padding(model: Any, problems: list[Any]) -> None:
    together = model.think(problems, capture="all")
    encoded = [model.encode_question(problem) for problem in problems]
    width = max(map(len, encoded)) + 3
    ids = torch.tensor([[0] * (width - len(e)) + list(e) for e in encoded])
    mask = torch.tensor([[0] * (width - len(e)) + [1] * len(e) for e in encoded])
    padded = model.think_tokens(ids, mask, max_new_tokens=7)
    torch.testing.assert_close(padded.residuals, together.residuals, **CLOSE)
    torch.testing.assert_close(padded.thoughts, together.thoughts, **CLOSE)


def test_think_tokens_writes_on_behind_an_end_token(
    make_model: Callable[..., Any], problems: list[Any], plain: Any
) -> None:
    probe = make_model("llama")
    ids = list(probe.encode_question(problems[0]))
    free = plain(probe, ids, 9, stop=False).ids
    end = next(i for i, token in enumerate(free) if i and token not in free[:i])
    model = make_model("llama", eos_id=free[end])
    written = model.think_tokens(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long), 9).completion_ids
    assert tuple(written[0].tolist()) == free
    assert model.answer(problems[:1])[0].ids == free[:end]


def test_rows_that_end_early_do_not_disturb_the_others(
    make_model: Callable[..., Any], problems: list[Any], plain: Any
) -> None:
    probe = make_model("gpt2", seed=5, max_new_tokens=12)
    seen = Counter(i for c in probe.answer(problems) for i in c.ids)
    ends = [eos for eos, _ in seen.most_common()]
    for eos in ends[1:3]:
        model = make_model("gpt2", seed=5, max_new_tokens=12, eos_id=eos)
        expected = [plain(model, list(model.encode_question(p)), 12).ids for p in problems]
        assert [c.ids for c in model.answer(problems)] == expected


def test_text_and_number_of_an_answer(llama: Any, problems: list[Any], tokenizer: Any) -> None:
    from codi_int.model.chain import Decoded

    ids = tokenizer("The answer is: 42", add_special_tokens=False)["input_ids"]
    row = torch.tensor([[*ids, 3]])
    done = Decoded(row, torch.tensor([len(ids) + 1]), torch.tensor([True]), torch.zeros(row.shape), row.float())
    (completion,) = llama._completions(("p0",), done)
    assert completion.answer == 42
    assert completion.ids == tuple(ids)
    assert completion.text.startswith("The answer is")


@pytest.mark.usefixtures("as_users_call")
def test_sites_that_do_not_exist_are_refused_with_what_exists(model: Any, problems: list[Any]) -> None:
    with pytest.raises(SiteError, match=r"Layer 4 does not exist: .* layers 0 to 3"):
        model.think(problems, capture=[Site(4, 3)])
    with pytest.raises(SiteError, match=r"Position 7 does not exist: .* positions 0 \(<bot>\) to 6"):
        model.think(problems, capture=[Site(3, 7)])
    with pytest.raises(SiteError, match="mlp_in"):
        Site(3, 3, "mlp_in")  # type: ignore[arg-type]
    with pytest.raises(SiteError, match="'everything' is no site"):
        model.think(problems, capture="everything")


def test_a_question_that_is_too_long_is_refused(llama: Any) -> None:
    from codi_int.types import Problem

    with pytest.raises(ConfigError, match="160 positions"):
        llama.think([Problem("long", "5 " * 200, 1, ())])
    with pytest.raises(ConfigError, match="no problems"):
        llama.think([])


def test_the_hash_tells_weights_apart(make_model: Callable[..., Any]) -> None:
    assert make_model("llama").sha256 == make_model("llama").sha256
    assert make_model("llama").sha256 != make_model("llama", seed=1).sha256


def test_an_answer_ends_where_the_positions_do(make_model: Callable[..., Any], problems: list[Any], plain: Any) -> None:
    model = make_model("gpt2", max_new_tokens=999, eos_id=None)
    ids = list(model.encode_question(problems[0]))
    room = 160 - len(ids) - 6  # 160 positions; <eot> takes one, and the last token written takes none
    assert model.answer(problems[:1])[0].ids == plain(model, ids, room).ids
    assert plain_run(model, problems[0]).ids == plain(model, ids, room).ids
    assert len(model.write_chain(problems[:1], 999)[0].ids) == 160 - (len(ids) - 1) + 1
    with pytest.raises(ConfigError, match="160 positions"):
        model.think_tokens(torch.tensor([ids]), max_new_tokens=room + 1)
