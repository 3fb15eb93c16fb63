"""The clean pass of a batch of problems, kept so that edited passes can start from its middle."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codi_int.data.answers import extract_answer
from codi_int.errors import ConfigError
from codi_int.model.branch import BranchedCache, Branches
from codi_int.model.cache import CachePart, KVCache
from codi_int.model.chain import ChainState, Decoded
from codi_int.types import Completion, Site, ThoughtBatch

ANSWER_ROOM = 10
"""slots of an ordinary answer; longer ones make a cache grow"""
PADDING_SHARE = 1 / 8
"""of a batch's tokens: what a padded one costs in arithmetic, fuller batches have to save in overhead"""


@dataclass(frozen=True)
class QuestionBatch:
    """Some problems, whose questions have the same number of tokens or are padded to it on the left."""

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
        cache = self.cache.gather(rows, self.slot(position) + 1)
        return ChainState(cache, self.hidden[rows, position], position, self._names(rows))

    def branch_at(self, position: int, branches: Branches) -> ChainState:
        """As `state_at`, for rows that share everything before the position's own slot with their problem."""
        # room for the positions behind, <eot> (and an eos), and the clean answer
        room = self.hidden.shape[1] - 1 - position + 2 + self.decoded.ids.shape[1]
        cache, rows = BranchedCache.of(self.cache, branches, self.slot(position), room), branches.rows
        names = tuple(self.problem_ids[i] for i in branches.listed for _ in range(branches.each))
        return ChainState(cache, self.hidden[rows, position], position, names)

    def _names(self, rows: Int[Tensor, " rows"]) -> tuple[str, ...]:
        return tuple(self.problem_ids[i] for i in rows.tolist())


def beside(state: ChainState) -> ChainState:
    """A state from which the same rows go on without writing into the cache, of which a single slot is copied."""
    rows = torch.arange(len(state.problem_ids), device=state.hidden.device)
    branches = Branches(rows, 1, tuple(range(len(rows))))
    cache = BranchedCache.of(state.cache, branches, state.cache.length - 1, room=ANSWER_ROOM)
    return ChainState(cache, state.hidden, state.position, state.problem_ids)


@dataclass(frozen=True)
class RolloutPart:
    """Some problems of a batch."""

    rollout: Rollout
    """the batch's"""
    rows: Int[Tensor, " rows"]
    """which of its rows; repeats allowed"""
    known: tuple[int, ...] | None = None
    """their numbers, where the host knows them"""

    @property
    def listed(self) -> tuple[int, ...]:
        """The rows' numbers; a GPU has to be waited for where the host does not know them."""
        return tuple(self.rows.tolist()) if self.known is None else self.known


def join_rollouts(
    parts: Sequence[RolloutPart], position: int, sites: Sequence[Site], width: int = 0, room: int = 0
) -> Rollout:
    """Problems of several batches, as if they had been one batch, as far as runs that go on from a position need it.

    Args:
        parts: which problems.
        position: the last one whose keys and values are there.
        sites: whose activations are there.
        width: tokens of the longest question; default the longest of the parts.
        room: slots to make room for behind the position.
    """
    width = max(width, *(part.rollout.batch.ids.shape[1] for part in parts))
    cache = KVCache.join(
        [CachePart(part.rollout.cache, part.rows, part.rollout.slot(position) + 1, part.known) for part in parts],
        width + position,
        room,
    )
    at = [(part.rollout, part.rows, part.listed) for part in parts]
    batch = QuestionBatch(
        rows=tuple(rollout.batch.rows[i] for rollout, _, listed in at for i in listed),
        problem_ids=tuple(rollout.problem_ids[i] for rollout, _, listed in at for i in listed),
        ids=torch.cat([_wide(r.batch.ids[rows], front=width - r.batch.ids.shape[1]) for r, rows, _ in at]),
        mask=cache.valid[:, :width],
    )
    return Rollout(
        batch=batch,
        cache=cache,
        hidden=torch.cat([rollout.hidden[rows] for rollout, rows, _ in at]),
        thoughts=torch.cat([rollout.thoughts[rows] for rollout, rows, _ in at]),
        captured={site: torch.cat([rollout.captured[site][rows] for rollout, rows, _ in at]) for site in sites},
        decoded=_join_answers([(rollout.decoded, rows, listed) for rollout, rows, listed in at]),
        completions=tuple(rollout.completions[i] for rollout, _, listed in at for i in listed),
    )


def _wide(values: Tensor, front: int = 0, back: int = 0, filling: float = 0.0) -> Tensor:
    """The values [rows, t] with so many columns more; themselves where it is none."""
    return F.pad(values, (front, back), value=filling) if front or back else values


def _join_answers(parts: Sequence[tuple[Decoded, Tensor, Sequence[int]]]) -> Decoded:
    """Answers below each other, filled up to the longest."""
    longest = max(decoded.ids.shape[1] for decoded, _, _ in parts)

    def filled(name: str, filling: float = 0.0) -> Tensor:
        return torch.cat([_wide(v[rows], back=longest - v.shape[1], filling=filling) for v, rows in of(name)])

    def of(name: str) -> list[tuple[Tensor, Tensor]]:
        return [(getattr(decoded, name), rows) for decoded, rows, _ in parts]

    return Decoded(
        ids=filled("ids"),
        counts=torch.cat([values[rows] for values, rows in of("counts")]),
        ended=torch.cat([values[rows] for values, rows in of("ended")]),
        logprobs=filled("logprobs"),
        margins=filled("margins", torch.inf),
        lengths=tuple(decoded.counted[row] for decoded, _, listed in parts for row in listed),
    )


