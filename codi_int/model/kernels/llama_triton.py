"""The parts of a Llama block in Triton: norm with the addition before it, rotation with the cache's write, gated MLP.

Each is one pass over its operands. Values are rounded to the model's dtype where Hugging Face's code rounds them, so
that the kernels change no more of a result than another order of sums does.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from codi_int.model.kernels.attend_triton import attend as attend
from codi_int.model.kernels.logits_triton import read_logits as read_logits
from codi_int.model.kernels.reference import Slots

ELEMENTS = 1024
"""elements of a program of `silu_mul`"""


@triton.jit
@no_type_check
def _add_norm_kernel(
    x_ptr, delta_ptr, weight_ptr, total_ptr, normed_ptr, d, eps, WITH_DELTA: tl.constexpr, BLOCK: tl.constexpr
):
    # grid (rows,): a program owns a row and holds it in registers
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    exists = column < d
    total = tl.load(x_ptr + row * d + column, mask=exists, other=0.0)
    if WITH_DELTA:
        delta = tl.load(delta_ptr + row * d + column, mask=exists, other=0.0)
        # rounded, for the stream is kept in the model's dtype and the norm is of what is kept
        total = (total.to(tl.float32) + delta.to(tl.float32)).to(total.dtype)
        tl.store(total_ptr + row * d + column, total, mask=exists)
    wide = total.to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(wide * wide, axis=0) / d + eps)
    normed = (wide * scale).to(total.dtype).to(tl.float32)
    weight = tl.load(weight_ptr + column, mask=exists, other=0.0).to(tl.float32)
    tl.store(normed_ptr + row * d + column, (weight * normed).to(total.dtype), mask=exists)


@triton.jit
@no_type_check
def _silu_mul_kernel(gate_ptr, up_ptr, out_ptr, n, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    exists = place < n
    gate = tl.load(gate_ptr + place, mask=exists, other=0.0)
    up = tl.load(up_ptr + place, mask=exists, other=0.0)
    wide = gate.to(tl.float32)
    silu = (wide / (1.0 + tl.exp(-wide))).to(gate.dtype).to(tl.float32)
    tl.store(out_ptr + place, (silu * up.to(tl.float32)).to(gate.dtype), mask=exists)


@triton.jit
@no_type_check
def _turn(left, right, cos_left, cos_right, sin_left, sin_right):
    """Both halves of some heads, turned; each product is rounded, and then their sum."""
    dtype = left.dtype
    a = (left.to(tl.float32) * cos_left.to(tl.float32)).to(dtype).to(tl.float32)
    b = (right.to(tl.float32) * sin_left.to(tl.float32)).to(dtype).to(tl.float32)
    c = (right.to(tl.float32) * cos_right.to(tl.float32)).to(dtype).to(tl.float32)
    e = (left.to(tl.float32) * sin_right.to(tl.float32)).to(dtype).to(tl.float32)
    return (a - b).to(dtype), (c + e).to(dtype)


@triton.jit
@no_type_check
def _rotate_store_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    cos_ptr,
    sin_ptr,
    out_ptr,
    keys_ptr,
    values_ptr,
    t,
    each,
    start,
    rotary_row,
    rotary_token,
    group_stride,
    head_stride,
    row_stride,
    slot_stride,
    N_HEADS: tl.constexpr,
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    # grid (rows * t,): a program owns one token, with all its heads; HALF is half of a head
    token = tl.program_id(0).to(tl.int64)
    row, step = token // t, token % t
    column = tl.arange(0, BLOCK_D)
    inside = column < HALF
    at = row * rotary_row + step * rotary_token + column
    cos_left, cos_right = tl.load(cos_ptr + at, mask=inside), tl.load(cos_ptr + at + HALF, mask=inside)
    sin_left, sin_right = tl.load(sin_ptr + at, mask=inside), tl.load(sin_ptr + at + HALF, mask=inside)
    cos_left, cos_right, sin_left, sin_right = cos_left[None], cos_right[None], sin_left[None], sin_right[None]

    head = tl.arange(0, BLOCK_Q)
    mask = (head[:, None] < N_HEADS) & inside[None]
    place = (token * N_HEADS + head[:, None]) * (2 * HALF) + column[None]
    left, right = tl.load(q_ptr + place, mask=mask, other=0.0), tl.load(q_ptr + place + HALF, mask=mask, other=0.0)
    left, right = _turn(
        left=left,
        right=right,
        cos_left=cos_left,
        cos_right=cos_right,
        sin_left=sin_left,
        sin_right=sin_right,
    )
    tl.store(out_ptr + place, left, mask=mask)
    tl.store(out_ptr + place + HALF, right, mask=mask)

    head = tl.arange(0, BLOCK_K)
    mask = (head[:, None] < HEADS) & inside[None]
    place = (token * HEADS + head[:, None]) * (2 * HALF) + column[None]
    left, right = tl.load(k_ptr + place, mask=mask, other=0.0), tl.load(k_ptr + place + HALF, mask=mask, other=0.0)
    left, right = _turn(
        left=left,
        right=right,
        cos_left=cos_left,
        cos_right=cos_right,
        sin_left=sin_left,
        sin_right=sin_right,
    )
    slot = (row // each) * group_stride + (row % each) * row_stride + (start + step) * slot_stride
    there = slot + head[:, None].to(tl.int64) * head_stride + column[None]
    tl.store(keys_ptr + there, left, mask=mask)
    tl.store(keys_ptr + there + HALF, right, mask=mask)
    for half in tl.static_range(2):
        value = tl.load(v_ptr + place + half * HALF, mask=mask, other=0.0)
        tl.store(values_ptr + there + half * HALF, value, mask=mask)


def add_norm(x: Tensor, delta: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """See `reference.add_norm`."""
    x = x.contiguous()
    d = x.shape[-1]
    total, normed = x if delta is None else torch.empty_like(x), torch.empty_like(x)
    if x.numel():
        block = triton.next_power_of_2(d)
        _add_norm_kernel[(x.numel() // d,)](
            x_ptr=x,
            # some pointer has to be there; never read without WITH_DELTA
            delta_ptr=x if delta is None else delta.contiguous(),
            weight_ptr=weight,
            total_ptr=total,
            normed_ptr=normed,
            d=d,
            eps=eps,
            WITH_DELTA=delta is not None,
            BLOCK=block,
        )
    return total, normed


def silu_mul(gate: Tensor, up: Tensor) -> Tensor:
    """See `reference.silu_mul`."""
    gate, up = gate.contiguous(), up.contiguous()
    out = torch.empty_like(gate)
    if out.numel():
        _silu_mul_kernel[(triton.cdiv(out.numel(), ELEMENTS),)](
            gate_ptr=gate, up_ptr=up, out_ptr=out, n=out.numel(), BLOCK=ELEMENTS
        )
    return out


def rotate_store(q: Tensor, k: Tensor, v: Tensor, rotary: tuple[Tensor, Tensor], slots: Slots) -> Tensor:
    """See `reference.rotate_store`."""
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    (rows, t, n_heads, width), heads = q.shape, k.shape[2]
    cos, sin = rotary
    assert slots.keys.stride() == slots.values.stride()
    assert slots.keys.stride(-1) == cos.stride(-1) == 1
    assert cos.stride() == sin.stride()
    group, head, row, slot, _ = slots.keys.stride()
    out = torch.empty_like(q)
    if out.numel():
        _rotate_store_kernel[(rows * t,)](
            q_ptr=q,
            k_ptr=k,
            v_ptr=v,
            cos_ptr=cos,
            sin_ptr=sin,
            out_ptr=out,
            keys_ptr=slots.keys,
            values_ptr=slots.values,
            t=t,
            each=slots.keys.shape[2],
            start=slots.start,
            rotary_row=cos.stride(0) if cos.shape[0] > 1 else 0,
            rotary_token=cos.stride(1),
            group_stride=group,
            head_stride=head,
            row_stride=row,
            slot_stride=slot,
            N_HEADS=n_heads,
            HEADS=heads,
            HALF=width // 2,
            BLOCK_Q=triton.next_power_of_2(n_heads),
            BLOCK_K=triton.next_power_of_2(heads),
            BLOCK_D=triton.next_power_of_2(max(1, width // 2)),
        )
    return out
