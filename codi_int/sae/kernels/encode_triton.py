"""The TopK encoder in Triton: a GEMM that also notes column-group maxima, then exact selection by threshold.

1. `_gemm_kernel` writes the pre-activations and, for every group of neighbouring columns, the largest key. In float32
   torch multiplies, and `_maxima_kernel` notes the maxima.
2. `_groups_kernel` finds, for each row, the k-th largest group maximum `tau` and lists the groups that reach it.
   At least k entries of the row are >= tau, so every kept entry lies in a listed group (Dr. Top-k, SC'21).
3. `_listed_kernel` reads only those groups: bisection for the k-th largest key, then the entries above it and
   the first of those that equal it, in ascending order of the feature.
Floats are compared through an integer of the same order, so NaN, inf and ties have a defined place. k is an
ordinary argument: one compiled kernel serves every k. Rows of up to `Tiles.chunk` features skip step 2 and
stay in registers (`_narrow_kernel`).
"""

from dataclasses import dataclass
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from codi_int.sae.kernels import reference
from codi_int.sae.kernels.reference import EncodedTopK
from codi_int.sae.kernels.select_triton import (
    NOTHING,
    SHIFTS,
    _groups_kernel,
    _listed_kernel,
    _maxima_kernel,
    _narrow_kernel,
    _ordered_key,
)


@dataclass(frozen=True)
class Tiles:
    """Sizes of the blocks that the kernels work on; powers of two."""

    rows: int
    """rows of a GEMM tile"""
    columns: int
    """columns of a GEMM tile, a multiple of `group`"""
    inner: int
    """d_in of a GEMM tile"""
    group: int
    """columns that share one maximum"""
    chunk: int
    """entries that selection holds at once, a multiple of `group`; a row of no more skips the groups"""
    fused: bool = True
    """whether the product is Triton's and notes the groups' maxima as it goes; else it is torch's, and the maxima
    have a pass of their own"""


# The interpreter runs every program in Python and numpy, so its tiles are small: tests of a few hundred features
# then cross the borders of tiles, groups and chunks. 16-bit operands take half the shared memory of float32 ones, so
# HALF can hold more columns and more of d_in at a time.
INTERPRETED = Tiles(rows=16, columns=64, inner=32, group=32, chunk=256)
HALF = Tiles(rows=128, columns=256, inner=64, group=32, chunk=2048)
# Triton multiplies float32 without tensor cores, one multiplication after the other; cuBLAS does it better, and as
# torch's own settings of precision say.
SINGLE = Tiles(rows=128, columns=128, inner=32, group=32, chunk=2048, fused=False)


