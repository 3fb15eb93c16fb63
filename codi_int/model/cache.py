"""Keys and values of everything a batch has read so far, in a layout that rows can be picked from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from einops import repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codi_int.model.kernels.reference import Slots

GROWTH = 16
"""slots that are added at once when a cache is full"""
Cache = TypeVar("Cache", bound="KVCache")


@dataclass(frozen=True)
class CacheShape:
    """The sizes of a cache that the architecture decides."""

    n_layers: int
    """number of blocks"""
    n_kv_heads: int
    """heads that keys and values have"""
    head_dim: int
    """width of a head"""
    dtype: torch.dtype
    """type of keys and values"""
    device: torch.device
    """where they live"""


class KVCache:
    """Keys and values [batch, n_kv_heads, capacity, head_dim] per layer, of which `length` slots are in use.

    A step first claims slots for its tokens (`extend`), then each layer fills them (`write`). `write` always fills the
    last slots that were claimed, for one layer; so a cache that was cut to end with slot s (`truncate`) and whose rows
    were picked from another one (`gather`) can have layers L+1.. of slot s run again while lower layers keep theirs.
    """

    def __init__(
        self, keys: list[Tensor], values: list[Tensor], valid: Tensor, positions: Tensor, length: int, padded: bool
    ) -> None:
        self.keys = keys
        """per layer [batch, n_kv_heads, capacity, head_dim], after any rotation"""
        self.values = values
        """per layer [batch, n_kv_heads, capacity, head_dim]"""
        self.valid = valid
        """[batch, capacity] False where a slot holds padding"""
        self.positions = positions
        """[batch, capacity] the position id that a slot's token was given"""
        self.length = length
        """slots in use, the same for every row"""
        self.padded = padded
        """True where some slot in use may hold padding, so that masks are needed"""
        self.counts_padding = False
        """True while padding has position ids of its own, as in the published evaluation"""
        self.whole: Tensor | None = None
        """keys and values of all layers [batch, 2 * layers * n_kv_heads, capacity, head_dim] where they lie in one
        tensor, of which `keys` and `values` are views: on a GPU, where picking rows of one tensor is one launch"""
        self._leading: tuple[int, ...] | None = None

    @classmethod
    def empty(cls, shape: CacheShape, batch: int, capacity: int) -> "KVCache":
        """A cache for `batch` rows with room for `capacity` slots before it has to grow."""
        n_tensors = 2 * shape.n_layers
        together = n_tensors if shape.device.type == "cuda" else 1
        size = (batch, shape.n_kv_heads * together, capacity, shape.head_dim)
        buffers = [torch.empty(size, dtype=shape.dtype, device=shape.device) for _ in range(n_tensors // together)]
        valid = torch.ones(batch, capacity, dtype=torch.bool, device=shape.device)
        # without padding a slot's token has the slot's own number as its position; contiguous, for einops expands, and
        # rows of one memory could not be written apart
        positions = repeat(torch.arange(capacity, device=shape.device), "slot -> batch slot", batch=batch).contiguous()
        return cls._of(buffers, shape.n_layers, valid=valid, positions=positions, length=0, padded=False)

    @classmethod
    def _of(cls: type[Cache], buffers: list[Tensor], n_layers: int, **rest: Any) -> Cache:
        """A cache of the tensors that `buffers` would give."""
        if len(buffers) == 1:
            # heads are the second axis, of all layers' keys and then of all layers' values
            parts = buffers[0].chunk(2 * n_layers, dim=1)
            out = cls(keys=list(parts[:n_layers]), values=list(parts[n_layers:]), **rest)
            out.whole = buffers[0]
            return out
        return cls(keys=buffers[:n_layers], values=buffers[n_layers:], **rest)

    @property
    def buffers(self) -> list[Tensor]:
        """All keys, then all values [batch, any, capacity, head_dim], in as few tensors as they lie in."""
        return self.apart if self.whole is None else [self.whole]

    @property
    def apart(self) -> list[Tensor]:
        """All keys, then all values, a tensor for each layer."""
        return [*self.keys, *self.values]

    @property
    def leading(self) -> tuple[int, ...]:
        """How many slots of padding each row begins with; read once, because a GPU has to be waited for."""
        if not self.padded:
            return (0,) * self.batch
        if self._leading is None:
            self._leading = tuple(self.valid[:, : self.length].int().argmax(1).tolist())
        return self._leading

    @property
    def batch(self) -> int:
        """Number of rows."""
        return self.valid.shape[0]

    @property
    def capacity(self) -> int:
        """Slots that fit without growing."""
        return self.valid.shape[1]

    @property
    def real_tokens(self) -> Int[Tensor, " batch"]:
        """How many slots in use hold a real token, per row."""
        return self.valid[:, : self.length].sum(1)

    def extend(self, count: int, valid: Bool[Tensor, "batch count"] | None = None, count_padding: bool = False) -> None:
        """Claim `count` slots behind the last one.

        Args:
            valid: False at padding; None where all are real tokens.
            count_padding: give padding a position id of its own, as the published evaluation does.
        """
        start, self.length = self.length, self.length + count
        self.counts_padding = count_padding
        if self.length > self.capacity:
            self._grow(max(self.length, self.capacity + GROWTH))
        if valid is not None:
            self.padded = self.padded or not bool(valid.all())
        if not self.padded:
            return  # `valid` and `positions` hold what an unpadded cache needs ever since they were made
        real = torch.ones_like(self.valid[:, start : self.length]) if valid is None else valid
        # a token's position is the number of real tokens before it, so that padding moves nothing: [batch, 1]
        before = self.valid[:, :start].sum(1, keepdim=True)
        self.valid[:, start : self.length] = real
        if not count_padding:
            # padding in front would count -1; any id in range will do there, for nobody reads what comes of it
            self.positions[:, start : self.length] = (before + real.cumsum(1) - 1).clamp_min(0)

    def write(
        self, layer: int, keys: Float[Tensor, "batch heads t head_dim"], values: Float[Tensor, "batch heads t head_dim"]
    ) -> tuple[Float[Tensor, "batch heads length head_dim"], Float[Tensor, "batch heads length head_dim"]]:
        """Fill the last t claimed slots of one layer; returns that layer's keys and values of all slots in use."""
        self.store(layer, keys, values)
        return self.read(layer)

    def store(
        self, layer: int, keys: Float[Tensor, "batch heads t head_dim"], values: Float[Tensor, "batch heads t head_dim"]
    ) -> None:
        """Fill the last t claimed slots of one layer."""
        start = self.length - keys.shape[2]
        if keys.requires_grad or self.keys[layer].requires_grad:
            # autograd keeps what attention has read, so nothing may be overwritten in place
            self.whole = None
            self.keys[layer] = self._replaced(self.keys[layer], keys, start)
            self.values[layer] = self._replaced(self.values[layer], values, start)
        else:
            self.keys[layer][:, :, start : self.length] = keys
            self.values[layer][:, :, start : self.length] = values

    def slots(self, layer: int, count: int) -> Slots:
        """Where the last `count` claimed slots of one layer lie, as the kernels take it."""
        return Slots(self.keys[layer][:, :, None], self.values[layer][:, :, None], self.length - count)

    def read(
        self, layer: int
    ) -> tuple[Float[Tensor, "batch heads length head_dim"], Float[Tensor, "batch heads length head_dim"]]:
        """One layer's keys and values of all slots in use."""
        return self.keys[layer][:, :, : self.length], self.values[layer][:, :, : self.length]

    def last_slot(
        self, layer: int
    ) -> tuple[Float[Tensor, "batch heads 1 head_dim"], Float[Tensor, "batch heads 1 head_dim"]]:
        """Copies of one layer's keys and values in the last slot in use, as `store` takes them."""
        slot = slice(self.length - 1, self.length)
        return self.keys[layer][:, :, slot].clone(), self.values[layer][:, :, slot].clone()

    def gather(self, rows: Int[Tensor, " rows"], length: int | None = None) -> "KVCache":
        """A new cache with the given rows, in the given order, cut to `length` slots; a row may appear repeatedly."""
        # spare slots are copied too, so that the next steps of the new cache need not grow it
        return KVCache._of(
            [tensor.index_select(0, rows) for tensor in self.buffers],
            len(self.keys),
            valid=self.valid.index_select(0, rows),
            positions=self.positions.index_select(0, rows),
            length=self.length if length is None else length,
            padded=self.padded,
        )

    def truncate(self, length: int) -> "KVCache":
        """Forget every slot from `length` on; returns itself."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot cut a cache of {self.length} slots to {length}")
        self.length = length
        return self

    def forget_padding(self) -> None:
        """Let later steps read padding as if it were text, as the published evaluation does."""
        self.valid.fill_(True)
        self.positions.copy_(torch.arange(self.capacity, device=self.positions.device))
        self.padded, self._leading = False, None

    @staticmethod
    def join(parts: Sequence["CachePart"], length: int = 0, room: int = 0) -> "KVCache":
        """Some rows of several caches below each other, each copied once.

        Args:
            parts: which rows; all of them must end with the same step, because steps claim and fill the last slots of
                all rows at once.
            length: slots that are in use then; parts with fewer are padded in front. Default those of the longest.
            room: slots behind them.
        """
        length, n = max(length, *(part.length for part in parts)), sum(len(part.rows) for part in parts)
        like = parts[0].cache
        # zeros, not whatever memory holds: a masked slot's value is multiplied by 0, and 0 times NaN is NaN
        out = [
            tensor.new_zeros(n, tensor.shape[1], length + room, tensor.shape[3])
            # in one tensor only where all parts are
            for tensor in (like.buffers if all(part.cache.whole is not None for part in parts) else like.apart)
        ]
        valid = like.valid.new_ones(n, length + room)
        valid[:, :length] = False
        positions = like.positions.new_zeros(n, length + room)
        start, padded = 0, False
        for part in parts:
            rows, slots, stop = part.rows, slice(length - part.length, length), start + len(part.rows)
            for mine, tensor in zip(out, part.cache.buffers if len(out) == 1 else part.cache.apart, strict=True):
                mine[start:stop, :, slots] = tensor[:, :, : part.length].index_select(0, rows)
            valid[start:stop, slots] = part.cache.valid[rows, : part.length]
            positions[start:stop, slots] = part.cache.positions[rows, : part.length]
            start, padded = stop, padded or part.cache.padded or part.length < length
        # spare slots count on, as they do where nothing is padded; where something is, they are counted when claimed
        further = torch.arange(1, room + 1, device=positions.device)
        positions[:, length:] = positions[:, length - 1 : length] + further
        joined = KVCache._of(out, len(like.keys), valid=valid, positions=positions, length=length, padded=padded)
        joined._leading = tuple(length - part.length + part.cache.leading[row] for part in parts for row in part.listed)
        return joined

    def _replaced(self, buffer: Tensor, new: Tensor, start: int) -> Tensor:
        """A buffer with `new` in the slots from `start` on, made without touching the old one."""
        # detached: what lies behind is of an earlier pass, and would keep that pass's graph alive
        return torch.cat([buffer[:, :, :start], new, buffer[:, :, self.length :].detach()], 2)

    def _grow(self, capacity: int) -> None:
        # `extend` has counted the new slots already; only those that the old buffers have can be moved
        in_use, self.length = self.length, min(self.length, self.capacity)
        self._resize(capacity)
        self.length = in_use

    def _resize(self, capacity: int) -> None:
        """Move everything in use into fresh buffers of `capacity` slots."""
        used = self.length

        def moved(tensor: Tensor) -> Tensor:
            # [batch, heads, spare slots, head_dim]
            spare = tensor.new_zeros(*tensor.shape[:2], capacity - used, tensor.shape[3])
            return torch.cat([tensor[:, :, :used], spare], 2)

        grown = KVCache._of(
            [moved(tensor) for tensor in self.buffers],
            len(self.keys),
            valid=self.valid,
            positions=self.positions,
            length=used,
            padded=self.padded,
        )
        self.keys, self.values, self.whole = grown.keys, grown.values, grown.whole
        # slots behind those in use are as in an empty cache: they count on, and hold no padding
        slots = repeat(torch.arange(capacity, device=self.positions.device), "slot -> batch slot", batch=self.batch)
        slots = slots.contiguous()
        slots[:, :used] = self.positions[:, :used]
        real = torch.ones_like(slots, dtype=torch.bool)
        real[:, :used] = self.valid[:, :used]
        self.positions, self.valid = slots, real


@dataclass(frozen=True)
class CachePart:
    """Some rows of a cache, up to some slot."""

    cache: KVCache
    """whose"""
    rows: Int[Tensor, " rows"]
    """which"""
    length: int
    """how many of its slots"""
    known: tuple[int, ...] | None = None
    """the rows' numbers, where the host knows them"""

    @property
    def listed(self) -> tuple[int, ...]:
        """The rows' numbers; a GPU has to be waited for where the host does not know them."""
        return tuple(self.rows.tolist()) if self.known is None else self.known