@dataclass(frozen=True)
class Grouping:
    """How questions are put into batches."""

    batch_size: int
    """most questions of a batch"""
    pad_id: int
    """what stands in front of shorter ones"""
    device: torch.device
    """where the ids go"""
    padding_share: float = PADDING_SHARE
    """most of a batch's tokens that may be padding; 0 keeps to one length"""
    roomy: int | None = None
    """longest question that leaves room for the longest answer; how far a longer one may be answered depends on its
    length, so that it shares batches with its equals only"""


def group_by_length(
    encoded: Sequence[tuple[int, ...]], problem_ids: Sequence[str], grouping: Grouping
) -> list[QuestionBatch]:
    """Batches of questions of neighbouring lengths, padded on the left; shorter ones first, order kept."""
    order = sorted(range(len(encoded)), key=lambda i: (len(encoded[i]), i))
    batches: list[list[int]] = []
    real = 0  # tokens of the last batch that are no padding
    for i in order:
        length = len(encoded[i])
        # sorted: this question is the longest of the batch that it joins, and the others are padded to it
        slots = length * (len(batches[-1]) + 1) if batches else 0
        same = bool(batches) and len(encoded[batches[-1][0]]) == length
        near = slots - real - length <= grouping.padding_share * slots and (
            grouping.roomy is None or length <= grouping.roomy
        )
        if batches and len(batches[-1]) < grouping.batch_size and (same or near):
            batches[-1].append(i)
            real += length
        else:
            batches.append([i])
            real = length
    return [_padded(encoded, problem_ids, rows, grouping) for rows in batches]


def _padded(
    encoded: Sequence[tuple[int, ...]], problem_ids: Sequence[str], rows: Sequence[int], grouping: Grouping
) -> QuestionBatch:
    """Some questions, filled up on the left to the longest."""
    lengths = [len(encoded[i]) for i in rows]
    width, names = max(lengths), tuple(problem_ids[i] for i in rows)
    ids = [(grouping.pad_id,) * (width - len(encoded[i])) + tuple(encoded[i]) for i in rows]
    # without a mask where nothing is padded: then torch takes its fastest kernels
    mask = None if min(lengths) == width else [[False] * (width - n) + [True] * n for n in lengths]
    at = grouping.device
    return QuestionBatch(
        rows=tuple(rows),
        problem_ids=names,
        ids=torch.tensor(ids, device=at),
        mask=None if mask is None else torch.tensor(mask, device=at),
    )


def group_in_order(
    encoded: Sequence[tuple[int, ...]], problem_ids: Sequence[str], grouping: Grouping
) -> list[QuestionBatch]:
    """Batches in the order given, padded on the left, as the published evaluation makes them."""
    n, size = len(encoded), grouping.batch_size
    starts = range(0, n, size)
    return [_padded(encoded, problem_ids, range(start, min(start + size, n)), grouping) for start in starts]


def complete(
    decoded: Decoded,
    problem_ids: Sequence[str],
    texts_of: Callable[[list[list[int]]], list[str]],
    rule: str,
) -> tuple[Completion, ...]:
    """Answers as text and number; `texts_of` turns ids into texts."""
    tokens = decoded.all_tokens()
    texts = texts_of(tokens)
    return tuple(
        Completion(name, text, tuple(ids), extract_answer(text, rule))
        for name, text, ids in zip(problem_ids, texts, tokens, strict=True)
    )


def usual_opening(completions: Sequence[Completion]) -> tuple[int, ...]:
    """The tokens that at least half of some answers begin with: a guess at how the next ones will (see `decode`)."""
    opening: tuple[int, ...] = ()
    alike = [completion.ids for completion in completions]
    while True:
        n = len(opening)
        following = Counter(ids[n] for ids in alike if len(ids) > n)
        # the lowest of equally common ids: a guess should not depend on the order of the answers
        token, count = min(following.items(), key=lambda item: (-item[1], item[0]), default=(0, 0))
        if 2 * count < len(completions) or not count:
            return opening
        opening = (*opening, token)
        alike = [ids for ids in alike if ids[: n + 1] == opening]


def join_thoughts(
    parts: Sequence[ThoughtBatch], order: Sequence[int], sites: Sequence[Site], n_layers: int | None = None
) -> ThoughtBatch:
    """Batches as one, in the order in which the problems were given.

    Args:
        parts: what was thought in each batch.
        order: which of the problems each row was, batch by batch.
        sites: what was captured.
        n_layers: put `resid_post` of all places into one tensor; they must have been captured.
    """
    # batches are by length; argsort of the order in which rows ran is where each of them belongs
    back = torch.tensor(order, device=parts[0].thoughts.device).argsort()
    captured = {s: torch.cat([part.captured[s] for part in parts])[back] for s in sites}
    ids = [i for part in parts for i in part.problem_ids]
    written = [c for part in parts for c in part.completions]
    return ThoughtBatch(
        problem_ids=tuple(ids[i] for i in back.tolist()),
        thoughts=torch.cat([part.thoughts for part in parts])[back],
        captured={} if n_layers else captured,
        residuals=stack_residuals(captured, n_layers) if n_layers else None,
        completions=tuple(written[i] for i in back.tolist()) if written else (),
    )


def stack_residuals(
    captured: Mapping[Site, Float[Tensor, "batch d_model"]], n_layers: int
) -> Float[Tensor, "batch n_layers positions d_model"]:
    """`resid_post` of every layer and position, where all of them were captured."""
    n_positions = len(captured) // n_layers
    places = [captured[Site(layer, p)] for layer in range(n_layers) for p in range(n_positions)]
    return rearrange(
        torch.stack(places),
        "(layer position) batch d_model -> batch layer position d_model",
        layer=n_layers,
    ).contiguous()


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
