"""The definitions, in plain torch, that every other implementation has to match.

Pre-activations are `x @ W_enc + b_enc`, summed in float32 at least and rounded once to the dtype of `x`.
A row keeps the k entries with the largest key, where the key is the pre-activation (`relu`) or its
magnitude (`abs`). Equal keys go to the lower feature index. NaN ranks above everything, also above inf,
so broken input stays visible in the values instead of being dropped. Kept entries are listed from the
largest key to the smallest, equal keys by ascending index.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class EncodedTopK(NamedTuple):
    """What a TopK encoder keeps of each row."""

    values: Float[Tensor, "n k"]
    """activations; 0 under rule `relu` where the pre-activation is not positive"""
    indices: Int[Tensor, "n k"]
    """features, distinct within a row"""


def preactivations(
    x: Float[Tensor, "n d_in"], W_enc: Float[Tensor, "d_in d_sae"], b_enc: Float[Tensor, " d_sae"]
) -> Float[Tensor, "n d_sae"]:
    """`x @ W_enc + b_enc`; 16-bit input is summed in float32 and rounded once."""
    if x.dtype in (torch.float32, torch.float64):
        return torch.addmm(b_enc, x, W_enc)
    if x.is_cuda:  # tensor cores sum in float32 and add the bias before they round
        return torch.addmm(b_enc, x, W_enc)
    # nothing promises as much of a 16-bit product on a CPU, so the operands are widened first
    return torch.addmm(b_enc.float(), x.float(), W_enc.float()).to(x.dtype)


def keys(pre: Float[Tensor, "*n d_sae"], rule: str) -> Float[Tensor, "*n d_sae"]:
    """What the entries are ranked by: magnitude for `abs`, value for `relu`."""
    return pre.abs() if rule == "abs" else pre


def activate(kept: Float[Tensor, "*n k"], rule: str) -> Float[Tensor, "*n k"]:
    """Activations of the kept pre-activations: as they are for `abs`, through ReLU for `relu`."""
    return kept if rule == "abs" else kept.relu()


def select(key: Float[Tensor, "n d_sae"], k: int) -> Int[Tensor, "n k"]:
    """Indices of the k largest keys of each row, by a full stable sort."""
    # torch sorts NaN as the greatest, so descending order puts it first; stability gives ties to the lower index
    return key.sort(dim=1, descending=True, stable=True).indices[:, :k]


def decode_topk(
    values: Float[Tensor, "n k"],
    indices: Int[Tensor, "n k"],
    W_dec: Float[Tensor, "d_sae d_in"],
    b_dec: Float[Tensor, " d_in"],
) -> Float[Tensor, "n d_in"]:
    """`b_dec + sum_j values[:, j] * W_dec[indices[:, j]]`; 16-bit input is summed in float32 and rounded once."""
    wide = torch.promote_types(W_dec.dtype, torch.float32)
    dense = torch.zeros(values.shape[0], W_dec.shape[0], dtype=wide, device=values.device)
    # added, not written, so that the definition also holds where a feature is listed twice
    dense = dense.scatter_add(1, indices, values.to(wide))
    return torch.addmm(b_dec.to(wide), dense, W_dec.to(wide)).to(W_dec.dtype)


def encode_topk(
    x: Float[Tensor, "n d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, " d_sae"],
    k: int,
    rule: str,
) -> EncodedTopK:
    """The k kept features of each row; differentiable in x, W_enc and b_enc through the kept entries."""
    pre = preactivations(x, W_enc, b_enc)
    # the choice of features is piecewise constant: no gradient goes through the keys
    indices = select(keys(pre.detach(), rule), k)
    return EncodedTopK(activate(pre.gather(1, indices), rule), indices)
