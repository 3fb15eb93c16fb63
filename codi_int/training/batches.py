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
from codi_int.data.story_kinds import SHORT, StoryKind
from codi_int.types import Problem, Step

FIXED_WORDS = 5
"""The answer is : <eos>"""
COLON = 4
"""index of the token before the number in `<eot> The answer is : number <eos>`"""
BESIDE_RESULTS = 0.05
"""weight of a drill line's tokens that are no results"""


@dataclass(frozen=True)
class StoryBatch:
    """Stories whose questions have the same number of tokens."""

    question: Int[Tensor, "batch t_question"]
    """<bos> and the question"""
    written: Int[Tensor, "batch t_written"]
    """written chain without its last step, answer, <eos>; padded on the right"""
    written_mask: Bool[Tensor, "batch t_written"]
    """which of them are no padding"""
    answer: Int[Tensor, "batch t_answer"]
    """<eot>, answer, <eos>; padded on the right where a number has more tokens than another"""
    number_length: Int[Tensor, " batch"]
    """tokens of each answer's number"""
    n_steps: Int[Tensor, " batch"]
    """steps of each story"""

    def part(self, rank: int, world: int) -> "StoryBatch":
        """Every `world`-th row, beginning with `rank`."""
        return StoryBatch(*(getattr(self, name)[rank::world] for name in self.__dataclass_fields__))

    @property
    def written_colon(self) -> Int[Tensor, " batch"]:
        """Index in `written` of the token before the number."""
        return self.written_mask.sum(1) - 2 - self.number_length

    @property
    def number_mask(self) -> Bool[Tensor, "batch targets"]:
        """Which of the answer's targets, `answer[:, 1:]`, belong to the number."""
        behind = torch.arange(self.answer.shape[1] - 1)[None] - COLON
        return (behind >= 0) & (behind < self.number_length[:, None])

    @property
    def fixed_mask(self) -> Bool[Tensor, "batch targets"]:
        """Which of them are the words that every answer has."""
        place = torch.arange(self.answer.shape[1] - 1)[None]
        return (place < COLON) | (place == COLON + self.number_length[:, None])


@dataclass(frozen=True)
class DrillBatch:
    """Lines of bare calculations, `<bos> <<a*b=c>> <<d+e=f>> ...`."""

    ids: Int[Tensor, "batch t"]
    """token ids"""
    weights: Float[Tensor, "batch t"]
    """weight of each token as a target: the results count, what cannot be known hardly does, padding does not"""

    def part(self, rank: int, world: int) -> "DrillBatch":
        """Every `world`-th row, beginning with `rank`."""
        return DrillBatch(self.ids[rank::world], self.weights[rank::world])


def make_batch(problems: list[Problem]) -> StoryBatch:
    """Tensors of stories whose questions have the same length."""
    bos, eos, eot, pad = st.encode_special(st.BOS, st.EOS, st.EOT, st.PAD)
    answers = [[*st.encode_words(f"{st.ANSWER_PHRASE} {p.answer}"), eos] for p in problems]
    chains = [st.encode_words("".join(map(write_step, p.steps[:-1]))) for p in problems]
    written = [chain + answer for chain, answer in zip(chains, answers, strict=True)]
    rows, lengths = _padded(written, pad), torch.tensor([len(row) for row in written])
    return StoryBatch(
        question=torch.tensor([[bos, *st.encode_words(p.question)] for p in problems]),
        written=rows,
        written_mask=torch.arange(rows.shape[1])[None] < lengths[:, None],
        answer=_padded([[eot, *answer] for answer in answers], pad),
        number_length=torch.tensor([len(answer) - FIXED_WORDS for answer in answers]),
        n_steps=torch.tensor([len(p.steps) for p in problems]),
    )


def _padded(rows: list[list[int]], filling: int) -> Int[Tensor, "batch longest"]:
    longest = max(map(len, rows))
    return torch.tensor([row + [filling] * (longest - len(row)) for row in rows])


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
        keep: the share of stories of 1, 2, 3, ... steps that is taken; of longer ones than it names all are.
        waiting: indices of stories before `start` that wait for others of their length.
        kind: which stories.
    """

    def __init__(
        self,
        start: int,
        size: int,
        keep: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0),
        waiting: Sequence[int] = (),
        kind: StoryKind = SHORT,
    ) -> None:
        # Stories of more steps than there are shares are all taken
        self._keep = (*keep, *(1.0,) * (kind.max_steps - len(keep)))
        self.next_story = start
        self._size = size
        self._stories = training_stories(start, kind)
        self._waiting: dict[int, list[Problem]] = defaultdict(list)
        # a story is a function of its index, so indices are enough to have the very same ones wait again
        for problem in (story("train", index, kind=kind) for index in waiting):
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

    def __init__(self, start: int, size: int, facts: int, kind: StoryKind = SHORT) -> None:
        self.next_story = start
        self._size, self._facts = size, facts
        self._stories = training_stories(start, kind)

    def __next__(self) -> DrillBatch:
        lines, weights = [], []
        for _ in range(self._size):
            steps: list[Step] = []
            while len(steps) < self._facts:
                problem = next(self._stories)
                steps += problem.steps
            # a line ends between two stories and takes nothing over from the one before, so this is all of the state
            self.next_story = _index(problem) + 1
            line, counts = _drill_line(steps[: self._facts])
            lines.append(line)
            weights.append(counts)
        (pad,) = st.encode_special(st.PAD)
        longest = max(map(len, lines))
        padded = [row + [0.0] * (longest - len(row)) for row in weights]
        return DrillBatch(_padded(lines, pad), torch.tensor(padded))


def _drill_line(steps: Sequence[Step]) -> tuple[list[int], list[float]]:
    """The ids of `<bos> << a * b = c >> << ...`, and what each counts as a target: the results' tokens 1."""
    ids = list(st.encode_special(st.BOS))
    weights = [BESIDE_RESULTS]
    for step in steps:
        mark, result = st.encode_words(write_step(step)), st.encode_words(str(step.result))
        ids += mark
        # the result stands before the >> that ends the mark
        weights += [BESIDE_RESULTS] * (len(mark) - len(result) - 1) + [1.0] * len(result) + [BESIDE_RESULTS]
    return ids, weights


def _index(problem: Problem) -> int:
    """The index of a training story, which its id ends in."""
    return int(problem.id.rsplit("-", 1)[1])
