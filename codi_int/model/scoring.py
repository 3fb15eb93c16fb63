"""Scoring answers after the last thought: how likely the clean answer is, and what a row writes instead.

The clean answer's tokens are fed in one forward. A row whose greedy choices all agree with them writes the clean
answer, so only the others have to be decoded token by token.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codi_int.data.answers import extract_answer
from codi_int.model.chain import ChainState, Decoded
from codi_int.model.hooked import CodiModel
from codi_int.model.kernels import kernels_for, reference
from codi_int.types import Number

MARGIN_TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-4, torch.float16: 0.1, torch.bfloat16: 0.5}
"""top-two logit margins below this are not trusted: batches of another shape may round another way. In float32 that
moves logits of codi-mini by 6e-6 (of a scale of 17), so this leaves room for models ten times as unsteady."""


@dataclass(frozen=True)
class Verified:
    """How some rows stand to the clean answers."""

    logprobs: Float[Tensor, " rows"]
    """log-probability of the clean answer, in nats"""
    margins: Float[Tensor, " rows"]
    """logit of the clean answer's token minus the best other one, the smallest over its tokens"""
    changed: Bool[Tensor, " rows"]
    """some greedy choice differs"""
    close: Bool[Tensor, " rows"]
    """some choice, up to the first that differs, is too close to call"""


def verify(logits: Float[Tensor, "rows t vocab"], clean: Decoded, rows: Tensor, tolerance: float) -> Verified:
    """Compare greedy choices with the clean answers' tokens.

    Args:
        logits: [:, j] predicts the answer's token j.
        clean: the clean answers of the batch.
        rows: the batch's row that each of `logits` belongs to.
        tolerance: the margin below which a choice is too close to call.
    """
    # the batch's answers are padded to the longest; these rows may have been cut to a shorter one
    steps = logits.shape[1]
    ids, counts = clean.ids[rows, :steps], clean.counts[rows]
    counted = torch.arange(steps, device=ids.device) < counts[:, None]  # [rows, t]
    read = (kernels_for(logits) or reference).read_logits(logits, ids)
    differs = (read.choice != ids) & counted
    # Up to and with the first choice that differs: behind it the row would have read other tokens than the clean ones
    # that were fed, so those logits say nothing of what it writes.
    on_the_way = counted & (differs.cumsum(1) - differs.long() == 0)
    # A row is too close to call where such a choice is: another batch shape may round it the other way, and then
    # whether it has changed would depend on what else ran beside it.
    close = (read.best - read.second < tolerance) & on_the_way
    # by how much a row prefers the clean answer where it prefers it least; negative where it does not
    rival = torch.where(read.choice == ids, read.second, read.best)
    margins = (read.own - rival).masked_fill(~counted, torch.inf).amin(1)
    logprobs = ((read.own - read.logsumexp) * counted).sum(1)
    return Verified(logprobs, margins, differs.any(1), close.any(1))


def token_logprobs(
    logits: Float[Tensor, "rows t vocab"], ids: Int[Tensor, "rows t"], counts: Int[Tensor, " rows"]
) -> tuple[Float[Tensor, "rows t"], Bool[Tensor, "rows t"]]:
    """Log-probability of each token in nats, and which tokens belong to the answer (the others are filling)."""
    counted = torch.arange(ids.shape[1], device=ids.device) < counts[:, None]  # [rows, t]
    # float32: bfloat16 logits near 17 are 1/8 apart, and logsumexp adds up the whole vocabulary
    scores = logits.float()
    # filling may be an id that may never be chosen, and that has no column (see `CodiConfig.suppress_last_id`)
    columns = ids.clamp(max=scores.shape[-1] - 1)[..., None]  # [rows, t, 1]
    return scores.gather(2, columns)[..., 0] - scores.logsumexp(-1), counted


def answer_logprob(model: CodiModel, state: ChainState, clean: Decoded) -> Float[Tensor, ""]:
    """Summed log-probability of a batch's clean answers after the last thought; gradients flow."""
    # the last token predicts nothing that is scored, so it is not fed
    logits = model.teacher_force(state, clean.ids[:, :-1])
    logprobs, counted = token_logprobs(logits, clean.ids, clean.counts)
    return (logprobs * counted).sum()


def decode_rows(
    model: CodiModel,
    state: ChainState,
    rows: Int[Tensor, " m"],
    guess: Int[Tensor, "m guessed"] | tuple[int, ...] = (),
) -> tuple[Sequence[Number | None], Float[Tensor, " m"]]:
    """The answers that some rows write, and the smallest top-two margin on the way to each; `guess` as in `decode`."""
    if not len(rows):
        return (), torch.empty(0)
    ids = tuple(state.problem_ids[i] for i in rows.tolist())
    # gathered, for writing fills slots and the other rows go on to be scored from this state
    picked = ChainState(state.cache.gather(rows), state.hidden[rows], state.position, ids)
    decoded = model.decode(picked, guess=guess)
    return read_answers(model, decoded), decoded.margins.amin(1)


def read_answers(model: CodiModel, decoded: Decoded) -> tuple[Number | None, ...]:
    """The number in each row of what was written."""
    texts = model.texts_of(decoded.all_tokens())
    return tuple(extract_answer(text, model.config.answer_rule) for text in texts)
