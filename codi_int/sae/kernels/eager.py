"""Fast plain torch: `torch.topk`, whose ties are arbitrary, plus a repair of exactly the rows that have any."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codi_int.sae.kernels import reference
from codi_int.sae.kernels.reference import EncodedTopK


def select(key: Float[Tensor, "n d_sae"], k: int) -> Int[Tensor, "n k"]:
    """Indices of the k largest keys of each row; equal to `reference.select`.

    One entry more than asked for is fetched, so that a tie at the border shows as two equal neighbours.
    """
    # Equal neighbours among the first k + 1 are the only way in which a set or its order can be ambiguous: within the k
    # they may come in any order, at k and k + 1 the wrong one may be in. NaN differs from itself, so equality does not
    # show ties of NaN; it sorts first, so looking at the first place is enough.
    top = key.topk(min(k + 1, key.shape[1]), dim=1)
    ambiguous = (top.values[:, 1:] == top.values[:, :-1]).any(dim=1) | top.values[:, :1].isnan().any(dim=1)
    indices = top.indices[:, :k]
    if bool(ambiguous.any()):
        indices = indices.clone()
        indices[ambiguous] = reference.select(key[ambiguous], k)
    return indices


BLOCK = 512
"""width up to which numpy sorts float32 rows in registers, much faster than torch selects"""


def kept(key: Float[Tensor, "n d_sae"], k: int) -> Bool[Tensor, "n d_sae"]:
    """Where `reference.select` points, on a CPU; from a few dozen k on much faster than a list of indices."""
    if k == key.shape[1]:
        return torch.ones_like(key, dtype=torch.bool)
    # What exceeds the (k + 1)-th largest is the kept set wherever that one differs from the k-th. Where they tie, or
    # where NaN makes the comparison false, fewer than k are marked, never more: the definition does those rows over.
    mask = key > _largest(key, k + 1)[:, :1]
    # counted in numpy first: most batches have no such row, and one count is cheaper than sums over rows
    if np.count_nonzero(mask.numpy()) != len(key) * k:
        short = mask.sum(dim=1) != k
        mask[short] = torch.zeros_like(mask[short]).scatter_(1, reference.select(key[short], k), True)
    return mask


def _largest(key: Float[Tensor, "n d_sae"], m: int) -> Float[Tensor, "n m"]:
    """The m largest of each row, the smallest of them first: the best of sorted blocks, sorted again."""
    n, width = key.shape
    # Each of the m largest of a row is among the m largest of its block. Blocks must divide the row, and the best of
    # all blocks must fit one more sort of BLOCK; else torch selects. Both orders are ascending with NaN at the end.
    if key.dtype != torch.float32 or (width > BLOCK and (width % BLOCK or width // BLOCK * m > BLOCK)):
        return key.topk(m, dim=1).values.flip(1)
    # a copy, since numpy sorts in place; [n * blocks, BLOCK], or the rows as they are where one block holds them
    best = key.clone().numpy().reshape(-1, min(width, BLOCK))
    best.sort(axis=1)
    best = np.ascontiguousarray(best[:, -m:]).reshape(n, -1)
    if width > BLOCK:
        best.sort(axis=1)
    return torch.from_numpy(best[:, -m:])


def decode_topk(
    values: Float[Tensor, "n k"],
    indices: Int[Tensor, "n k"],
    W_dec: Float[Tensor, "d_sae d_in"],
    b_dec: Float[Tensor, " d_in"],
) -> Float[Tensor, "n d_in"]:
    """See `reference.decode_topk`; one dense product in the dtype of W_dec."""
    # at small d_sae / k a dense product with zeros beats gathering k rows; `scatter_add`, unlike `scatter`, is also
    # right where a feature is listed twice in a row
    dense = torch.zeros(values.shape[0], W_dec.shape[0], dtype=W_dec.dtype, device=values.device)
    return torch.addmm(b_dec, dense.scatter_add(1, indices, values), W_dec)


def encode_topk(
    x: Float[Tensor, "n d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, " d_sae"],
    k: int,
    rule: str,
) -> EncodedTopK:
    """See `reference.encode_topk`."""
    pre = reference.preactivations(x, W_enc, b_enc)
    # detached: the choice has no gradient; the gather below carries it to the kept entries
    indices = select(reference.keys(pre.detach(), rule), k)
    return EncodedTopK(reference.activate(pre.gather(1, indices), rule), indices)
