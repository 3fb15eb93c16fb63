"""Llama blocks in 12 launches, on a GPU and without gradients.

The matrix products are the model's own modules, called as ever, so that nothing of a weight is copied and a change in
place is seen. What stands between them are the kernels of `codi_int.model.kernels`. A block with a hook inside runs in
the ordinary way; hooks on the residual before and behind a block do not hinder.
"""

from types import ModuleType
from typing import Any

from torch import Tensor, nn

from codi_int.model.branch import BranchedCache
from codi_int.model.cache import KVCache
from codi_int.model.stack import BLOCK_HOOKS, FusedStep, LayerTap, head_hook

OUTSIDE = ("hook_resid_pre", "hook_resid_post")
"""hook points that a fused block has"""
PLAIN = {
    *("LlamaMLP", "Qwen2MLP", "_MLP"),
    *("LlamaRMSNorm", "Qwen2RMSNorm", "_RMSNorm"),
    *("SiLU", "SiLUActivation"),
}
"""classes whose forward pass is known here; of `light`, those with an underscore"""


class FusedLlama:
    """The fused blocks of a `LlamaStack`."""

    def __init__(self, stack: Any, blocks: Any, kernels: ModuleType) -> None:
        self._stack, self._blocks, self._kernels = stack, blocks, kernels

    def serves(self, layer: int, cache: KVCache, tap: LayerTap | None) -> bool:
        block = self._blocks[layer]
        parts = (block.mlp, block.mlp.act_fn, block.input_layernorm, block.post_attention_layernorm)
        if not all(map(_is_plain, parts)) or cache.keys[layer].requires_grad:
            return False
        inside = (*(name for name in BLOCK_HOOKS if name not in OUTSIDE), *map(head_hook, range(self._stack.n_heads)))
        return tap is None or not any(tap.wants(name) for name in inside)

    def block(self, layer: int, x: Tensor, delta: Tensor | None, step: FusedStep) -> tuple[Tensor, Tensor | None]:
        stack, block, kernels = self._stack, self._blocks[layer], self._kernels
        if step.tap and step.tap.wants("hook_resid_pre"):
            x, delta = step.tap("hook_resid_pre", x if delta is None else x + delta), None
        norm = block.input_layernorm
        x, normed = kernels.add_norm(x, delta, norm.weight, norm.variance_epsilon)
        z = self._attention(layer, normed, step)
        norm = block.post_attention_layernorm
        x, normed = kernels.add_norm(x, stack._attn_out(layer, z.flatten(2)), norm.weight, norm.variance_epsilon)
        mlp = block.mlp
        delta = mlp.down_proj(kernels.silu_mul(mlp.gate_proj(normed), mlp.up_proj(normed)))
        if step.tap and step.tap.wants("hook_resid_post"):
            return step.tap("hook_resid_post", x + delta), None
        return x, delta

    def _attention(self, layer: int, normed: Tensor, step: FusedStep) -> Tensor:
        """What all heads read [batch, t, n_heads, head_dim]."""
        stack, cache = self._stack, step.cache
        q, k, v = stack._qkv(layer, normed)
        slots = cache.slots(layer, q.shape[1])
        q = self._kernels.rotate_store(q, k, v, step.plan.rotary, slots)
        if isinstance(cache, BranchedCache):
            return self._kernels.attend(q, cache.shared(layer), slots, stack._scale(layer))  # type: ignore[no-any-return]
        return stack._read(layer, q.transpose(1, 2), cache, step.plan, None).transpose(1, 2)  # type: ignore[no-any-return]


def _is_plain(module: nn.Module) -> bool:
    """Whether a module does what its class does: nobody hung a hook of torch's on it."""
    return type(module).__name__ in PLAIN and not module._forward_hooks and not module._forward_pre_hooks
