"""One TopK training step written out by hand: loss and gradients, for one SAE or for a stack of them.

With `E` [d_sae, d_in] for the encoder's transpose and `D` for the decoder (both one row per feature)

    pre = (x - s b_dec) E' + b_enc      f = topk(pre)      x' = f D + b_dec      loss = mean((x' - x)^2)
    g = 2 (x' - x) / (n d_in)           dD = f' g          df = g D' where f was kept
    dE = df' (x - s b_dec)              db_enc = sum df    db_dec = sum g - s (sum df) E

(s is 1 where the decoder bias is subtracted from the input). `dense` does this with whole matrices, of any leading
shape; `sparse` touches only the k kept features of each row and serves one SAE on a CPU. Both multiply in the dtype
of the narrow weights: bfloat16 halves the time on CPUs that have it. Weights and sums over rows stay float32.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from codi_int.sae.kernels import eager, reference

SPARSE_FROM = 4
"""d_sae / k from which `sparse` is the faster one on a CPU (benchmarks/sae_step_cpu.py)"""

SPARSE_DF_FROM = 10
"""d_sae / k from which it also takes the gradients of the kept values one by one instead of with a whole product"""

FEW = 8
"""k below which `torch.topk` is the fastest selection on a CPU (benchmarks/sae_step_cpu.py)"""


class Weights(NamedTuple):
    """The parameters of one SAE, or of a stack with one more leading axis."""

    E: Tensor
    """[d_sae, d_in] encoder weights, a row per feature"""
    b_enc: Tensor
    """[d_sae] encoder bias"""
    D: Tensor
    """[d_sae, d_in] decoder weights, a row per feature"""
    b_dec: Tensor
    """[d_in] decoder bias"""


class StepGradients(NamedTuple):
    """What one batch gives."""

    grad: Callable[[str, slice], Tensor]
    """gradient of the loss by the weights of this name, for some of the features; E and D in the dtype of the
    products. They are multiplied out when asked for, so that they need not all be held at once"""
    mse: Tensor
    """mean squared error, one for each SAE of the stack"""
    fired: Tensor
    """[d_sae] rows on which each feature fired"""


def dense(
    w: Weights,
    narrow: Weights,
    x: Tensor,
    k: int,
    ks: Tensor | None,
    rule: str,
    subtract: bool,
) -> StepGradients:
    """One step with whole matrices; `ks` [stack, 1, 1] cuts the k of each SAE where they differ.

    Args:
        w: the weights, float32.
        narrow: the same with E and D in the dtype of the products.
        x: [n, d_in] rows to train on, float32; [stack, n, d_in] for a stack.
        k: features to keep, the largest k of the stack.
        ks: the k of each SAE where they differ.
        rule: `abs` or `relu`.
        subtract: whether the decoder bias is subtracted from the input.
    """
    dtype = narrow.E.dtype
    x_in = (x - w.b_dec.unsqueeze(-2) if subtract else x).to(dtype)
    # [*, n, d_sae]; selection and sums are float32, only the operands of products are narrow
    pre = torch.matmul(x_in, narrow.E.mT).float().add_(w.b_enc.unsqueeze(-2))
    f = _activations(pre, k, ks, rule).to(dtype)
    # One mask for both ways of not firing: not among the k, or kept but cut to 0 by ReLU. The choice of the k is
    # piecewise constant, so the gradient of TopK is the identity on what fires and 0 elsewhere.
    silent = f == 0
    residual = torch.matmul(f, narrow.D).float().add_(w.b_dec.unsqueeze(-2)).sub_(x)
    mse, g = _loss(residual)
    g_narrow = g.to(dtype)
    df = torch.matmul(g_narrow, narrow.D.mT).masked_fill_(silent, 0.0)
    # the sum over the batch is not rounded to the dtype of df
    db_enc = df.sum(dim=-2, dtype=torch.float32)
    db_dec = g.sum(dim=-2)
    # b_dec also enters through the encoder, pre = x E' - b_dec E' + b_enc: the chain rule needs only the sum of df
    if subtract:
        db_dec = db_dec - torch.matmul(db_enc.unsqueeze(-2), w.E).squeeze(-2)

    # a closure, so that a matrix gradient is made when Adam asks for it, on a CPU piece by piece
    def grad(name: str, some: slice) -> Tensor:
        match name:
            case "E":
                return torch.matmul(df[..., some].mT, x_in)
            case "D":
                return torch.matmul(f[..., some].mT, g_narrow)
        return db_enc[..., some] if name == "b_enc" else db_dec

    return StepGradients(grad, mse, x.shape[-2] - silent.sum(dim=-2))


def sparse(w: Weights, narrow: Weights, x: Tensor, k: int, rule: str, subtract: bool) -> StepGradients:
    """The same step for one SAE on a CPU, touching only what was kept; arguments as in `dense`."""
    dtype = narrow.E.dtype
    x_in = (x - w.b_dec if subtract else x).to(dtype)
    pre = torch.matmul(x_in, narrow.E.mT).float().add_(w.b_enc)
    # the encoder's product stays whole: which k are kept is not known before all d_sae are computed
    indices = _kept_indices(pre, k, rule)
    values = reference.activate(pre.gather(-1, indices), rule)
    # The gradient of a kept value is <g[n], D[indices[n, j]]>. With few kept, embedding_bag's backward pass computes
    # these n * k alone, and the values have to be a leaf for it; with many a whole product is faster.
    few = len(w.E) >= k * SPARSE_DF_FROM
    leaf = values.to(dtype, copy=True).requires_grad_(few)
    with torch.set_grad_enabled(few):
        # each row of `indices` [n, k] is a bag of decoder rows, weighted by its values: f D without the zeros of f
        rebuilt = embedding_bag(indices, narrow.D, mode="sum", per_sample_weights=leaf)
    mse, g = _loss(rebuilt.detach().float().add_(w.b_dec).sub_(x))
    g_narrow = g.to(dtype)
    if few:  # of a scalar, because torch would load sympy to check a gradient that is handed in
        with torch.enable_grad():
            along = (rebuilt * g_narrow).sum()
        (df,) = torch.autograd.grad(along, leaf)
    else:
        df = torch.matmul(g_narrow, narrow.D.mT).gather(-1, indices)
    silent = (values == 0).flatten()
    df = df.flatten().masked_fill_(silent, 0.0)
    # The inverse index. Entry e of the flat [n * k] list is row e // k; sorted by feature, the entries of one feature
    # are a bag of rows, so that dE and dD are embedding_bags too, and each row of a gradient is written once.
    features, d_sae = indices.flatten(), len(w.E)
    by_feature, edges = _by_feature(features.numpy(), d_sae)
    rows, order = torch.from_numpy(by_feature // k), torch.from_numpy(by_feature)
    weights = {"E": df.index_select(0, order), "D": leaf.detach().flatten().index_select(0, order)}
    # times kept, less the times that it was kept at 0
    fired = torch.from_numpy(np.diff(edges)) - torch.bincount(features[silent], minlength=d_sae)
    db_enc = torch.zeros_like(w.b_enc).index_add_(0, features, df.float())
    db_dec = g.sum(dim=0) - db_enc @ w.E if subtract else g.sum(dim=0)

    def grad(name: str, some: slice) -> Tensor:
        match name:
            case "b_enc":
                return db_enc[some]
            case "b_dec":
                return db_dec
        # entries of neighbouring features are neighbours, so a piece of the gradient reads one stretch of them; a bag
        # without entries (a feature that no row kept) gives a row of zeros
        start, stop, _ = some.indices(d_sae)
        first, last = int(edges[start]), int(edges[stop])
        starts, source = torch.from_numpy(edges[start:stop] - first), x_in if name == "E" else g_narrow
        theirs = weights[name][first:last]
        return embedding_bag(rows[first:last], source, starts, mode="sum", per_sample_weights=theirs)

    return StepGradients(grad, mse, fired)


def _by_feature(features: NDArray[np.int64], d_sae: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order of kept entries that sorts them by feature, and [d_sae + 1] where each feature's begin in it."""
    narrow = features.astype(np.min_scalar_type(d_sae))  # numpy sorts 16 bits by radix
    edges = np.concatenate([[0], np.bincount(features, minlength=d_sae).cumsum()])
    return narrow.argsort(kind="stable"), edges


