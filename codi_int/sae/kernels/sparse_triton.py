"""Products with a few rows of a matrix, in Triton: what TopK decoding and both backward passes are made of.

`gather_rows`   out[n] = base + sum_j values[n, j] * W[indices[n, j]]       (decode; gradient of x)
`dot_rows`      out[n, j] = <g[n], W[indices[n, j]]>                        (gradient of the values)
`scatter_rows`  out[f] = sum over entries (n, j) with indices[n, j] = f of values[n, j] * source[n]
                                                                           (gradients of W_dec and W_enc)
`scatter_rows` sorts the entries by feature once; one program then owns a feature's row and writes it whole, so
no atomics are needed and the result is the same every time. Sums are float32.
"""

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

ENTRIES = 16
"""entries that are added up at once"""


class ScatteredRows(NamedTuple):
    """What `scatter_rows` adds up."""

    rows: Tensor
    """[d_sae, d] sums of the weighted source rows"""
    totals: Tensor
    """[d_sae] sums of the weights"""


@triton.jit
@no_type_check
def _gather_kernel(
    values_ptr,
    indices_ptr,
    w_ptr,
    base_ptr,
    out_ptr,
    k,
    d,
    w_row,
    w_column,
    WITH_BASE: tl.constexpr,
    ENTRIES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # grid (n, column blocks): a program owns BLOCK columns of one output row. The k rows of W that it needs lie
    # anywhere, so they are gathered ENTRIES at a time into a tile [ENTRIES, BLOCK].
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    acc = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, k, ENTRIES):
        entry = start + tl.arange(0, ENTRIES)
        # past k the value is 0, and W is masked as well: a 0 adds nothing only to a finite row, as 0 * inf is NaN
        value = tl.load(values_ptr + row * k + entry, mask=entry < k, other=0.0).to(tl.float32)
        index = tl.load(indices_ptr + row * k + entry, mask=entry < k, other=0)
        w = tl.load(
            w_ptr + index[:, None] * w_row + column[None, :] * w_column,
            mask=(entry[:, None] < k) & (column[None, :] < d),
            other=0.0,
        )
        # a weighted sum of rows, not a `tl.dot`: every output row has its own k rows of W, so there is nothing to share
        acc += tl.sum(value[:, None] * w.to(tl.float32), axis=0)
    if WITH_BASE:
        acc += tl.load(base_ptr + column, mask=column < d, other=0.0).to(tl.float32)
    tl.store(out_ptr + row * d + column, acc.to(out_ptr.dtype.element_ty), mask=column < d)


