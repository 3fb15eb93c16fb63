"""Problems as tensors for a pretrained tokenizer: batches that are a function of the recipe and of their number."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from codi_int.data.problems import load_problems
from codi_int.data.renewal import renew
from codi_int.data.steps import write_step
from codi_int.data.story_tokenizer import ANSWER_PHRASE
from codi_int.errors import CheckpointError, DataError
from codi_int.model.codi import clean_question
from codi_int.training.base_recipe import BaseRecipe
from codi_int.types import Problem


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the tokens that are not text."""

    pad: int
    bot: int
    eot: int
    eos: int


@dataclass(frozen=True)
class Encoded:
    """A problem in tokens."""

    question: list[int]
    """as the model gets it, without <bot>"""
    chain: list[int]
    """the written steps without the last, as published: its result is the answer"""
    answer: list[int]
    """the phrase, the number, the end token"""
    colon: int
    """index in `answer` of the token before the number"""


@dataclass(frozen=True)
class BaseBatch:
    """Some problems."""

    question: Int[Tensor, "batch t_question"]
    """ending in <bot>, padded on the left"""
    question_mask: Bool[Tensor, "batch t_question"]
    """which tokens are no padding"""
    answer: Int[Tensor, "batch t_answer"]
    """<eot>, answer and end token, padded on the right"""
    answer_mask: Bool[Tensor, "batch t_answer"]
    """which tokens are no padding"""
    written: Int[Tensor, "batch t_written"]
    """question, written chain, answer and end token, padded on the right"""
    written_mask: Bool[Tensor, "batch t_written"]
    """which tokens are no padding"""
    targets: Bool[Tensor, "batch t_written"]
    """which of them are to be predicted: everything behind the question"""
    colons: Int[Tensor, "batch 2"]
    """where the token before the number stands, in `answer` and in `written`"""

    def to(self, device: torch.device) -> "BaseBatch":
        """The same on a device."""
        return BaseBatch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


class BaseProblems:
    """The problems of a run, with a tokenizer."""

    def __init__(self, recipe: BaseRecipe, tokenizer: Any, special: SpecialIds) -> None:
        """
        Raises:
            DataError: no problem has steps whose last gives the answer, or none is short enough.
        """
        self._recipe, self._tokenizer, self._special = recipe, tokenizer, special
        given = load_problems(recipe.data)
        solved = [one for one in given if one.steps and one.steps[-1].result == one.answer]
        if not solved:
            raise DataError(
                f"None of the {len(given)} problems of {recipe.data} has written steps that end in its answer.",
                "Give problems with <<a*b=c>> marks, such as GSM8K's train.jsonl.",
            )
        self.problems = [one for one in solved if self._fits(one)]
        if len(self.problems) < recipe.batch_size:
            raise DataError(
                f"{len(self.problems)} problems of {recipe.data} have steps and {recipe.longest} tokens at most; "
                f"a batch is {recipe.batch_size}.",
                "Give more problems, a smaller batch_size (--batch-size) or more tokens (longest).",
            )

    def _fits(self, problem: Problem) -> bool:
        one = self._encode(problem)
        return len(one.question) + len(one.chain) + len(one.answer) + 1 <= self._recipe.longest

    def batch(self, number: int) -> BaseBatch:
        """The batch with this number, from 0: every problem once before any comes again."""
        size, n = self._recipe.batch_size, len(self.problems)
        rows = []
        for place in range(number * size, (number + 1) * size):
            epoch, index = divmod(place, n)
            order = self._order(epoch)
            rows.append(self._encode(self._drawn(self.problems[order[index]], epoch)))
        return make_batch(rows, self._special)

    def _order(self, epoch: int) -> list[int]:
        order = list(range(len(self.problems)))
        random.Random(f"{self._recipe.seed}:order:{epoch}").shuffle(order)
        return order

    def _drawn(self, problem: Problem, epoch: int) -> Problem:
        """The problem with other numbers, as often as the recipe says and where that can be done."""
        seed = f"{self._recipe.seed}:{epoch}"
        if random.Random(f"{seed}:renew:{problem.id}").random() >= self._recipe.renewed:
            return problem
        found = renew(problem, seed)
        # a number may have become longer in tokens
        return problem if found is None or not self._fits(found) else found

    def _encode(self, problem: Problem) -> Encoded:
        question = list(self._tokenizer(clean_question(problem))["input_ids"])
        text = replace(problem, question="")
        chain = self._plain("".join(map(write_step, text.steps[:-1])))
        phrase, whole = self._plain(ANSWER_PHRASE), self._plain(f"{ANSWER_PHRASE} {_written(problem.answer)}")
        if whole[: len(phrase)] != phrase or len(whole) == len(phrase):
            raise CheckpointError(
                f"The tokenizer joins {ANSWER_PHRASE!r} and the number behind it into other tokens.",
                "Only tokenizers that part a text at ': ' can be trained here.",
            )
        return Encoded(question, chain, [*whole, self._special.eos], len(phrase) - 1)

    def _plain(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []


def _written(answer: int | float) -> str:
    return str(int(answer)) if float(answer).is_integer() else str(answer)


def make_batch(rows: Sequence[Encoded], special: SpecialIds) -> BaseBatch:
    """Tensors of some problems."""
    questions = [[*one.question, special.bot] for one in rows]
    answers = [[special.eot, *one.answer] for one in rows]
    written = [[*one.question, *one.chain, *one.answer] for one in rows]
    question, question_mask = _padded(questions, special.pad, left=True)
    answer, answer_mask = _padded(answers, special.pad)
    whole, written_mask = _padded(written, special.pad)
    starts = torch.tensor([len(one.question) for one in rows])
    # in `answer` <eot> stands before the phrase
    colons = [[1 + one.colon, len(one.question) + len(one.chain) + one.colon] for one in rows]
    return BaseBatch(
        question=question,
        question_mask=question_mask,
        answer=answer,
        answer_mask=answer_mask,
        written=whole,
        written_mask=written_mask,
        targets=written_mask & (torch.arange(whole.shape[1]) >= starts[:, None]),
        colons=torch.tensor(colons),
    )


def _padded(rows: Sequence[list[int]], pad: int, left: bool = False) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    filled = [[pad] * (width - len(row)) + row if left else row + [pad] * (width - len(row)) for row in rows]
    marks = [_marks(len(row), width, left) for row in rows]
    return torch.tensor(filled), torch.tensor(marks)


def _marks(length: int, width: int, left: bool) -> list[bool]:
    real, filling = [True] * length, [False] * (width - length)
    return filling + real if left else real + filling