def _loss(residual: Tensor) -> tuple[Tensor, Tensor]:
    """The mean squared error of each SAE, and its gradient [*, n, d_in] in the residual's place."""
    # the residual is not needed again, so its memory takes the gradient
    scale = 1.0 / (residual.shape[-2] * residual.shape[-1])
    flat = residual.flatten(-2)
    return torch.linalg.vecdot(flat, flat) * scale, residual.mul_(2 * scale)


def _activations(pre: Tensor, k: int, ks: Tensor | None, rule: str) -> Tensor:
    """The pre-activations through their rule, with 0 for all but the k kept entries of a row."""
    # with one k a mask is enough, and a mask is found without ranking the kept entries
    if not pre.is_cuda and ks is None:
        kept = eager.kept(reference.keys(pre, rule).flatten(0, -2), k).view_as(pre)
        return reference.activate(torch.where(kept, pre, 0.0), rule)
    indices = _select(pre, k, rule)
    values = reference.activate(pre.gather(-1, indices), rule)
    # entries come largest first, so the first ks[i] of the max(ks) are what SAE i keeps: [k] < [stack, 1, 1]
    if ks is not None:
        values = values * (torch.arange(k, device=pre.device) < ks)
    return torch.zeros_like(pre).scatter_(-1, indices, values)


def _kept_indices(pre: Tensor, k: int, rule: str) -> Tensor:
    """[n, k] indices of the kept features in any order, on a CPU."""
    key = reference.keys(pre, rule)
    if k < FEW:
        return eager.select(key, k)
    # every row of the mask has exactly k, so the flat places of all rows fold to [n, k]; less the row's beginning
    places = np.flatnonzero(eager.kept(key, k).numpy()).reshape(-1, k)
    return torch.from_numpy(places - pre.shape[1] * np.arange(len(places))[:, None])


def _select(pre: Tensor, k: int, rule: str) -> Tensor:
    """Indices of the kept features, largest key first; ties to the lower index."""
    if not pre.is_cuda:
        return eager.select(reference.keys(pre, rule).flatten(0, -2), k).view(*pre.shape[:-1], k)
    from codi_int.sae.kernels import encode_triton

    if pre.shape[-1] <= encode_triton.SINGLE.chunk:
        return encode_triton.select(pre.flatten(0, -2), k, rule).indices.view(*pre.shape[:-1], k)
    # wider rows through their groups; `eager.select` would have to ask the GPU whether there are ties, a host sync in
    # every step, and `torch.topk` alone breaks them as it likes
    return encode_triton.select_wide(pre.flatten(0, -2), k, rule).indices.view(*pre.shape[:-1], k)
