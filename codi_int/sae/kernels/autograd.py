"""The kernels with their gradients: two `torch.autograd.Function`s."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from codi_int.sae.kernels import encode_triton, reference
from codi_int.sae.kernels.reference import EncodedTopK
from codi_int.sae.kernels.sparse_triton import dot_rows, gather_rows, scatter_rows


class Selection(NamedTuple):
    """What is kept of each row, and how it is found."""

    k: int
    """features to keep"""
    rule: str
    """`abs` or `relu`"""
    tiles: encode_triton.Tiles | None = None
    """sizes of the kernels' blocks; None chooses them by dtype and device"""


class EncodeTopK(torch.autograd.Function):
    """`encode_topk`; gradients touch only the kept features."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, W_enc: Tensor, b_enc: Tensor, selection: Selection) -> tuple[Tensor, Tensor]:
        """Values and indices, both [n, k]."""
        kept, indices = encode_triton.encode(
            x,
            W_enc,
            b_enc,
            k=selection.k,
            rule=selection.rule,
            tiles=selection.tiles,
        )
        # the n * k kept pre-activations are all that the backward pass needs of the n * d_sae; the rest is freed here
        ctx.save_for_backward(x, W_enc, kept, indices)
        ctx.rule = selection.rule
        ctx.mark_non_differentiable(indices)
        return reference.activate(kept, selection.rule), indices

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, W_enc and b_enc."""
        x, W_enc, kept, indices = ctx.saved_tensors
        # Which entries are kept is constant almost everywhere, so a gradient reaches the kept entries alone; for `abs`
        # their activation is the identity, for `relu` it is 1 or 0, and 0 at 0 as torch has it.
        grad = grads[0] if ctx.rule == "abs" else grads[0] * (kept > 0)
        # pre[n, f] = x[n] . W_enc[:, f] + b_enc[f] with f = indices[n, j]: x gets a weighted sum of k columns of W_enc,
        # and column f of W_enc a weighted sum of those rows of x that kept f. Transposed views hold columns as rows.
        grad_x = gather_rows(grad, indices, W_enc.T) if ctx.needs_input_grad[0] else None
        grad_W = grad_b = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            # the sums of the weights alone are the gradient of the bias, and come out of the same pass
            scattered = scatter_rows(grad, indices, x, W_enc.shape[1])
            grad_W, grad_b = scattered.rows.T, scattered.totals
        return grad_x, grad_W, grad_b, None


class DecodeTopK(torch.autograd.Function):
    """`decode_topk`; gradients of the values, W_dec and b_dec."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, indices: Tensor, W_dec: Tensor, b_dec: Tensor) -> Tensor:
        """Reconstructions [n, d_in]."""
        ctx.save_for_backward(values, indices, W_dec)
        return gather_rows(values, indices, W_dec, b_dec)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of values, W_dec and b_dec."""
        values, indices, W_dec = ctx.saved_tensors
        grad = grads[0]
        grad_values = dot_rows(grad, indices, W_dec) if ctx.needs_input_grad[0] else None
        grad_W = scatter_rows(values, indices, grad, W_dec.shape[0]).rows if ctx.needs_input_grad[2] else None
        # summed in float32 and rounded once, like every sum over the batch here
        grad_b = grad.float().sum(dim=0).to(grad.dtype) if ctx.needs_input_grad[3] else None
        return grad_values, None, grad_W, grad_b


def encode_topk(
    x: Tensor, W_enc: Tensor, b_enc: Tensor, k: int, rule: str, tiles: encode_triton.Tiles | None = None
) -> EncodedTopK:
    """See `reference.encode_topk`."""
    values, indices = EncodeTopK.apply(x, W_enc, b_enc, Selection(k, rule, tiles))  # type: ignore[no-untyped-call]
    return EncodedTopK(values, indices)


def decode_topk(values: Tensor, indices: Tensor, W_dec: Tensor, b_dec: Tensor) -> Tensor:
    """See `reference.decode_topk`."""
    decoded: Tensor = DecodeTopK.apply(values, indices, W_dec, b_dec)  # type: ignore[no-untyped-call]
    return decoded
