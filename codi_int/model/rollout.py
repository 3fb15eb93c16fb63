"""The clean pass of a batch of problems, kept so that edited passes can start from its middle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codi_int.data.answers import extract_answer
from codi_int.errors import ConfigError
from codi_int.model.cache import KVCache
from codi_int.model.chain import ChainState, Decoded
from codi_int.types import Completion, Site


@dataclass(frozen=True)
class QuestionBatch:
    """Some problems, whose questions have the same number of tokens or are padded to it."""

    rows: tuple[int, ...]
    """where the problems stood in the list that was given"""
    problem_ids: tuple[str, ...]
    """one for each row"""
    ids: Int[Tensor, "batch tokens"]
    """token ids, ending in <bot>"""
    mask: Bool[Tensor, "batch tokens"] | None = None
    """False at padding on the left; None where nothing is padded"""


@dataclass(frozen=True)
class Thinking:
    """The thoughts of one batch."""

    state: ChainState
    """after the last thought"""
    hidden: Float[Tensor, "batch positions d_model"]
    """post-final-norm states at <bot> and at every thought"""
    thoughts: Float[Tensor, "batch n_thoughts d_model"]
    """the vectors that were fed"""


@dataclass(frozen=True)
class Rollout:
    """Everything that one pass over a batch left behind. Slot `slot(p)` of the cache belongs to position p."""

    batch: QuestionBatch
    """which problems"""
    cache: KVCache
    """keys and values of the question and all thoughts, without the answer"""
    hidden: Float[Tensor, "batch positions d_model"]
    """post-final-norm states at <bot> and at every thought"""
    thoughts: Float[Tensor, "batch n_thoughts d_model"]
    """the vectors that were fed at positions 1.."""
    captured: Mapping[Site, Float[Tensor, "batch d_model"]]
    """activations at the sites that were asked for"""
    decoded: Decoded
    """the answers' ids, log-probabilities and margins"""
    completions: tuple[Completion, ...]
    """the answers as text and number"""

    @property
    def problem_ids(self) -> tuple[str, ...]:
        """One for each row."""
        return self.batch.problem_ids

    def slot(self, position: int) -> int:
        """The cache slot of a position."""
        return self.batch.ids.shape[1] - 1 + position

    def state_at(self, position: int, rows: Int[Tensor, " rows"] | None = None) -> ChainState:
        """A fresh state right after `position`, for some rows (default all; repeats allowed).

        The cache is a copy and ends with this position's slot, so that `stack.run(x, cache, range(L + 1, n_layers))`
        runs the upper layers of this position again.
        """
        rows = torch.arange(len(self.problem_ids), device=self.hidden.device) if rows is None else rows
        ids = tuple(self.problem_ids[i] for i in rows.tolist())
        cache = self.cache.gather(rows, self.slot(position) + 1)
        return ChainState(cache, self.hidden[rows, position], position, ids)


def group_by_length(
    encoded: Sequence[tuple[int, ...]], problem_ids: Sequence[str], batch_size: int, device: torch.device
) -> list[QuestionBatch]:
    """Batches of questions with equally many tokens, so that nothing is padded; shorter ones first, order kept."""
    order = sorted(range(len(encoded)), key=lambda i: (len(encoded[i]), i))
    batches: list[list[int]] = []
    for i in order:
        fits = batches and len(batches[-1]) < batch_size and len(encoded[batches[-1][0]]) == len(encoded[i])
        if fits:
            batches[-1].append(i)
        else:
            batches.append([i])
    return [
        QuestionBatch(
            tuple(rows),
            tuple(problem_ids[i] for i in rows),
            torch.tensor([encoded[i] for i in rows], device=device),
        )
        for rows in batches
    ]


def group_in_order(
    encoded: Sequence[tuple[int, ...]], problem_ids: Sequence[str], batch_size: int, pad_id: int, device: torch.device
) -> list[QuestionBatch]:
    """Batches in the order given, padded on the left, as the published evaluation makes them."""
    batches = []
    for start in range(0, len(encoded), batch_size):
        some = encoded[start : start + batch_size]
        width = max(map(len, some))
        ids = torch.tensor([[pad_id] * (width - len(e)) + list(e) for e in some], device=device)
        mask = torch.tensor([[False] * (width - len(e)) + [True] * len(e) for e in some], device=device)
        rows = tuple(range(start, start + len(some)))
        batches.append(QuestionBatch(rows, tuple(problem_ids[i] for i in rows), ids, mask))
    return batches


def check_tokens(ids: Tensor, mask: Tensor | None, vocab_size: int, bot_id: int) -> None:
    """ConfigError where ids are not left-padded rows that end in <bot>, or the mask does not say so."""
    remedy = "Give [batch, tokens] ids, padded on the left, with <bot> last and a mask of the same shape."
    if ids.ndim != 2 or 0 in ids.shape or ids.is_floating_point():
        raise ConfigError(f"input_ids are {ids.dtype} of shape {tuple(ids.shape)}.", remedy)
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocab_size:
        bad = low if low < 0 else high
        raise ConfigError(f"Token id {bad} is none of 0 to {vocab_size - 1}.", remedy)
    if not bool((ids[:, -1] == bot_id).all()):
        raise ConfigError(f"Every row of input_ids must end in <bot>, id {bot_id}.", remedy)
    if mask is None:
        return
    if mask.shape != ids.shape:
        raise ConfigError(f"The mask is {tuple(mask.shape)}, the ids are {tuple(ids.shape)}.", remedy)
    values = mask.long()
    # no 1 before a 0, and <bot> itself is read: all that is left are zeros in front
    left_padded = bool((values.diff(dim=1) >= 0).all()) and bool((values[:, -1] == 1).all())
    if not left_padded or int(values.min()) < 0:
        raise ConfigError("The mask must be 0 at the padding in front of a row and 1 from there on.", remedy)


def make_completions(
    tokenizer: Any, rule: str, problem_ids: tuple[str, ...], decoded: Decoded
) -> tuple[Completion, ...]:
    """What was written, as text and, by a rule of reading answers, as number."""
    tokens = [decoded.tokens(row) for row in range(len(problem_ids))]
    texts = tokenizer.batch_decode([list(ids) for ids in tokens], skip_special_tokens=True) if tokens else []
    return tuple(
        Completion(name, text, ids, extract_answer(text, rule))
        for name, text, ids in zip(problem_ids, texts, tokens, strict=True)
    )


def stack_residuals(
    captured: Mapping[Site, Tensor], n_layers: int, n_thoughts: int
) -> Float[Tensor, "batch n_layers positions d_model"]:
    """`resid_post` of every site as one tensor."""
    places = [captured[Site(layer, p)] for layer in range(n_layers) for p in range(n_thoughts + 1)]
    return rearrange(
        torch.stack(places),
        "(layer position) batch d_model -> batch layer position d_model",
        layer=n_layers,
    ).contiguous()
