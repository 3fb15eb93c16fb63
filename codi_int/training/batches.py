"""Stories as tensors: batches of one question length, so that the question needs no padding."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codi_int.data import story_tokenizer as st
from codi_int.data.answers import write_step
from codi_int.data.stories import story, training_stories
from codi_int.types import Problem

ANSWER_INPUTS = 6
"""<eot> The answer is : number"""
COLON = 4
"""index of the token before the number among them"""


@dataclass(frozen=True)
class StoryBatch:
    """Stories whose questions have the same number of tokens."""

    question: Int[Tensor, "batch t_question"]
    """<bos> and the question"""
    written: Int[Tensor, "batch t_written"]
    """written chain without its last step, answer, <eos>; padded on the right"""
    written_mask: Bool[Tensor, "batch t_written"]
    """which of them are no padding"""
    answer: Int[Tensor, "batch 7"]
    """<eot>, answer, <eos>"""
    n_steps: Int[Tensor, " batch"]
    """steps of each story"""

    def part(self, rank: int, world: int) -> "StoryBatch":
        """Every `world`-th row, beginning with `rank`."""
        return StoryBatch(*(getattr(self, name)[rank::world] for name in self.__dataclass_fields__))

    @property
    def written_colon(self) -> Int[Tensor, " batch"]:
        """Index in `written` of the token before the number."""
        return self.written_mask.sum(1) - 3


@dataclass(frozen=True)
class DrillBatch:
    """Lines of bare calculations, `<bos> <<a*b=c>> <<d+e=f>> ...`."""

    ids: Int[Tensor, "batch t"]
    """token ids"""
    weights: Float[Tensor, "batch t"]
    """weight of each token as a target: the results count, what cannot be known does not"""

    def part(self, rank: int, world: int) -> "DrillBatch":
        """Every `world`-th row, beginning with `rank`."""
        return DrillBatch(self.ids[rank::world], self.weights[rank::world])


def make_batch(problems: list[Problem]) -> StoryBatch:
    """Tensors of stories whose questions have the same length."""
    bos, eos, eot, pad = st.encode_special(st.BOS, st.EOS, st.EOT, st.PAD)
    answers = [[*st.encode_words(f"{st.ANSWER_PHRASE} {p.answer}"), eos] for p in problems]
    chains = [st.encode_words("".join(map(write_step, p.steps[:-1]))) for p in problems]
    written = [chain + answer for chain, answer in zip(chains, answers, strict=True)]
    longest = max(map(len, written))
    rows = torch.tensor([row + [pad] * (longest - len(row)) for row in written])
    lengths = torch.tensor([len(row) for row in written])
    return StoryBatch(
        question=torch.tensor([[bos, *st.encode_words(p.question)] for p in problems]),
        written=rows,
        written_mask=torch.arange(longest)[None] < lengths[:, None],
        # every answer has the same words and one token for its number, so this needs no padding
        answer=torch.tensor([[eot, *answer] for answer in answers]),
        n_steps=torch.tensor([len(p.steps) for p in problems]),
    )


def batches_by_length(problems: list[Problem], size: int) -> Iterator[StoryBatch]:
    """All problems, in batches of one question length and at most `size` rows."""
    groups: dict[int, list[Problem]] = defaultdict(list)
    for problem in problems:
        groups[len(st.encode_words(problem.question))].append(problem)
    for length in sorted(groups):
        for start in range(0, len(groups[length]), size):
            yield make_batch(groups[length][start : start + size])


class StoryStream:
    """Endless training batches of stories.

    Stories come one after the other and wait until there are enough of their length for a batch. A stream that is made
    with another one's `next_story` and `waiting` goes on as that one would.

    Args:
        start: index of the first story.
        size: stories in a batch.
        keep: the share of stories of 1, 2, 3 and 4 steps that is taken.
        waiting: indices of stories before `start` that wait for others of their length.
    """

    def __init__(
        self,
        start: int,
        size: int,
        keep: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0),
        waiting: Sequence[int] = (),
    ) -> None:
        self._keep = keep
        self.next_story = start
        self._size = size
        self._stories = training_stories(start)
        self._waiting: dict[int, list[Problem]] = defaultdict(list)
        # a story is a function of its index, so indices are enough to have the very same ones wait again
        for problem in (story("train", index) for index in waiting):
            self._group(problem).append(problem)

    @property
    def waiting(self) -> list[int]:
        """Indices of the stories that wait, in the order in which they came within each length."""
        return [_index(problem) for group in self._waiting.values() for problem in group]

    def _group(self, problem: Problem) -> list[Problem]:
        return self._waiting[len(st.encode_words(problem.question))]

    def __next__(self) -> StoryBatch:
        while True:
            problem = next(self._stories)
            self.next_story = _index(problem) + 1
            # drawn from the story's own name, not from a generator that goes on: whether a story is kept does not
            # depend on how many were looked at before, in this process or an earlier one
            if random.Random(f"keep:{problem.id}").random() >= self._keep[len(problem.steps) - 1]:
                continue
            group = self._group(problem)
            group.append(problem)
            if len(group) == self._size:
                batch = make_batch(group)
                group.clear()
                return batch


class DrillStream:
    """Endless drill lines, made of the steps of the training stories in order; goes on from `next_story`."""

    waiting: Sequence[int] = ()
    """no story waits here"""

    def __init__(self, start: int, size: int, facts: int) -> None:
        self.next_story = start
        self._size, self._facts = size, facts
        self._stories = training_stories(start)

    def __next__(self) -> DrillBatch:
        lines = []
        (bos,) = st.encode_special(st.BOS)
        for _ in range(self._size):
            marks: list[str] = []
            while len(marks) < self._facts:
                problem = next(self._stories)
                marks += map(write_step, problem.steps)
            # a line ends between two stories and takes nothing over from the one before, so this is all of the state
            self.next_story = _index(problem) + 1
            lines.append([bos, *st.encode_words("".join(marks[: self._facts]))])
        ids = torch.tensor(lines)
        weights = torch.full(ids.shape, 0.05)
        weights[:, 6::7] = 1.0  # the results: <bos> << a * b = [c] >> << ...
        return DrillBatch(ids, weights)


def _index(problem: Problem) -> int:
    """The index of a training story, which its id ends in."""
    return int(problem.id.rsplit("-", 1)[1])
