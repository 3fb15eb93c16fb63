"""The forward passes of CODI training, written on a `LlamaForCausalLM`'s own weights.

One step of training needs the question once, a written chain and a latent chain behind it. Plain model calls would
read the question twice and copy the key-value cache at each thought, so the passes are spelt out here:

- `read`: question, written chain and `<bot>` in one sequence, with a mask that hides the chain from `<bot>`;
- `extend`: a few more positions behind the question's keys and values, which are never copied.

Tests hold both against the plain Hugging Face model.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class Segment:
    """Keys and values of some positions, one pair of tensors for each layer."""

    keys: tuple[Float[Tensor, "batch heads positions head_dim"], ...]
    """rotated keys"""
    values: tuple[Float[Tensor, "batch heads positions head_dim"], ...]
    """values"""

    def split(self, sizes: list[int]) -> tuple["Segment", ...]:
        """The segment cut into pieces of these sizes."""
        keys = zip(*(k.split(sizes, dim=2) for k in self.keys), strict=True)
        values = zip(*(v.split(sizes, dim=2) for v in self.values), strict=True)
        return tuple(Segment(k, v) for k, v in zip(keys, values, strict=True))


@dataclass(frozen=True)
class Pass:
    """What a forward pass leaves behind."""

    hidden: tuple[Float[Tensor, "batch positions d_model"], ...]
    """output of each block, and last the final norm's"""
    segment: Segment
    """keys and values of the positions that were read"""

    @property
    def final(self) -> Float[Tensor, "batch positions d_model"]:
        """The states after the final norm."""
        return self.hidden[-1]


