"""The definitions, in plain torch; each rounds where Hugging Face's Llama does."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Slots:
    """Where a step's keys or values go: rows [groups, heads, each, capacity, head_dim] of one layer's buffer."""

    keys: Float[Tensor, "groups heads each capacity head_dim"]
    """the layer's keys"""
    values: Float[Tensor, "groups heads each capacity head_dim"]
    """the layer's values"""
    start: int
    """the first slot that is filled"""


@dataclass(frozen=True)
class Shared:
    """What the rows of a problem read in common."""

    keys: Float[Tensor, "groups heads prefix head_dim"]
    """the prefix's keys of one layer"""
    values: Float[Tensor, "groups heads prefix head_dim"]
    """its values"""
    first: Int[Tensor, " groups"]
    """the first slot of each problem that holds no padding"""


@dataclass(frozen=True)
class LogitSummary:
    """What a choice among words needs of their logits."""

    logsumexp: Float[Tensor, "rows t"]
    """log of the sum of their exponentials"""
    own: Float[Tensor, "rows t"]
    """logit of the token that was asked about"""
    best: Float[Tensor, "rows t"]
    """the largest logit"""
    second: Float[Tensor, "rows t"]
    """the second largest, equal to the largest where two words tie"""
    choice: Int[Tensor, "rows t"]
    """the word of the largest; of equal ones the lower on a GPU, where it is too close to call anyway"""


def read_logits(logits: Float[Tensor, "rows t vocab"], ids: Int[Tensor, "rows t"]) -> LogitSummary:
    """Everything in float32; `ids` may name words that have no column (filling), which get the last one's logit."""
    # float32: bfloat16 logits near 17 are 1/8 apart, and logsumexp adds up the whole vocabulary
    scores = logits.float()
    best = scores.topk(2, -1)
    return LogitSummary(
        logsumexp=scores.logsumexp(-1),
        own=scores.gather(2, ids.clamp(max=logits.shape[-1] - 1)[..., None])[..., 0],
        best=best.values[..., 0],
        second=best.values[..., 1],
        choice=best.indices[..., 0],
    )


def add_norm(
    x: Float[Tensor, "*rows d"], delta: Float[Tensor, "*rows d"] | None, weight: Float[Tensor, " d"], eps: float
) -> tuple[Float[Tensor, "*rows d"], Float[Tensor, "*rows d"]]:
    """`x + delta`, and its RMS norm, rounded before the weight is multiplied in."""
    total = x if delta is None else x + delta
    wide = total.float()
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return total, weight * wide.to(x.dtype)


def silu_mul(gate: Float[Tensor, "*rows inner"], up: Float[Tensor, "*rows inner"]) -> Float[Tensor, "*rows inner"]:
    """`silu(gate) * up`, rounded in between."""
    return torch.nn.functional.silu(gate) * up


def rotate_store(
    q: Float[Tensor, "rows t n_heads head_dim"],
    k: Float[Tensor, "rows t heads head_dim"],
    v: Float[Tensor, "rows t heads head_dim"],
    rotary: tuple[Tensor, Tensor],
    slots: Slots,
) -> Float[Tensor, "rows t n_heads head_dim"]:
    """Turned queries; turned keys, and the values, are put into their slots.

    Args:
        rotary: cosine and sine [rows or 1, t, 1, head_dim].
    """
    groups, heads, each, _, width = slots.keys.shape
    place = slice(slots.start, slots.start + k.shape[1])
    for buffer, new in ((slots.keys, _turned(k, *rotary)), (slots.values, v)):
        # [rows, t, heads, head_dim] -> [groups, heads, each, t, head_dim]
        buffer[:, :, :, place] = new.reshape(groups, each, -1, heads, width).permute((0, 3, 1, 2, 4))
    return _turned(q, *rotary)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat((-right, left), -1) * sin


def attend(
    q: Float[Tensor, "rows t n_heads head_dim"], shared: Shared, own: Slots, scale: float
) -> Float[Tensor, "rows t n_heads head_dim"]:
    """What the last t tokens read: one softmax over their problem's prefix and their row's own slots so far.

    Token i reads the own slots up to `own.start + i`, which is where its own key stands.
    """
    rows, t, n_heads, width = q.shape
    groups, heads, each, _, _ = own.keys.shape
    stop, prefix = own.start + t, shared.keys.shape[2]
    asked = q.float().reshape((groups, each, t, heads, n_heads // heads, width)).permute((0, 3, 1, 4, 2, 5))
    far_keys, far_values = (tensor.float()[:, :, None, None] for tensor in (shared.keys, shared.values))
    near_keys, near_values = (tensor[:, :, :, None, :stop].float() for tensor in (own.keys, own.values))
    far, near = asked @ far_keys.mT * scale, asked @ near_keys.mT * scale
    padding = torch.arange(prefix, device=q.device) < shared.first[:, None]
    far = far.masked_fill(padding[:, None, None, None, None], -torch.inf)
    later = torch.ones(t, stop, dtype=torch.bool, device=q.device).triu(own.start + 1)
    near = near.masked_fill(later, -torch.inf)
    pattern = torch.cat([far, near], -1).softmax(-1)
    read = pattern[..., :prefix] @ far_values + pattern[..., prefix:] @ near_values
    return read.permute((0, 2, 4, 1, 3, 5)).reshape(rows, t, n_heads, width).to(q.dtype)
