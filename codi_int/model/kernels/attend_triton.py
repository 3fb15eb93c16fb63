"""Attention of many rows that go on from a few problems, in Triton: the prefix by tensor cores, what is a row's own by
plain sums, one softmax over both (the online one of FlashAttention, arXiv:2205.14135).

A program holds some queries of one problem and one head of its keys, reads the problem's prefix once for all of them,
and then, for each query, the few slots that are its row's own. No score reaches memory.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from codi_int.model.kernels.reference import Shared, Slots

QUERIES, SLOTS = 64, 64
"""queries of a program, and slots of the prefix that it reads at once"""
WIDE_QUERIES, WIDE_SLOTS = 16, 32
"""the same in float32, whose products run without tensor cores and hold their operands in registers"""
INTERPRETED_QUERIES, INTERPRETED_SLOTS = 16, 16
"""the same in the interpreter, so that small tests cross the borders"""


@triton.jit
@no_type_check
def _attend_kernel(
    q_ptr,
    far_keys_ptr,
    far_values_ptr,
    first_ptr,
    near_keys_ptr,
    near_values_ptr,
    out_ptr,
    each,
    t,
    prefix,
    start,
    scale,
    far_group,
    far_head,
    far_slot,
    group_stride,
    head_stride,
    row_stride,
    slot_stride,
    HEADS: tl.constexpr,
    SHARE: tl.constexpr,
    WIDTH: tl.constexpr,
    UPCAST: tl.constexpr,
    PRECISION: tl.constexpr,
    QUERIES: tl.constexpr,
    SLOTS: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    # grid (groups * heads, query blocks). The queries of a problem and a key's head are numbered row by row, then by
    # the heads that share the key (SHARE of them), then by token.
    group, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    query = tl.program_id(1) * QUERIES + tl.arange(0, QUERIES)
    asks = query < each * SHARE * t
    row = query // (SHARE * t)
    token = query % t
    column = tl.arange(0, BLOCK_D)
    inside = column < WIDTH
    # [rows, t, n_heads, head_dim]
    place = ((group * each + row).to(tl.int64) * t + token) * (HEADS * SHARE) + head * SHARE + (query // t) % SHARE
    at = place[:, None] * WIDTH + column[None]
    mask = asks[:, None] & inside[None]
    q = tl.load(q_ptr + at, mask=mask, other=0.0)
    wide = q.to(tl.float32)
    if UPCAST:
        q = wide
    best = tl.full((QUERIES,), -float("inf"), tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    read = tl.zeros((QUERIES, BLOCK_D), tl.float32)

    far = group.to(tl.int64) * far_group + head * far_head
    first = tl.load(first_ptr + group)
    for begin in range(0, prefix, SLOTS):
        slot = begin + tl.arange(0, SLOTS)
        real = (slot < prefix) & (slot >= first)
        there = far + slot[:, None] * far_slot + column[None]
        # masked also where there is padding: its keys may be anything, and 0 times NaN is NaN
        keys = tl.load(far_keys_ptr + there, mask=real[:, None] & inside[None], other=0.0)
        values = tl.load(far_values_ptr + there, mask=real[:, None] & inside[None], other=0.0)
        if UPCAST:
            keys, values = keys.to(tl.float32), values.to(tl.float32)
        scores = tl.dot(q, tl.trans(keys), input_precision=PRECISION) * scale
        scores = tl.where(real[None], scores, -float("inf"))
        higher = tl.maximum(best, tl.max(scores, axis=1))
        # a problem's first slots may all be padding: then nothing has been seen, and inf - inf would be NaN
        safe = tl.where(higher == -float("inf"), 0.0, higher)
        weights = tl.exp(scores - safe[:, None])
        faded = tl.exp(best - safe)
        total = total * faded + tl.sum(weights, axis=1)
        read = read * faded[:, None] + tl.dot(weights.to(values.dtype), values, input_precision=PRECISION)
        best = higher

    near = group.to(tl.int64) * group_stride + head * head_stride + row.to(tl.int64) * row_stride
    # every query has keys of its own here, so there is nothing that tensor cores could share
    for slot in range(start + t):
        reads = asks & (slot <= start + token)
        there = near[:, None] + slot * slot_stride + column[None]
        keys = tl.load(near_keys_ptr + there, mask=reads[:, None] & inside[None], other=0.0).to(tl.float32)
        values = tl.load(near_values_ptr + there, mask=reads[:, None] & inside[None], other=0.0).to(tl.float32)
        score = tl.where(reads, tl.sum(wide * keys, axis=1) * scale, -float("inf"))
        higher = tl.maximum(best, score)
        safe = tl.where(higher == -float("inf"), 0.0, higher)
        weight, faded = tl.exp(score - safe), tl.exp(best - safe)
        total = total * faded + weight
        read = read * faded[:, None] + weight[:, None] * values
        best = higher
    # every query reads its own slot at least; what is no query has seen nothing and is not written
    read = read / tl.where(asks, total, 1.0)[:, None]
    tl.store(out_ptr + at, read.to(out_ptr.dtype.element_ty), mask=mask)


def attend(q: Tensor, shared: Shared, own: Slots, scale: float) -> Tensor:
    """See `reference.attend`."""
    q = q.contiguous()
    _, t, n_heads, width = q.shape
    groups, heads, each, _, _ = own.keys.shape
    assert shared.keys.stride() == shared.values.stride()
    assert own.keys.stride() == own.values.stride()
    assert shared.keys.stride(-1) == own.keys.stride(-1) == 1
    group, head, row, slot, _ = own.keys.stride()
    queries, slots = (QUERIES, SLOTS) if q.element_size() == 2 else (WIDE_QUERIES, WIDE_SLOTS)
    if not q.is_cuda:
        queries, slots = INTERPRETED_QUERIES, INTERPRETED_SLOTS
    out = torch.empty_like(q)
    if out.numel():
        _attend_kernel[(groups * heads, triton.cdiv(each * n_heads // heads * t, queries))](
            q_ptr=q,
            far_keys_ptr=shared.keys,
            far_values_ptr=shared.values,
            first_ptr=shared.first,
            near_keys_ptr=own.keys,
            near_values_ptr=own.values,
            out_ptr=out,
            each=each,
            t=t,
            prefix=shared.keys.shape[2],
            start=own.start,
            scale=scale,
            far_group=shared.keys.stride(0),
            far_head=shared.keys.stride(1),
            far_slot=shared.keys.stride(2),
            group_stride=group,
            head_stride=head,
            row_stride=row,
            slot_stride=slot,
            HEADS=heads,
            SHARE=n_heads // heads,
            WIDTH=width,
            UPCAST=not q.is_cuda,  # the interpreter multiplies the bit patterns of bfloat16
            PRECISION="ieee",
            QUERIES=queries,
            SLOTS=slots,
            BLOCK_D=max(16, triton.next_power_of_2(width)),
        )
    return out