@triton.jit
@no_type_check
def _dot_kernel(
    grad_ptr,
    indices_ptr,
    w_ptr,
    out_ptr,
    k,
    d,
    w_row,
    w_column,
    ENTRIES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # grid (n, entry blocks): a program owns ENTRIES of the k inner products of one row and walks along d with all
    row = tl.program_id(0).to(tl.int64)
    entry = tl.program_id(1) * ENTRIES + tl.arange(0, ENTRIES)
    index = tl.load(indices_ptr + row * k + entry, mask=entry < k, other=0)
    acc = tl.zeros((ENTRIES,), dtype=tl.float32)
    for start in range(0, d, BLOCK):
        column = start + tl.arange(0, BLOCK)
        grad = tl.load(grad_ptr + row * d + column, mask=column < d, other=0.0).to(tl.float32)
        w = tl.load(
            w_ptr + index[:, None] * w_row + column[None, :] * w_column,
            mask=(entry[:, None] < k) & (column[None, :] < d),
            other=0.0,
        )
        acc += tl.sum(grad[None, :] * w.to(tl.float32), axis=1)
    tl.store(out_ptr + row * k + entry, acc.to(out_ptr.dtype.element_ty), mask=entry < k)


@triton.jit
@no_type_check
def _scatter_kernel(
    values_ptr,
    rows_ptr,
    starts_ptr,
    source_ptr,
    out_ptr,
    totals_ptr,
    d,
    ENTRIES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # grid (d_sae, column blocks): a program owns BLOCK columns of one feature's row and is its only writer. The entries
    # were sorted by feature: starts[feature] up to starts[feature + 1] are this one's, in ascending order of the row,
    # so the sum has one order on every run. A feature that no row kept has none, and zeros are written.
    feature = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    last = tl.load(starts_ptr + feature + 1)
    acc = tl.zeros((BLOCK,), dtype=tl.float32)
    total = tl.zeros((), dtype=tl.float32)
    for start in range(tl.load(starts_ptr + feature), last, ENTRIES):
        entry = start + tl.arange(0, ENTRIES)
        value = tl.load(values_ptr + entry, mask=entry < last, other=0.0).to(tl.float32)
        row = tl.load(rows_ptr + entry, mask=entry < last, other=0)
        source = tl.load(
            source_ptr + row[:, None] * d + column[None, :],
            mask=(entry[:, None] < last) & (column[None, :] < d),
            other=0.0,
        )
        acc += tl.sum(value[:, None] * source.to(tl.float32), axis=0)
        total += tl.sum(value)
    tl.store(out_ptr + feature * d + column, acc.to(out_ptr.dtype.element_ty), mask=column < d)
    # all column blocks hold the same total; one of them writes it
    if tl.program_id(1) == 0:
        tl.store(totals_ptr + feature, total.to(totals_ptr.dtype.element_ty))


def gather_rows(values: Tensor, indices: Tensor, W: Tensor, base: Tensor | None = None) -> Tensor:
    """[n, d]: `base + sum_j values[n, j] * W[indices[n, j]]` for W [d_sae, d] of any strides."""
    (n, k), d = values.shape, W.shape[1]
    out = torch.empty(n, d, dtype=W.dtype, device=W.device)
    if out.numel():
        block = _block(d)
        _gather_kernel[(n, triton.cdiv(d, block))](
            values_ptr=values.contiguous(),
            indices_ptr=indices.contiguous(),
            w_ptr=W,
            base_ptr=W
            if base is None
            else base.contiguous(),  # never read without WITH_BASE; some pointer has to be there
            out_ptr=out,
            k=k,
            d=d,
            w_row=W.stride(0),
            w_column=W.stride(1),
            WITH_BASE=base is not None,
            ENTRIES=ENTRIES,
            BLOCK=block,
        )
    return out


def dot_rows(grad: Tensor, indices: Tensor, W: Tensor) -> Tensor:
    """[n, k]: `<grad[n], W[indices[n, j]]>` for W [d_sae, d] of any strides, in the dtype of W."""
    (n, k), d = indices.shape, W.shape[1]
    out = torch.empty(n, k, dtype=W.dtype, device=W.device)
    if out.numel():
        _dot_kernel[(n, triton.cdiv(k, ENTRIES))](
            grad_ptr=grad.contiguous(),
            indices_ptr=indices.contiguous(),
            w_ptr=W,
            out_ptr=out,
            k=k,
            d=d,
            w_row=W.stride(0),
            w_column=W.stride(1),
            ENTRIES=ENTRIES,
            BLOCK=_block(d),
        )
    return out


def scatter_rows(values: Tensor, indices: Tensor, source: Tensor, d_sae: int) -> ScatteredRows:
    """Sums of `values[n, j] * source[n]` and of `values[n, j]` over the entries of each feature."""
    k, d = indices.shape[1], source.shape[1]
    # The inverse index: entry e of the flat [n * k] list belongs to row e // k. A stable sort by feature keeps the rows
    # of one feature in ascending order, and fixes with it the order in which the kernel adds them up.
    by_feature = indices.flatten().sort(stable=True)
    features = torch.arange(d_sae + 1, device=source.device)
    # d_sae + 1 edges: where each feature's entries begin, and after the last where they end
    starts = torch.searchsorted(by_feature.values, features)
    rows = torch.empty(d_sae, d, dtype=source.dtype, device=source.device)
    totals = torch.empty(d_sae, dtype=source.dtype, device=source.device)
    block = _block(d)
    _scatter_kernel[(d_sae, triton.cdiv(d, block))](
        values_ptr=values.flatten().take(by_feature.indices),
        rows_ptr=by_feature.indices // k,
        starts_ptr=starts,
        source_ptr=source.contiguous(),
        out_ptr=rows,
        totals_ptr=totals,
        d=d,
        ENTRIES=ENTRIES,
        BLOCK=block,
    )
    return ScatteredRows(rows, totals)


def _block(d: int) -> int:
    """Columns per program."""
    # a power of two, as `tl.arange` asks; 16 * 256 float32 entries of a tile fit into the registers of a program
    return min(256, max(16, int(triton.next_power_of_2(d))))
