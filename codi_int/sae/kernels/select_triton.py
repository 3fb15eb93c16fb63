"""Exact selection of the k largest entries of each row, in Triton: by threshold, without a sort of the row.

The steps stand in `encode_triton`, which launches these kernels: `_groups_kernel` and `_listed_kernel` for wide rows,
`_narrow_kernel` for rows that fit into registers.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl

NOTHING = tl.constexpr(-(2**31))
"""key of a column that does not exist, before it is shifted: below the key of every float"""
GREATEST = tl.constexpr(2**31 - 1)
"""key of NaN, before it is shifted: above the key of every float"""
SHIFTS = {torch.float32: 0, torch.float16: 13, torch.bfloat16: 16}
"""low bits of a key that say nothing, because the float has fewer: a bisection need not go through them"""


@triton.jit
@no_type_check
def _ordered_key(value, BY_MAGNITUDE: tl.constexpr, SHIFT: tl.constexpr):
    """An int32 that orders floats: NaN first, then by value or magnitude, -0.0 equal to 0.0.

    SHIFT is that of the float's dtype, see `SHIFTS`: keys of 16-bit floats then lie close together, which saves two
    thirds of the halvings.
    """
    # widening 16 bits to float32 is exact, so the order and the ties of the narrow values are kept
    number = value.to(tl.float32)
    # -0.0 and 0.0 have different bits but have to tie, as they do in a sort of floats
    number = tl.where(number == 0.0, 0.0, number)
    if BY_MAGNITUDE:
        number = tl.abs(number)
    bits = number.to(tl.int32, bitcast=True)
    # Read as integers, the bits of positive floats already ascend with the value: exponent above mantissa. Those of
    # negative ones descend. The arithmetic shift gives all ones where the sign is set, so the XOR turns exactly the
    # negative ones around and leaves the sign bit, which keeps them below the positive ones.
    key = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    # NaNs of either sign and any payload become one key, so that several NaNs in a row tie by index
    return tl.where(number != number, GREATEST, key) >> SHIFT


@triton.jit(do_not_specialize=["k"])
@no_type_check
def _groups_kernel(
    maxima_ptr,
    listed_ptr,
    count_ptr,
    least_ptr,
    greatest_ptr,
    n_groups,
    k,
    SHIFT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """For one row: tau, the k-th largest group maximum (or below all keys), and the groups that reach it."""
    # grid (n,): a program owns a row, and holds all its maxima at once: 4,096 of them at 131,072 features
    row = tl.program_id(0).to(tl.int64)
    group = tl.arange(0, BLOCK)
    maxima = tl.load(maxima_ptr + row * n_groups + group, mask=group < n_groups, other=NOTHING >> SHIFT)
    # Bisection over keys. Its ends are scalars of 64 bits, as `high - low` may take 33; what is compared with every key
    # has 32, as keys have. Invariant: low = NOTHING + 1, which every real key exceeds, or at least k maxima reach low;
    # fewer than k reach high + 1. It starts below all keys, not at the least maximum, because with fewer than k groups
    # no key is reached k times: low then stays and every group is listed.
    low = tl.full((), NOTHING >> SHIFT, tl.int64) + 1
    greatest = tl.max(maxima)
    high = greatest.to(tl.int64)
    while low < high:
        middle = low + (high - low + 1) // 2  # rounded up, so that low = middle always shortens the interval
        n_reaching = tl.sum((maxima >= middle.to(tl.int32)).to(tl.int32))
        low = tl.where(n_reaching >= k, middle, low)
        # exactly k reach the middle: it separates them as well as the k-th largest itself, so stop here
        high = tl.where(n_reaching > k, high, tl.where(n_reaching == k, middle, middle - 1))
    # Either every group is listed, or at least k entries are >= low, one in each listed group, and all entries of other
    # groups are < low: none of those is kept, not even by a tie. The running count lists groups in ascending order,
    # which the ties of `_store_kept` rely on.
    reaches = (maxima >= low.to(tl.int32)) & (group < n_groups)
    place = tl.cumsum(reaches.to(tl.int32), axis=0) - 1
    tl.store(listed_ptr + row * n_groups + place, group, mask=reaches)
    tl.store(count_ptr + row, tl.sum(reaches.to(tl.int32)))
    tl.store(least_ptr + row, low.to(tl.int32))
    tl.store(greatest_ptr + row, greatest)


@triton.jit
@no_type_check
def _store_kept(
    kept_ptr,
    indices_ptr,
    feature,
    pre,
    key,
    border,
    n_ties_wanted,
    n_kept,
    n_ties,
):
    """Write the entries above the border key and the first that equal it; how many were kept and how many tied."""
    # Entries come in ascending order of the feature, within a chunk and from chunk to chunk, so the running counts are
    # all that ties to the lower index and dense, ordered places need. `n_kept` and `n_ties` carry them over chunks.
    ties = (key == border).to(tl.int32)
    kept = (key > border) | ((ties == 1) & (n_ties + tl.cumsum(ties, axis=0) <= n_ties_wanted))
    place = n_kept + tl.cumsum(kept.to(tl.int32), axis=0) - 1
    tl.store(kept_ptr + place, pre, mask=kept)
    tl.store(indices_ptr + place, feature.to(tl.int64), mask=kept)
    return n_kept + tl.sum(kept.to(tl.int32)), n_ties + tl.sum(ties)


@triton.jit
@no_type_check
def _maxima_kernel(
    pre_ptr,
    maxima_ptr,
    d_sae,
    n_groups,
    BY_MAGNITUDE: tl.constexpr,
    SHIFT: tl.constexpr,
    GROUP: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """The largest key of each group of columns, in one pass over pre-activations that another kernel has written."""
    # grid (n, chunks): a program owns CHUNK columns of one row; CHUNK is a multiple of GROUP
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * CHUNK + tl.arange(0, CHUNK)
    exists = column < d_sae
    pre = tl.load(pre_ptr + row * d_sae + column, mask=exists, other=0.0)
    key = tl.where(exists, _ordered_key(pre, BY_MAGNITUDE, SHIFT), NOTHING >> SHIFT)
    group = tl.program_id(1) * (CHUNK // GROUP) + tl.arange(0, CHUNK // GROUP)
    maxima = tl.max(tl.reshape(key, (CHUNK // GROUP, GROUP)), axis=1)
    tl.store(maxima_ptr + row * n_groups + group, maxima, mask=group < n_groups)


@triton.jit(do_not_specialize=["k"])
@no_type_check
def _narrow_kernel(
    pre_ptr,
    kept_ptr,
    indices_ptr,
    d_sae,
    k,
    BY_MAGNITUDE: tl.constexpr,
    SHIFT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """For one row that fits into registers: the k kept entries in ascending order of the feature."""
    # grid (n,): a program owns a row of `pre` and its k places in the output
    row = tl.program_id(0).to(tl.int64)
    feature = tl.arange(0, BLOCK)
    exists = feature < d_sae
    pre = tl.load(pre_ptr + row * d_sae + feature, mask=exists, other=0.0)
    key = tl.where(exists, _ordered_key(pre, BY_MAGNITUDE, SHIFT), NOTHING >> SHIFT)
    # Invariant: at least k entries reach low (at the start all d_sae do, and k <= d_sae); fewer than k reach high + 1.
    # The padding has key NOTHING < low and is never counted, tied or kept.
    low = tl.min(tl.where(exists, key, GREATEST)).to(tl.int64)
    high = tl.max(key).to(tl.int64)
    while low < high:  # until low is the largest key that at least k entries reach, or one that exactly k reach
        middle = low + (high - low + 1) // 2
        n_reaching = tl.sum((key >= middle.to(tl.int32)).to(tl.int32))
        low = tl.where(n_reaching >= k, middle, low)
        high = tl.where(n_reaching > k, high, tl.where(n_reaching == k, middle, middle - 1))
    border = low.to(tl.int32)
    n_ties_wanted = k - tl.sum((key > border).to(tl.int32))
    _store_kept(
        kept_ptr=kept_ptr + row * k,
        indices_ptr=indices_ptr + row * k,
        feature=feature,
        pre=pre,
        key=key,
        border=border,
        n_ties_wanted=n_ties_wanted,
        n_kept=0,
        n_ties=0,
    )


@triton.jit
@no_type_check
def _listed_keys(
    pre_ptr,
    listed_ptr,
    start,
    n_listed,
    d_sae,
    BY_MAGNITUDE: tl.constexpr,
    SHIFT: tl.constexpr,
    GROUP: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Feature, pre-activation and key of CHUNK entries, from the listed group with number `start` on."""
    # entries are numbered through the listed groups laid end to end; `feature` is where one lies in the row
    entry = start * GROUP + tl.arange(0, CHUNK)
    exists = entry < n_listed * GROUP
    group = tl.load(listed_ptr + entry // GROUP, mask=exists, other=0)
    feature = group * GROUP + entry % GROUP
    exists = exists & (feature < d_sae)  # the row's last group may be cut short
    pre = tl.load(pre_ptr + feature, mask=exists, other=0.0)
    return feature, pre, tl.where(exists, _ordered_key(pre, BY_MAGNITUDE, SHIFT), NOTHING >> SHIFT)


@triton.jit(do_not_specialize=["k"])
@no_type_check
def _listed_kernel(
    pre_ptr,
    listed_ptr,
    count_ptr,
    least_ptr,
    greatest_ptr,
    kept_ptr,
    indices_ptr,
    d_sae,
    n_groups,
    k,
    BY_MAGNITUDE: tl.constexpr,
    SHIFT: tl.constexpr,
    GROUP: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Like `_narrow_kernel`, over the entries of the listed groups, a chunk at a time."""
    # grid (n,): a program owns a row. Without ties k groups are listed at most, so each pass reads about k * GROUP
    # entries of d_sae; with many ties it may be all of them, which costs time but is still exact.
    row = tl.program_id(0).to(tl.int64)
    pre_ptr += row * d_sae
    listed_ptr += row * n_groups
    n_listed = tl.load(count_ptr + row)
    # tau is a lower bound for the border, as at least k entries reach it, and the greatest maximum an upper one: the
    # bisection starts between them with the invariant of `_narrow_kernel`. Padding is NOTHING, below every low.
    low = tl.load(least_ptr + row).to(tl.int64)
    high = tl.load(greatest_ptr + row).to(tl.int64)
    while low < high:
        middle = low + (high - low + 1) // 2
        n_reaching = tl.zeros((), tl.int32)
        for start in range(0, n_listed, CHUNK // GROUP):
            _, _, key = _listed_keys(
                pre_ptr=pre_ptr,
                listed_ptr=listed_ptr,
                start=start,
                n_listed=n_listed,
                d_sae=d_sae,
                BY_MAGNITUDE=BY_MAGNITUDE,
                SHIFT=SHIFT,
                GROUP=GROUP,
                CHUNK=CHUNK,
            )
            n_reaching += tl.sum((key >= middle.to(tl.int32)).to(tl.int32))
        low = tl.where(n_reaching >= k, middle, low)
        high = tl.where(n_reaching > k, high, tl.where(n_reaching == k, middle, middle - 1))
    border = low.to(tl.int32)
    # all entries above the border must be counted before the first tie can be written, hence a pass of its own
    n_ties_wanted = k
    for start in range(0, n_listed, CHUNK // GROUP):
        _, _, key = _listed_keys(
            pre_ptr=pre_ptr,
            listed_ptr=listed_ptr,
            start=start,
            n_listed=n_listed,
            d_sae=d_sae,
            BY_MAGNITUDE=BY_MAGNITUDE,
            SHIFT=SHIFT,
            GROUP=GROUP,
            CHUNK=CHUNK,
        )
        n_ties_wanted -= tl.sum((key > border).to(tl.int32))
    n_kept = tl.zeros((), tl.int32)
    n_ties = tl.zeros((), tl.int32)
    for start in range(0, n_listed, CHUNK // GROUP):
        feature, pre, key = _listed_keys(
            pre_ptr=pre_ptr,
            listed_ptr=listed_ptr,
            start=start,
            n_listed=n_listed,
            d_sae=d_sae,
            BY_MAGNITUDE=BY_MAGNITUDE,
            SHIFT=SHIFT,
            GROUP=GROUP,
            CHUNK=CHUNK,
        )
        n_kept, n_ties = _store_kept(
            kept_ptr=kept_ptr + row * k,
            indices_ptr=indices_ptr + row * k,
            feature=feature,
            pre=pre,
            key=key,
            border=border,
            n_ties_wanted=n_ties_wanted,
            n_kept=n_kept,
            n_ties=n_ties,
        )
