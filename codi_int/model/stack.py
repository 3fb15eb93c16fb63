"""The blocks of a language model behind one small interface, with a hook at every point that TransformerLens names.

The weights stay in the Hugging Face model, or in the light one that stands for it; its own submodules are called. Only
attention is computed here, against a `KVCache`, because rows must be picked, cut and run again from the middle.
"""

from abc import ABC, abstractmethod
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from einops import repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from codi_int.model.branch import BranchedCache
from codi_int.model.cache import CacheShape, KVCache

BLOCK_HOOKS = (
    "hook_resid_pre",
    "attn.hook_q",
    "attn.hook_k",
    "attn.hook_v",
    "attn.hook_pattern",
    "attn.hook_z",
    "attn.hook_result",
    "hook_attn_out",
    "hook_resid_mid",
    "hook_mlp_out",
    "hook_resid_post",
)
FINAL_HOOK = "ln_final.hook_out"
RESULT_HOOK = "attn.hook_result"
"""what each head adds to the residual, [batch, t, heads, d_model]; worked out only where somebody asks for it"""


def head_hook(head: int) -> str:
    """The hook point of one head's part [batch, t, d_model]: its slice of TransformerLens' `attn.hook_result`."""
    return f"{RESULT_HOOK}.{head}"


@runtime_checkable
class Hook(Protocol):
    """What a stack calls at the points that somebody asked for."""

    @property
    def names(self) -> Container[str]:
        """The full hook names, such as `blocks.3.hook_resid_post`, at which to call."""

    def __call__(self, name: str, tensor: Tensor) -> Tensor | None:
        """Returns what takes the tensor's place; None leaves it."""


@dataclass(frozen=True)
class LayerTap:
    """The hook, seen from inside one block."""

    hook: Hook
    """who is called"""
    layer: int
    """which block"""

    def wants(self, suffix: str) -> bool:
        """Whether somebody asked for this point."""
        return f"blocks.{self.layer}.{suffix}" in self.hook.names

    def __call__(self, suffix: str, tensor: Tensor) -> Tensor:
        return tap(self.hook, f"blocks.{self.layer}.{suffix}", tensor)


def tap(hook: Hook | None, name: str, tensor: Tensor) -> Tensor:
    """What stands at the point `name` after the hook has had its say."""
    if hook is None or name not in hook.names:
        return tensor
    out = hook(name, tensor)
    return tensor if out is None else out


@dataclass(frozen=True)
class StepPlan:
    """What all blocks of one step share."""

    mask: Bool[Tensor, "#batch 1 t length"] | None
    """which slots each token may read; None where all, or where `causal` says it"""
    causal: bool
    """True where the plain causal mask is meant"""
    rotary: tuple[Tensor, Tensor] | None
    """cosine and sine [#batch, t, 1, head_dim] of each token's position; None where positions are embedded"""


@dataclass(frozen=True)
class FusedStep:
    """What a fused block needs besides its input."""

    cache: KVCache
    """keys and values"""
    plan: StepPlan
    """what all blocks of the step share"""
    tap: LayerTap | None
    """hooks"""


@runtime_checkable
class FusedBlocks(Protocol):
    """Blocks in fewer launches, see `codi_int.model.fused`."""

    def serves(self, layer: int, cache: KVCache, tap: LayerTap | None) -> bool:
        """Whether a block can run this way."""

    def block(self, layer: int, x: Tensor, delta: Tensor | None, step: FusedStep) -> tuple[Tensor, Tensor | None]:
        """A block of `x + delta`; what it returns adds up to its output."""