@triton.jit
@no_type_check
def _gemm_kernel(
    x_ptr,
    w_ptr,
    b_ptr,
    pre_ptr,
    maxima_ptr,
    n,
    d_in,
    d_sae,
    n_groups,
    x_row,
    x_column,
    w_row,
    w_column,
    BY_MAGNITUDE: tl.constexpr,
    SHIFT: tl.constexpr,
    WITH_MAXIMA: tl.constexpr,
    UPCAST: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    INNER: tl.constexpr,
    GROUP: tl.constexpr,
):
    """One tile of `x @ W_enc + b_enc`; row tiles run fastest, so that a stripe of W_enc stays in L2."""
    # grid (row tiles, column tiles); axis 0 runs fastest, and each program owns its tile of `pre` and of the maxima
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    # n * d_sae passes 2**31 in ordinary use (16,384 rows of 131,072 features), so offsets are formed in 64 bits
    row_64, column_64 = row.to(tl.int64), column.to(tl.int64)
    acc = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for start in range(0, d_in, INNER):
        inner = start + tl.arange(0, INNER)
        # x is masked along d_in as well as w: zero times whatever lies past the end could be NaN
        x = tl.load(
            x_ptr + row_64[:, None] * x_row + inner[None, :] * x_column,
            mask=(row[:, None] < n) & (inner[None, :] < d_in),
            other=0.0,
        )
        w = tl.load(
            w_ptr + inner[:, None].to(tl.int64) * w_row + column_64[None, :] * w_column,
            mask=(inner[:, None] < d_in) & (column[None, :] < d_sae),
            other=0.0,
        )
        if UPCAST:
            x, w = x.to(tl.float32), w.to(tl.float32)
        acc = tl.dot(x, w, acc, input_precision="ieee")
    bias = tl.load(b_ptr + column, mask=column < d_sae, other=0.0).to(tl.float32)
    # Rounded once, here. The maxima below are those of the rounded values, because these are what the selection reads
    # back: a maximum of the unrounded ones could lie on the other side of tau than the entry it stands for.
    pre = (acc + bias[None, :]).to(pre_ptr.dtype.element_ty)
    tl.store(
        pre_ptr + row_64[:, None] * d_sae + column[None, :],
        pre,
        mask=(row[:, None] < n) & (column[None, :] < d_sae),
    )
    if WITH_MAXIMA:
        # columns past d_sae hold 0 there, or NaN in a row with NaN or inf; as NOTHING they never win a group
        key = tl.where(column[None, :] < d_sae, _ordered_key(pre, BY_MAGNITUDE, SHIFT), NOTHING >> SHIFT)
        # COLUMNS is a multiple of GROUP, so no group lies in two tiles and each maximum has one writer: no atomics
        maxima = tl.max(tl.reshape(key, (ROWS, COLUMNS // GROUP, GROUP)), axis=2)
        group = tl.program_id(1) * (COLUMNS // GROUP) + tl.arange(0, COLUMNS // GROUP)
        tl.store(
            maxima_ptr + row_64[:, None] * n_groups + group[None, :],
            maxima,
            mask=(row[:, None] < n) & (group[None, :] < n_groups),
        )


# Triton would compile anew for k = 1 and for multiples of 16; nothing here gains from it, and sweeps vary k
def encode(x: Tensor, W_enc: Tensor, b_enc: Tensor, k: int, rule: str, tiles: Tiles | None = None) -> EncodedTopK:
    """Kept pre-activations (not yet through ReLU) and their features, largest key first; no gradients."""
    tiles = tiles or (INTERPRETED if not x.is_cuda else HALF if x.element_size() == 2 else SINGLE)
    narrow = W_enc.shape[1] <= tiles.chunk
    if x.shape[0] == 0:
        return EncodedTopK(x.new_empty(0, k), torch.empty(0, k, dtype=torch.int64, device=x.device))
    pre, maxima = _preactivations(x, W_enc, b_enc, rule, tiles, with_maxima=not narrow)
    return select(pre, k, rule) if narrow else _select_listed(pre, maxima, k, rule, tiles)


def select(pre: Tensor, k: int, rule: str) -> EncodedTopK:
    """The k kept entries of each row of `pre`, a row in registers; largest key first."""
    n, d_sae = pre.shape
    kept, indices = pre.new_empty(n, k), torch.empty(n, k, dtype=torch.int64, device=pre.device)
    block = triton.next_power_of_2(d_sae)
    _narrow_kernel[(n,)](
        pre_ptr=pre,
        kept_ptr=kept,
        indices_ptr=indices,
        d_sae=d_sae,
        k=k,
        BY_MAGNITUDE=rule == "abs",
        SHIFT=SHIFTS[pre.dtype],
        BLOCK=block,
    )
    return _ranked(kept, indices, rule)


def select_wide(pre: Tensor, k: int, rule: str, tiles: Tiles | None = None) -> EncodedTopK:
    """The k kept entries of each row of `pre`, whatever its width; largest key first."""
    tiles = tiles or (INTERPRETED if not pre.is_cuda else SINGLE)
    n_groups = triton.cdiv(pre.shape[1], tiles.group)
    maxima = torch.empty(len(pre), n_groups, dtype=torch.int32, device=pre.device)
    _note_maxima(pre, maxima, rule, tiles)
    return _select_listed(pre, maxima, k, rule, tiles)


def _select_listed(pre: Tensor, maxima: Tensor, k: int, rule: str, tiles: Tiles) -> EncodedTopK:
    """The same for rows of any width, through the groups whose maximum can qualify."""
    (n, d_sae), n_groups = pre.shape, maxima.shape[1]
    kept, indices = pre.new_empty(n, k), torch.empty(n, k, dtype=torch.int64, device=pre.device)
    # a row of `listed` has room for every group, since with ties any number may qualify; `count` says how many do
    listed = torch.empty(n, n_groups, dtype=torch.int32, device=pre.device)
    count, least, greatest = (torch.empty(n, dtype=torch.int32, device=pre.device) for _ in range(3))
    block = triton.next_power_of_2(n_groups)
    _groups_kernel[(n,)](
        maxima_ptr=maxima,
        listed_ptr=listed,
        count_ptr=count,
        least_ptr=least,
        greatest_ptr=greatest,
        n_groups=n_groups,
        k=k,
        SHIFT=SHIFTS[pre.dtype],
        BLOCK=block,
    )
    _listed_kernel[(n,)](
        pre_ptr=pre,
        listed_ptr=listed,
        count_ptr=count,
        least_ptr=least,
        greatest_ptr=greatest,
        kept_ptr=kept,
        indices_ptr=indices,
        d_sae=d_sae,
        n_groups=n_groups,
        k=k,
        BY_MAGNITUDE=rule == "abs",
        SHIFT=SHIFTS[pre.dtype],
        GROUP=tiles.group,
        CHUNK=tiles.chunk,
    )
    return _ranked(kept, indices, rule)


def _ranked(kept: Tensor, indices: Tensor, rule: str) -> EncodedTopK:
    """Entries in ascending order of the feature, put in descending order of the key; ties keep their order."""
    # only n * k entries are left to sort; torch sorts NaN first, as the kernels' keys do, and stability keeps the ties
    order = reference.keys(kept, rule).sort(dim=1, descending=True, stable=True).indices
    return EncodedTopK(kept.gather(1, order), indices.gather(1, order))


def _preactivations(
    x: Tensor, W_enc: Tensor, b_enc: Tensor, rule: str, tiles: Tiles, with_maxima: bool
) -> tuple[Tensor, Tensor]:
    """Pre-activations [n, d_sae] and the keys' maxima [n, n_groups]; the latter unfilled unless asked for."""
    (n, d_in), d_sae = x.shape, W_enc.shape[1]
    n_groups = triton.cdiv(d_sae, tiles.group)
    maxima = torch.empty(n if with_maxima else 0, n_groups, dtype=torch.int32, device=x.device)
    if not tiles.fused:
        pre = torch.addmm(b_enc, x, W_enc)
        if with_maxima:
            _note_maxima(pre, maxima, rule, tiles)
        return pre, maxima
    pre = x.new_empty(n, d_sae)
    # one program a tile; rows come first, because axis 0 runs fastest and neighbours then share a stripe of W_enc
    grid = (triton.cdiv(n, tiles.rows), triton.cdiv(d_sae, tiles.columns))
    launch: dict[str, Any] = {"num_warps": 8, "num_stages": 3} if x.is_cuda else {}
    _gemm_kernel[grid](
        x_ptr=x,
        w_ptr=W_enc,
        b_ptr=b_enc.contiguous(),
        pre_ptr=pre,
        maxima_ptr=maxima,
        n=n,
        d_in=d_in,
        d_sae=d_sae,
        n_groups=n_groups,
        # strides travel along, so that slices of x and a transposed W_enc are read where they lie, not copied
        x_row=x.stride(0),
        x_column=x.stride(1),
        w_row=W_enc.stride(0),
        w_column=W_enc.stride(1),
        BY_MAGNITUDE=rule == "abs",
        SHIFT=SHIFTS[x.dtype],
        WITH_MAXIMA=with_maxima,
        UPCAST=not x.is_cuda,  # the interpreter multiplies the bit patterns of bfloat16
        ROWS=tiles.rows,
        COLUMNS=tiles.columns,
        INNER=tiles.inner,
        GROUP=tiles.group,
        **launch,
    )
    return pre, maxima


def _note_maxima(pre: Tensor, maxima: Tensor, rule: str, tiles: Tiles) -> None:
    """Fill the maxima of groups from pre-activations."""
    n, d_sae = pre.shape
    _maxima_kernel[(n, triton.cdiv(d_sae, tiles.chunk))](
        pre_ptr=pre,
        maxima_ptr=maxima,
        d_sae=d_sae,
        n_groups=maxima.shape[1],
        BY_MAGNITUDE=rule == "abs",
        SHIFT=SHIFTS[pre.dtype],
        GROUP=tiles.group,
        CHUNK=tiles.chunk,
    )
