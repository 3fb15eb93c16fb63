"""Answers after each number of thoughts, against the plain loop and against the model's own answers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import codi_int as ci
from codi_int.errors import ConfigError
from codi_int.model.early import answer_after_each
from codi_int.model.loading import load_model


@torch.no_grad()
def plain_answer(plain: Callable[..., Any], model: Any, problem: Any, thoughts: int) -> tuple[int, ...]:
    """What the plain loop writes after so many thoughts: its own for one and more, without a cache for none."""
    config, ids = model.config, list(model.encode_question(problem))
    if thoughts:
        stopped = SimpleNamespace(hf=model.hf, projection=model.projection, config=replace(config, n_thoughts=thoughts))
        written: tuple[int, ...] = plain(stopped, ids, config.max_new_tokens).ids
        return written
    read = ids + ([config.eot_id] if config.remove_eos else [config.eot_id, config.eos_id])
    for _ in range(config.max_new_tokens):
        row = model.hf(torch.tensor([read])).logits[0, -1]
        read.append(int((row[:-1] if config.suppress_last_id else row).argmax()))
        if read[-1] == config.eos_id:
            break
    begin = len(ids) + (1 if config.remove_eos else 2)
    return tuple(token for token in read[begin:] if token != config.eos_id)


@torch.no_grad()
def plain_logprob(model: Any, problem: Any, thoughts: Tensor, answer: list[int]) -> float:
    """Log-probability of an answer behind given thoughts, in one forward of Hugging Face's model over embeddings."""
    embed = model.hf.get_input_embeddings()
    question = embed(torch.tensor(model.encode_question(problem)))
    opening = [model.config.eot_id] if model.config.remove_eos else [model.config.eot_id, model.config.eos_id]
    x = torch.cat([question, thoughts, embed(torch.tensor([*opening, *answer]))])
    logits = model.hf(inputs_embeds=x[None]).logits[0, -len(answer) - 1 : -1]
    logits = logits[:, :-1] if model.config.suppress_last_id else logits
    return float(logits.log_softmax(-1)[range(len(answer)), answer].sum())


def test_every_number_of_thoughts_is_the_plain_loops(model: Any, problems: list[Any], plain: Any) -> None:
    """From one rollout and from one of its own, padded and not, with more thoughts than the model has."""
    problems = problems[:4]  # of three lengths
    together = answer_after_each(model, problems, 8, batch_size=3)
    for k in (0, 1, 8):
        expected = [plain_answer(plain, model, problem, k) for problem in problems]
        assert [one.ids for one in together.completions[k]] == expected, k
        assert [one.ids for one in ci.answer_after(model, problems, thoughts=k, batch_size=3)] == expected, k
    assert len({tuple(one.ids for one in row) for row in together.completions}) > 1


@pytest.mark.parametrize("settings", [{"remove_eos": False, "suppress_last_id": True}, {"eos_id": None}])
def test_other_endings_and_openings(
    settings: dict[str, Any], make_model: Callable[..., Any], problems: list[Any], plain: Any
) -> None:
    model, problems = make_model(**settings), problems[:3]
    together = answer_after_each(model, problems)
    for k in (0, 2, 5):
        expected = [plain_answer(plain, model, problem, k) for problem in problems]
        assert [one.ids for one in together.completions[k]] == expected, k


def test_the_final_answers_log_probability_is_that_of_one_forward(llama: Any, problems: list[Any], plain: Any) -> None:
    problems = problems[:4]
    found = answer_after_each(llama, problems, 8)
    for i, problem in enumerate(problems):
        ids = found.completions[6][i].ids
        # the end token counts where the answer ended before its limit
        answer = [*ids, *([3] if len(ids) < 7 else [])]
        loop = SimpleNamespace(hf=llama.hf, projection=llama.projection, config=replace(llama.config, n_thoughts=8))
        thoughts = plain(loop, list(llama.encode_question(problem)), 1).thoughts
        for k in (0, 4, 6, 8):
            expected = plain_logprob(llama, problem, thoughts[:k], answer)
            assert float(found.logprobs[i, k]) == pytest.approx(expected, abs=1e-4), (i, k)