class BlockStack(ABC):
    """One architecture: embed, blocks with a cache, final norm, unembedding."""

    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    max_positions: int

    def __init__(self, hf: Any) -> None:
        self.hf = hf

    def run_modules_of(self, hf: Any) -> None:
        """Call the submodules of another model of the same config from now on."""
        self.hf = hf

    # what an architecture provides

    @abstractmethod
    def token_embedding(self) -> nn.Embedding:
        """The table of token vectors."""

    @abstractmethod
    def unembed(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any vocab"]:
        """Logits from a post-final-norm state."""

    @abstractmethod
    def _place(self, x: Tensor, positions: Tensor) -> Tensor:
        """Add what an architecture adds to an input at its position."""

    @abstractmethod
    def _rotary(self, cache: KVCache, start: int) -> tuple[Tensor, Tensor] | None:
        """Cosine and sine for the slots from `start` on."""

    @abstractmethod
    def _qkv(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys, values [batch, t, heads, head_dim] of the normed input, before any rotation."""

    @abstractmethod
    def _rotate(self, q: Tensor, k: Tensor, rotary: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Queries and keys with their positions turned in."""

    @abstractmethod
    def _scale(self, layer: int) -> float:
        """What scores are multiplied with."""

    @abstractmethod
    def _attn_out(self, layer: int, z: Tensor) -> Tensor:
        """From all heads' outputs [batch, t, n_heads * head_dim] to the residual stream."""

    @abstractmethod
    def _norm_attn(self, layer: int, x: Tensor) -> Tensor:
        """The norm before attention."""

    @abstractmethod
    def _norm_mlp(self, layer: int, x: Tensor) -> Tensor:
        """The norm before the MLP."""

    @abstractmethod
    def _mlp(self, layer: int, x: Tensor) -> Tensor:
        """The MLP of a normed input."""

    @abstractmethod
    def _norm_final(self, x: Tensor) -> Tensor:
        """The norm after the last block."""

    # what all share

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.token_embedding().weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return self.token_embedding().weight.device

    def new_cache(self, batch: int, capacity: int) -> KVCache:
        """An empty cache that fits this model."""
        shape = CacheShape(self.n_layers, self.n_kv_heads, self.head_dim, self.dtype, self.device)
        return KVCache.empty(shape, batch, capacity)

    def embed(
        self,
        ids: Int[Tensor, "batch t"],
        cache: KVCache,
        mask: Bool[Tensor, "batch t"] | None = None,
        count_padding: bool = False,
    ) -> Float[Tensor, "batch t d_model"]:
        """Claim slots for the tokens `ids` and return the input of block 0; `mask` is False at padding."""
        cache.extend(ids.shape[1], mask, count_padding)
        return self._place(self.token_embedding()(ids), cache.positions[:, cache.length - ids.shape[1] : cache.length])

    def embed_thought(
        self, thought: Float[Tensor, "batch d_model"], cache: KVCache
    ) -> Float[Tensor, "batch 1 d_model"]:
        """Claim one slot for a thought and return the input of block 0."""
        # never padding, and its position counts the real tokens before it, also in a row that is padded
        cache.extend(1)
        return self._place(thought[:, None], cache.positions[:, cache.length - 1 : cache.length])

    def run(
        self,
        x: Float[Tensor, "batch t d_model"],
        cache: KVCache,
        layers: range | None = None,
        hook: Hook | None = None,
    ) -> Float[Tensor, "batch t d_model"]:
        """Send the tokens of the last t claimed slots through some blocks, filling those blocks' slots.

        Args:
            x: what enters the first of the blocks.
            layers: which blocks, one after the other; default all.
            hook: called at every hook point that it names.

        Returns:
            what leaves the last of the blocks, before any final norm.
        """
        layers = range(self.n_layers) if layers is None else layers
        patterns = hook is not None and any(f"blocks.{layer}.attn.hook_pattern" in hook.names for layer in layers)
        plan = self._plan(cache, x.shape[1], masked=patterns or not isinstance(cache, BranchedCache))
        fused = self.fused(x)
        delta: Tensor | None = None  # what fused blocks leave to the next one to add
        for layer in layers:
            tap = None if hook is None else LayerTap(hook, layer)
            if fused is not None and fused.serves(layer, cache, tap):
                x, delta = fused.block(layer, x, delta, FusedStep(cache, plan, tap))
            else:
                x, delta = x if delta is None else x + delta, None
                x = self._block(layer, x, cache, plan, tap)
        return x if delta is None else x + delta

    def fused(self, x: Tensor) -> "FusedBlocks | None":
        """Blocks in fewer launches, where this architecture has them for x."""
        return None

    def final_norm(self, x: Float[Tensor, "*any d_model"], hook: Hook | None = None) -> Float[Tensor, "*any d_model"]:
        """The state from which logits and the next thought are read."""
        return tap(hook, FINAL_HOOK, self._norm_final(x))

    def hook_names(self) -> tuple[str, ...]:
        """Every name at which a hook can be called, in the order of a forward pass; slices of heads at the end."""
        names = (f"blocks.{i}.{name}" for i in range(self.n_layers) for name in BLOCK_HOOKS)
        heads = (f"blocks.{i}.{head_hook(head)}" for i in range(self.n_layers) for head in range(self.n_heads))
        return (*names, FINAL_HOOK, *heads)

    def _plan(self, cache: KVCache, count: int, masked: bool = True) -> StepPlan:
        """`masked` says whether anybody will look at the mask."""
        start = cache.length - count
        # one token reads all slots and a first read is plainly causal: without a mask torch takes its fastest kernel
        rotary = self._rotary(cache, start)
        if not masked or (not cache.padded and (count == 1 or start == 0)):
            return StepPlan(None, count > 1, rotary)
        # query i stands in slot start + i and may read the slots up to its own: [count, length], True where it may
        ones = torch.ones(count, cache.length, dtype=torch.bool, device=cache.valid.device)
        mask = ones.tril(start)[None, None]
        if cache.padded:
            # [1, 1, count, length] & [batch, 1, 1, length]: a masked key weighs exactly 0, hence what a row thinks does
            # not depend on how far its neighbours made it be padded
            mask = mask & cache.valid[:, None, None, : cache.length]
            if not cache.counts_padding:
                # a padding token reads itself, so that no gradient is 0/0; nobody reads what comes of it
                mask = mask | (ones.tril(start) & ones.triu(start))
        return StepPlan(mask, False, rotary)

    def _block(self, layer: int, x: Tensor, cache: KVCache, plan: StepPlan, tap: LayerTap | None) -> Tensor:
        if tap:
            x = tap("hook_resid_pre", x)
        attn = self._attention(layer, self._norm_attn(layer, x), cache, plan, tap)
        # pre-norm blocks: what attention and MLP put out is added to the stream, which no norm touches on its way
        x = x + (tap("hook_attn_out", attn) if tap else attn)
        if tap:
            x = tap("hook_resid_mid", x)
        mlp = self._mlp(layer, self._norm_mlp(layer, x))
        x = x + (tap("hook_mlp_out", mlp) if tap else mlp)
        return tap("hook_resid_post", x) if tap else x

    def _attention(self, layer: int, x: Tensor, cache: KVCache, plan: StepPlan, tap: LayerTap | None) -> Tensor:
        q, k, v = self._qkv(layer, x)
        # [batch, t, heads, head_dim]; before any rotation, which is where TransformerLens has these names
        if tap:
            q, k, v = tap("attn.hook_q", q), tap("attn.hook_k", k), tap("attn.hook_v", v)
        q, k = self._rotate(q, k, plan.rotary)
        # Hooks see TransformerLens' order of axes, the cache wants a head's tokens side by side. Transposed and not
        # rearranged: at a small width a call of einops takes as long as the product beside it.
        cache.store(layer, k.transpose(1, 2), v.transpose(1, 2))
        if isinstance(cache, BranchedCache) and not (tap and tap.wants("attn.hook_pattern")):
            z = cache.attend(layer, q, self._scale(layer))
        else:
            z = self._read(layer, q.transpose(1, 2), cache, plan, tap).transpose(1, 2)
        if tap:
            z = tap("attn.hook_z", z)
        out = self._attn_out(layer, z.flatten(2))
        return self._tap_heads(layer, z, out, tap) if tap else out

    def _tap_heads(self, layer: int, z: Tensor, out: Tensor, tap: LayerTap) -> Tensor:
        """What attention puts out, once hooks on single heads have had their say."""
        whole = tap.wants(RESULT_HOOK)
        heads = [head for head in range(self.n_heads) if whole or tap.wants(head_hook(head))]
        if not heads:
            return out
        # [batch, t, heads asked for, d_model]
        before = torch.stack([self._head_result(layer, z, head) for head in heads], 2)
        after = tap(RESULT_HOOK, before) if whole else before
        parts = [tap(head_hook(head), after[:, :, place]) for place, head in enumerate(heads)]
        # The difference and not the sum of the heads: where no hook changes anything `out` stays as it is, bit for bit.
        return out + (torch.stack(parts, 2) - before).sum(2)

    def _head_result(self, layer: int, z: Tensor, head: int) -> Tensor:
        """What one head adds to the residual [batch, t, d_model]; the output's bias belongs to none."""
        alone = torch.zeros_like(z)
        alone[:, :, head] = z[:, :, head]
        bias = self._attn_out(layer, torch.zeros_like(z[:1, :1]).flatten(2))
        return self._attn_out(layer, alone.flatten(2)) - bias

    def _read(self, layer: int, q: Tensor, cache: KVCache, plan: StepPlan, tap: LayerTap | None) -> Tensor:
        """What queries [batch, n_heads, t, head_dim] read from all slots in use."""
        keys, values = cache.read(layer)
        if tap and tap.wants("attn.hook_pattern"):
            pattern = tap("attn.hook_pattern", self._pattern(q, keys, plan, self._scale(layer)))
            return pattern @ self._per_query_head(values)
        grouped = self.n_kv_heads != self.n_heads
        if grouped and plan.mask is not None and q.is_cuda:
            # on a GPU a mask on grouped heads takes torch off its fused kernels: copying keys is the smaller evil
            keys, values, grouped = self._per_query_head(keys), self._per_query_head(values), False
        # the fused kernel never forms the pattern; it sums in another order, so the last bits differ from above
        return F.scaled_dot_product_attention(
            q,
            keys,
            values,
            attn_mask=plan.mask,
            is_causal=plan.causal,
            scale=self._scale(layer),
            enable_gqa=grouped,
        )

    def _pattern(self, q: Tensor, keys: Tensor, plan: StepPlan, scale: float) -> Tensor:
        """Attention weights [batch, n_heads, t, length], written out because a hook wants them."""
        # [batch, n_heads, t, length]
        scores = q @ self._per_query_head(keys).transpose(2, 3) * scale
        mask = plan.mask
        if plan.causal:
            mask = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).tril()
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        # a token that may read nothing has a pattern of zeros, as in torch's fused attention
        return scores.softmax(-1, dtype=torch.float32).nan_to_num(0.0).to(q.dtype)

    def _per_query_head(self, tensor: Tensor) -> Tensor:
        # query heads of one group stand side by side, as in Hugging Face's repeat_kv
        return repeat(
            tensor,
            "batch kv_head token d_head -> batch (kv_head group) token d_head",
            group=self.n_heads // self.n_kv_heads,
        )