class TrainingNetwork:
    """The blocks of a Llama model with fused projections; made anew after every optimizer step."""

    def __init__(self, model: LlamaForCausalLM, dtype: torch.dtype = torch.float32) -> None:
        """Take the model's weights; `dtype` is what the blocks' products are computed in, the residual stays as is."""
        config = model.config
        assert config.num_key_value_heads == config.num_attention_heads, "training does without grouped keys"
        self.eps = config.rms_norm_eps
        self.embedding = model.model.embed_tokens.weight
        self.final_norm = model.model.norm.weight
        self.layers = [_LayerWeights(layer, config.num_attention_heads, dtype) for layer in model.model.layers]
        self.cos, self.sin = _rotary_tables(model)

    def read(self, x: Float[Tensor, "batch t d"], positions: Int[Tensor, " t"], mask: Bool[Tensor, "t t"]) -> Pass:
        """A whole sequence at once; `mask[i, j]` says whether i may look at j."""
        cos, sin = self.cos[positions], self.sin[positions]
        # added to the scores rather than a boolean mask, so that both ways of attention here sum the same way
        bias = torch.zeros(mask.shape).masked_fill_(~mask, float("-inf"))
        hidden, keys, values = [], [], []
        for w in self.layers:
            q, k, v = _project(x, w, cos, sin, self.eps)
            x = _finish(x, F.scaled_dot_product_attention(q, k, v, attn_mask=bias), w, self.eps)
            keys.append(k)
            values.append(v)
            hidden.append(x)
        return self._passed(hidden, keys, values)

    def extend(self, x: Float[Tensor, "batch t d"], first_position: int, question: Segment, own: Segment) -> Pass:
        """`t` more positions behind the question and the `own` positions since then; the result's segment is `own`
        grown by the new ones."""
        t = x.shape[1]
        positions = torch.arange(first_position, first_position + t)
        # all of the question and of the own positions so far, and causally among the new ones: [t, own + t]
        mask = torch.zeros(t, own.keys[0].shape[2] + t)
        mask[:, -t:].masked_fill_(torch.ones(t, t, dtype=torch.bool).triu(1), float("-inf"))
        cos, sin = self.cos[positions], self.sin[positions]
        hidden, keys, values = [], [], []
        for i, w in enumerate(self.layers):
            q, k, v = _project(x, w, cos, sin, self.eps)
            k, v = torch.cat((own.keys[i], k), dim=2), torch.cat((own.values[i], v), dim=2)
            z = _attend(
                q,
                k_far=question.keys[i],
                v_far=question.values[i],
                k=k,
                v=v,
                mask=mask,
            )
            x = _finish(x, z, w, self.eps)
            keys.append(k)
            values.append(v)
            hidden.append(x)
        return self._passed(hidden, keys, values)

    def embed(self, ids: Int[Tensor, "batch t"]) -> Float[Tensor, "batch t d"]:
        """Input vectors of token ids."""
        return F.embedding(ids, self.embedding)

    def logits(self, final: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows vocab"]:
        """Next-token logits of post-norm states (tied embeddings)."""
        return F.linear(final, self.embedding)

    def _passed(self, hidden: list[Tensor], keys: list[Tensor], values: list[Tensor]) -> Pass:
        final = F.rms_norm(hidden[-1], hidden[-1].shape[-1:], self.final_norm, self.eps)
        return Pass((*hidden, final), Segment(tuple(keys), tuple(values)))


class _LayerWeights:
    """One block's weights, the ones that share an input joined."""

    def __init__(self, layer: nn.Module, heads: int, dtype: torch.dtype) -> None:
        def weight(*names: str) -> Tensor:
            return torch.cat([layer.get_parameter(f"{name}.weight") for name in names])

        self.heads = heads
        # one product instead of three; the cast is made here, once a step, and gradients flow back through it
        self.qkv = weight("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj").to(dtype)
        self.o = weight("self_attn.o_proj").to(dtype)
        self.gate_up = weight("mlp.gate_proj", "mlp.up_proj").to(dtype)
        self.down = weight("mlp.down_proj").to(dtype)
        self.norm_attention = layer.get_parameter("input_layernorm.weight")
        self.norm_mlp = layer.get_parameter("post_attention_layernorm.weight")


def _norm(x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    return (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight).to(dtype)


def _project(x: Tensor, w: "_LayerWeights", cos: Tensor, sin: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated queries, rotated keys, values: [batch, heads, t, head_dim], float32."""
    heads = w.heads
    qkv = F.linear(_norm(x, w.norm_attention, eps, w.qkv.dtype), w.qkv).float()
    # queries, keys and values of all heads, side by side as `_LayerWeights.qkv` joins them
    qkv = rearrange(qkv, "batch t (head d_head) -> batch head t d_head", head=3 * heads)
    qk, v = qkv.split([2 * heads, heads], dim=1)
    # one rotation for queries and keys together, in Hugging Face's layout: pairs are half a head apart, not neighbours
    first, second = qk.chunk(2, dim=-1)
    q, k = (qk * cos + torch.cat((-second, first), dim=-1) * sin).chunk(2, dim=1)
    return q, k, v


def _attend(q: Tensor, k_far: Tensor, v_far: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attention over two key-value segments of which only the scores are joined; `mask` is added to the second."""
    # the question's keys and values serve the teacher and all thoughts; joining scores, [batch, head, t, n], instead of
    # keys leaves them where they are, and the softmax over both parts is the one over the joined keys
    q = q * q.shape[-1] ** -0.5
    scores = torch.cat((q @ k_far.transpose(-1, -2), q @ k.transpose(-1, -2) + mask), dim=-1)
    far, near = scores.softmax(-1).split([k_far.shape[2], k.shape[2]], dim=-1)
    out: Tensor = far @ v_far + near @ v
    return out


def _finish(x: Tensor, z: Tensor, w: "_LayerWeights", eps: float) -> Tensor:
    """The rest of a block after attention."""
    x = x + F.linear(rearrange(z, "batch head t d_head -> batch t (head d_head)").to(w.o.dtype), w.o)
    gate, up = F.linear(_norm(x, w.norm_mlp, eps, w.gate_up.dtype), w.gate_up).chunk(2, dim=-1)
    return x + F.linear(F.silu(gate) * up, w.down)


def _rotary_tables(model: LlamaForCausalLM) -> tuple[Tensor, Tensor]:
    positions = torch.arange(model.config.max_position_embeddings)[None]
    cos, sin = model.model.rotary_emb(torch.zeros(1), positions)
    return cos[0], sin[0]
