"""One read of the logits, in Triton: log of the sum, the two best, and the logit of a given token.

torch reads [rows, t, vocab] four times for these, once widened to float32; with a vocabulary of 128,000 that is more
traffic than the last layer's weights. The running sum is the online softmax's (arXiv:1805.02867).
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from codi_int.model.kernels.reference import LogitSummary

WORDS = 4096
"""logits that a program holds at once"""
INTERPRETED_WORDS = 64
"""the same in the interpreter, so that small tests cross the borders"""


@triton.jit
@no_type_check
def _logits_kernel(
    logits_ptr,
    ids_ptr,
    sums_ptr,
    own_ptr,
    best_ptr,
    second_ptr,
    choice_ptr,
    t,
    n_words,
    row_stride,
    token_stride,
    WORDS: tl.constexpr,
):
    # grid (rows * t,): a program owns one token's logits, and walks along them once
    place = tl.program_id(0).to(tl.int64)
    logits_ptr += (place // t) * row_stride + (place % t) * token_stride
    best = tl.full((), -float("inf"), tl.float32)
    second = tl.full((), -float("inf"), tl.float32)
    total = tl.full((), 0.0, tl.float32)
    choice = tl.full((), 0, tl.int32)
    for start in range(0, n_words, WORDS):
        word = start + tl.arange(0, WORDS)
        exists = word < n_words
        logit = tl.load(logits_ptr + word, mask=exists, other=-float("inf")).to(tl.float32)
        here = tl.max(logit, axis=0)
        # the lowest word of equal ones; where all are NaN none equals the largest, and the sum is NaN all the same
        first = tl.min(tl.where((logit == here) & exists, word, n_words - 1), axis=0)
        beside = tl.max(tl.where(word == first, -float("inf"), logit), axis=0)
        higher = tl.maximum(best, here)
        safe = tl.where(higher == -float("inf"), 0.0, higher)
        total = total * tl.exp(best - safe) + tl.sum(tl.exp(logit - safe), axis=0)
        # the second of both halves is the lesser of the two firsts or one of the two seconds
        second = tl.maximum(tl.minimum(best, here), tl.maximum(second, beside))
        choice = tl.where(here > best, first, choice)
        best = higher
    tl.store(sums_ptr + place, best + tl.log(total))
    tl.store(best_ptr + place, best)
    tl.store(second_ptr + place, second)
    tl.store(choice_ptr + place, choice.to(tl.int64))
    # filling may be an id without a column
    column = tl.minimum(tl.load(ids_ptr + place), n_words - 1)
    tl.store(own_ptr + place, tl.load(logits_ptr + column).to(tl.float32))


def read_logits(logits: Tensor, ids: Tensor) -> LogitSummary:
    """See `reference.read_logits`."""
    rows, t, n_words = logits.shape
    assert logits.stride(-1) == 1
    ids = ids.contiguous()
    sums, own, best, second = (torch.empty(rows, t, dtype=torch.float32, device=logits.device) for _ in range(4))
    choice = torch.empty(rows, t, dtype=torch.int64, device=logits.device)
    if ids.numel():
        _logits_kernel[(rows * t,)](
            logits_ptr=logits,
            ids_ptr=ids,
            sums_ptr=sums,
            own_ptr=own,
            best_ptr=best,
            second_ptr=second,
            choice_ptr=choice,
            t=t,
            n_words=n_words,
            row_stride=logits.stride(0),
            token_stride=logits.stride(1),
            WORDS=WORDS if logits.is_cuda else INTERPRETED_WORDS,
        )
    return LogitSummary(logsumexp=sums, own=own, best=best, second=second, choice=choice)
