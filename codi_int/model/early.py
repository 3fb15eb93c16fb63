"""Early stopping: what a model answers when `<eot>` is fed after some of its thoughts, or after more than it learnt.

All numbers of thoughts share one rollout: what was read up to thought k does not depend on what is read behind it, so
the cache is cut back to thought k and the answer is written from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codi_int.data.problems import ProblemsLike, as_problems
from codi_int.errors import ConfigError
from codi_int.model.chain import ChainState, Decoded
from codi_int.model.hooked import BATCH_SIZE, CodiModel
from codi_int.model.rollout import QuestionBatch, complete, usual_opening
from codi_int.model.scoring import verify
from codi_int.numeric import as_whole
from codi_int.progress import Progress, count_up
from codi_int.types import Completion


@dataclass(frozen=True)
class AnswersByThoughts:
    """What a model answers after each number of thoughts, from 0 on."""

    completions: tuple[tuple[Completion, ...], ...]
    """for each number of thoughts the answers, in the order of the problems"""
    logprobs: Float[Tensor, "n counts"]
    """log-probability in nats, after each number of thoughts, of what is answered after the model's own number"""


def answer_after(
    model: CodiModel,
    problems: ProblemsLike,
    thoughts: Any = None,
    batch_size: int = BATCH_SIZE,
    progress: Progress | None = None,
) -> list[Completion]:
    """What the model answers when it is stopped after so many thoughts: `<eot>` is fed at once.

    Args:
        model: the model; hooks that are set fire at the positions that are reached.
        problems: problems, one of them, or the text of a question.
        thoughts: how many, from 0; default the model's own number, which gives what `model.answer` does. More than that
            go on feeding the projected state.
        batch_size: most problems of a batch.
        progress: called after every batch.

    Returns:
        one completion per problem, in the order given.

    Raises:
        ConfigError: for a number below 0, or one for which some question leaves no room.
    """
    problems = as_problems(problems)
    count = model.n_thoughts if thoughts is None else as_whole("thoughts", thoughts)
    written: dict[int, Completion] = {}
    guess: tuple[int, ...] = ()
    add = count_up(progress, f"answers after {count} thoughts", len(problems))
    for batch in roomy_batches(model, problems, count, batch_size):
        with torch.no_grad():
            state = model.prefill(batch.ids, batch.mask, batch.problem_ids)
            for _ in range(count):
                state = model.step_thought(state)
            found = _completions(model, state, model.decode(state, guess=guess))
        # the first batch shows how answers begin, as in `CodiModel.think`
        guess = guess or usual_opening(found)
        written.update(zip(batch.rows, found, strict=True))
        add(len(batch.rows))
    return [written[row] for row in range(len(problems))]


def answer_after_each(
    model: CodiModel,
    problems: ProblemsLike,
    most: Any = None,
    batch_size: int = BATCH_SIZE,
    progress: Progress | None = None,
) -> AnswersByThoughts:
    """`answer_after` for every number of thoughts from 0 to `most`, from one rollout.

    Args:
        model: the model.
        problems: problems, one of them, or the text of a question.
        most: the largest number of thoughts; default the model's own.
        batch_size: most problems of a batch.
        progress: called after every batch.

    Raises:
        ConfigError: as `answer_after`.
    """
    problems = as_problems(problems)
    most = model.n_thoughts if most is None else as_whole("thoughts", most)
    batches = roomy_batches(model, problems, most, batch_size)
    add = count_up(progress, f"answers after 0 to {most} thoughts", len(problems))
    parts: list[AnswersByThoughts] = []
    guess: tuple[int, ...] = ()
    for batch in batches:
        with torch.no_grad():
            parts.append(_answer_batch(model, batch, most, guess))
        if not guess and most >= model.n_thoughts:
            guess = usual_opening(parts[0].completions[model.n_thoughts])
        add(len(batch.rows))
    order = [row for batch in batches for row in batch.rows]
    back = torch.tensor(order, device=model.device).argsort()
    places = back.tolist()
    rows = [[one for part in parts for one in part.completions[count]] for count in range(most + 1)]
    return AnswersByThoughts(
        completions=tuple(tuple(row[place] for place in places) for row in rows),
        logprobs=torch.cat([part.logprobs for part in parts])[back],
    )


