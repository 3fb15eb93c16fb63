"""One TopK training step written out by hand: loss and gradients, for one SAE or for a stack of them.

With `E` [d_sae, d_in] for the encoder's transpose and `D` for the decoder (both one row per feature)

    pre = (x - s b_dec) E' + b_enc      f = topk(pre)      x' = f D + b_dec      loss = mean((x' - x)^2)
    g = 2 (x' - x) / (n d_in)           dD = f' g          df = g D' where f was kept
    dE = df' (x - s b_dec)              db_enc = sum df    db_dec = sum g - s (sum df) E

(s is 1 where the decoder bias is subtracted from the input). `dense` does this with whole matrices, of any
leading shape. `sparse` touches only the k kept features of each row and serves one SAE on a CPU; it pays from
about d_sae / k = 12 on. Both can multiply in bfloat16, which halves the time on CPUs that have it; sums of
gradients and all weights stay float32.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from codi_int.sae.kernels import eager, reference

SPARSE_FROM = {"float32": 5, "bfloat16": 12}
"""d_sae / k from which `sparse` is the faster one on a CPU (benchmarks/sae_train_cpu.py), by kind of product"""


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


class Batch(NamedTuple):
    """Rows to train on."""

    x: Tensor
    """[n, d_in] rows in float32"""
    narrow: Tensor
    """the same rows in the dtype of the products"""


class Step(NamedTuple):
    """What one batch gives."""

    grads: Weights
    """gradients of the loss"""
    mse: Tensor
    """mean squared error, one for each SAE of the stack"""
    fired: Tensor
    """[d_sae] rows on which each feature fired"""


def dense(w: Weights, batch: Batch, k: int, ks: Tensor | None, rule: str, subtract: bool) -> Step:
    """One step with whole matrices; `ks` [stack, 1, 1] cuts the k of each SAE where they differ."""
    dtype = batch.narrow.dtype
    shift = w.b_dec.unsqueeze(-2) if subtract else None
    x_in = batch.narrow if shift is None else (batch.x - shift).to(dtype)
    pre = torch.matmul(x_in, w.E.to(dtype).mT).float() + w.b_enc.unsqueeze(-2)
    indices = _select(pre, k, rule)
    kept = pre.gather(-1, indices)
    values = reference.activate(kept, rule)
    if ks is not None:
        values = values * (torch.arange(k, device=pre.device) < ks)
    f = torch.zeros_like(pre, dtype=dtype).scatter_(-1, indices, values.to(dtype))
    D = w.D.to(dtype)
    residual = torch.matmul(f, D).float() + w.b_dec.unsqueeze(-2) - batch.x
    g = residual * (2.0 / (residual.shape[-2] * residual.shape[-1]))
    g_narrow = g.to(dtype)
    df = torch.where(f != 0, torch.matmul(g_narrow, D.mT), 0.0)
    db_enc = df.float().sum(dim=-2)
    db_dec = g.sum(dim=-2)
    if subtract:
        db_dec = db_dec - torch.matmul(db_enc.unsqueeze(-2), w.E).squeeze(-2)
    grads = Weights(torch.matmul(df.mT, x_in).float(), db_enc, torch.matmul(f.mT, g_narrow).float(), db_dec)
    return Step(grads, residual.square().mean(dim=(-2, -1)), (f != 0).sum(dim=-2))


def sparse(w: Weights, batch: Batch, k: int, rule: str, subtract: bool) -> Step:
    """The same step for one SAE, touching only what was kept."""
    dtype = batch.narrow.dtype
    x_in = batch.x - w.b_dec if subtract else batch.x
    pre = torch.matmul(x_in.to(dtype) if subtract else batch.narrow, w.E.to(dtype).mT).float() + w.b_enc
    indices = _select(pre, k, rule)
    values = reference.activate(pre.gather(-1, indices), rule)
    with torch.enable_grad():
        leaf = values.detach().requires_grad_()
        rebuilt = embedding_bag(indices, w.D, mode="sum", per_sample_weights=leaf)
    residual = rebuilt.detach() + w.b_dec - batch.x
    g = residual * (2.0 / residual.numel())
    (df,) = torch.autograd.grad(rebuilt, leaf, g)
    df = torch.where(values != 0, df, 0.0)
    by_feature = indices.flatten().sort(stable=True)
    rows, order = by_feature.indices // k, by_feature.indices
    fired = torch.bincount(indices.flatten(), weights=(values != 0).flatten().float(), minlength=pre.shape[1])
    counts = torch.bincount(by_feature.values, minlength=pre.shape[1])
    starts = counts.cumsum(0) - counts

    def by_row(source: Tensor, weights: Tensor) -> Tensor:
        """[d_sae, d_in]: for each feature the weighted sum of the rows that kept it."""
        return embedding_bag(rows, source, starts, mode="sum", per_sample_weights=weights.flatten()[order])

    db_enc = torch.zeros_like(w.b_enc).index_add_(0, indices.flatten(), df.flatten())
    db_dec = g.sum(dim=0) - db_enc @ w.E if subtract else g.sum(dim=0)
    return Step(Weights(by_row(x_in, df), db_enc, by_row(g, values), db_dec), residual.square().mean(), fired.long())


def _select(pre: Tensor, k: int, rule: str) -> Tensor:
    """Indices of the kept features, largest key first; ties to the lower index, without a host sync on a GPU."""
    if not pre.is_cuda:
        flat = eager.select(reference.keys(pre, rule).flatten(0, -2), k)
        return flat.view(*pre.shape[:-1], k)
    from codi_int.sae.kernels import encode_triton

    if pre.shape[-1] <= encode_triton.SINGLE.chunk:
        return encode_triton.select(pre.flatten(0, -2), k, rule).indices.view(*pre.shape[:-1], k)
    return reference.keys(pre, rule).topk(k, dim=-1).indices