def test_the_models_own_number_is_what_it_answers(model: Any, problems: list[Any]) -> None:
    answers = model.answer(problems)
    assert ci.answer_after(model, problems) == answers
    assert list(answer_after_each(model, problems).completions[model.n_thoughts]) == answers


def test_hooks_reach_stopped_answers(llama: Any, problems: list[Any]) -> None:
    """A hook at thought 3 changes what is answered after three thoughts and leaves two alone."""
    clean = {k: ci.answer_after(llama, problems, thoughts=k) for k in (2, 3)}
    with llama.hooks({ci.Site(2, 3): lambda resid, context: -5 * resid}):
        assert ci.answer_after(llama, problems, thoughts=2) == clean[2]
        assert ci.answer_after(llama, problems, thoughts=3) != clean[3]


def test_numbers_of_thoughts_that_cannot_be_are_refused(llama: Any, problems: list[Any]) -> None:
    long = ci.Problem("long", "Tom has 3 apples" + " and 5 more" * 48, 0, ())
    longest, problems = len(llama.encode_question(long)), [*problems, long]
    room = 160 - longest - 1
    for thoughts, says in ((-1, "from 0"), (room + 1, f"{room} are left"), (2.5, "whole number")):
        with pytest.raises(ConfigError, match=says) as caught:
            ci.answer_after(llama, problems, thoughts=thoughts)
        assert len(str(caught.value).splitlines()) == 2
    for most, says in ((room + 1, "are left"), (room, "a final answer of")):
        with pytest.raises(ConfigError, match=says):
            answer_after_each(llama, problems, most)
    assert len(ci.answer_after(llama, problems[-1:], thoughts=room)) == 1


def test_a_model_in_our_own_format_takes_another_number(make_model: Callable[..., Any], tmp_path: Path) -> None:
    made = make_model()
    made.save(tmp_path)
    problem = "Tom has 3 apples and 5 more."
    for k in (2, 9):
        other = load_model(tmp_path, n_thoughts=k)
        assert (other.n_thoughts, other.name, other.sha256) == (k, f"tiny-llama ({k} of 6 thoughts)", made.sha256)
        assert other.answer(problem) == ci.answer_after(made, problem, thoughts=k)
    assert load_model(tmp_path, n_thoughts=6).name == "tiny-llama"
    with pytest.raises(ConfigError, match="n_thoughts is 0"):
        load_model(tmp_path, n_thoughts=0)


def test_the_golden_checkpoint_stops_where_the_plain_loop_stops(golden: Path, plain: Any) -> None:
    from safetensors.torch import load_file

    model = load_model(golden / "checkpoint", base=next(golden.glob("base-*")), lora_alpha=32)
    model.config = replace(model.config, max_new_tokens=12)
    numbers = load_file(golden / "golden.safetensors")
    rows = [
        ids[mask.bool()].tolist() for ids, mask in zip(numbers["input_ids"], numbers["attention_mask"], strict=True)
    ]
    texts = [model.tokenizer.decode(ids[:-1]) for ids in rows]
    problems = [ci.Problem(f"g{i}", text, 0, ()) for i, text in enumerate(texts)]
    # what tokenizes back into the golden ids: the official numbers belong to these
    kept = [i for i, problem in enumerate(problems) if list(model.encode_question(problem)) == rows[i]]
    assert kept
    chosen = [problems[i] for i in kept]
    found = answer_after_each(model, chosen)
    for k in (0, 3, 5):
        assert [one.ids for one in found.completions[k]] == [plain_answer(plain, model, p, k) for p in chosen], k
    for i, completion in zip(kept, found.completions[6], strict=True):
        written = numbers["generated_ids"][i].tolist()
        assert list(completion.ids[: len(written)]) == written[: len(completion.ids)]