def roomy_batches(model: CodiModel, problems: ProblemsLike, thoughts: int, batch_size: int) -> list[QuestionBatch]:
    """The problems in batches, once it is known that so many thoughts and a beginning of an answer fit behind each.

    Raises:
        ConfigError: for a number below 0, or one for which some question leaves no room.
    """
    if thoughts < 0:
        raise ConfigError(f"thoughts is {thoughts}; it takes whole numbers from 0.", "0 answers right after <bot>.")
    opening = 1 if model.config.remove_eos else 2
    needed = max(thoughts, model.n_thoughts)
    batches = model.batches(problems, batch_size, n_thoughts=needed)
    # batches go from the shortest question to the longest, which no row of the last one pads
    longest = batches[-1].ids.shape[1] if batches else 0
    room = model.stack.max_positions - longest - opening
    if room < needed:
        raise ConfigError(
            f"thoughts is {thoughts}: the longest question has {longest} tokens, and of the model's "
            f"{model.stack.max_positions} positions {max(room, 0)} are left for thoughts.",
            "Ask for fewer, or leave the longest problems out.",
        )
    return batches


def _answer_batch(model: CodiModel, batch: QuestionBatch, most: int, guess: tuple[int, ...]) -> AnswersByThoughts:
    width = batch.ids.shape[1]
    states = [model.prefill(batch.ids, batch.mask, batch.problem_ids)]
    for _ in range(model.n_thoughts):
        states.append(model.step_thought(states[-1]))
    # before any further thought, which would have to be cut off for it
    final = model.decode(states[-1], guess=guess).checked()
    _check_room(model, width + most, final, most)
    for _ in range(model.n_thoughts, most):
        states.append(model.step_thought(states[-1]))
    answers = _completions(model, states[model.n_thoughts], final)
    completions: dict[int, tuple[Completion, ...]] = {}
    logprobs: dict[int, Tensor] = {}
    # from the last thought to the first, since writing behind thought k overwrites the slots of those that follow
    for count in range(len(states) - 1, -1, -1):
        if count == model.n_thoughts:
            # written already, with the log-probability of every token on the way
            completions[count], logprobs[count] = answers, final.logprobs.sum(1)
            continue
        current = states[count]
        current.cache.truncate(width + count)
        completions[count], logprobs[count] = _answer_from(model, current, final, answers)
    counts = range(most + 1)
    return AnswersByThoughts(tuple(completions[k] for k in counts), torch.stack([logprobs[k] for k in counts], 1))


def _check_room(model: CodiModel, read: int, final: Decoded, most: int) -> None:
    """ConfigError where the longest final answer would not fit behind the largest number of thoughts."""
    tokens = final.ids.shape[1] - 1 + (1 if model.config.remove_eos else 2)
    if read + tokens > model.stack.max_positions:
        raise ConfigError(
            f"thoughts is {most}: behind so many, a final answer of {final.ids.shape[1]} tokens does not fit into the "
            f"model's {model.stack.max_positions} positions.",
            "Ask for fewer, or leave the longest problems out.",
        )


def _answer_from(
    model: CodiModel, state: ChainState, final: Decoded, answers: Sequence[Completion]
) -> tuple[tuple[Completion, ...], Float[Tensor, " batch"]]:
    """What a batch answers from a state, and the log-probability of its final answers there."""
    # The final answers are read in one forward; rows that choose otherwise write on from there.
    read: list[Tensor] = []
    decoded = model.decode(state, guess=final.ids[:, :-1], watch=read.append)
    logits = read[0]
    if logits.shape[1] < final.ids.shape[1]:  # hooks on the answer see it word by word, so nothing was guessed
        logits = model.teacher_force(state, final.ids[:, :-1])
    everyone: Int[Tensor, " batch"] = torch.arange(len(answers), device=final.ids.device)
    found = verify(logits, final, everyone, tolerance=0.0)
    # an answer that a limit has cut may go on where fewer thoughts leave more room
    other: Bool[Tensor, " batch"] = found.changed | ~final.ended
    written = _completions(model, state, decoded)
    kept = zip(written, answers, other.tolist(), strict=True)
    return tuple(new if changed else old for new, old, changed in kept), found.logprobs


def _completions(model: CodiModel, state: ChainState, decoded: Decoded) -> tuple[Completion, ...]:
    return complete(decoded.checked(), state.problem_ids, model.texts_of, model.config.answer_rule)
