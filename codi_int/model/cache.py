"""Keys and values of everything a batch has read so far, in a layout that rows can be picked from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

GROWTH = 16
"""slots that are added at once when a cache is full"""


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

    @classmethod
    def empty(cls, shape: CacheShape, batch: int, capacity: int) -> "KVCache":
        """A cache for `batch` rows with room for `capacity` slots before it has to grow."""
        size = (batch, shape.n_kv_heads, capacity, shape.head_dim)
        buffers = [torch.empty(size, dtype=shape.dtype, device=shape.device) for _ in range(2 * shape.n_layers)]
        valid = torch.ones(batch, capacity, dtype=torch.bool, device=shape.device)
        # without padding a slot's token has the slot's own number as its position; contiguous, for einops expands, and
        # rows of one memory could not be written apart
        positions = repeat(torch.arange(capacity, device=shape.device), "slot -> batch slot", batch=batch).contiguous()
        return cls(
            keys=buffers[: shape.n_layers],
            values=buffers[shape.n_layers :],
            valid=valid,
            positions=positions,
            length=0,
            padded=False,
        )

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
            self.keys[layer] = self._replaced(self.keys[layer], keys, start)
            self.values[layer] = self._replaced(self.values[layer], values, start)
        else:
            self.keys[layer][:, :, start : self.length] = keys
            self.values[layer][:, :, start : self.length] = values

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
        keys = [tensor.index_select(0, rows) for tensor in self.keys]
        values = [tensor.index_select(0, rows) for tensor in self.values]
        valid, positions = self.valid.index_select(0, rows), self.positions.index_select(0, rows)
        return KVCache(
            keys=keys,
            values=values,
            valid=valid,
            positions=positions,
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
        self.padded = False

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
        _, heads, _, width = like.keys[0].shape
        keys, values = (
            [tensor.new_zeros(n, heads, length + room, width) for tensor in buffers]
            for buffers in (like.keys, like.values)
        )
        valid = like.valid.new_ones(n, length + room)
        valid[:, :length] = False
        positions = like.positions.new_zeros(n, length + room)
        start, padded = 0, False
        for part in parts:
            rows, slots, stop = part.rows, slice(length - part.length, length), start + len(part.rows)
            for mine, buffers in ((keys, part.cache.keys), (values, part.cache.values)):
                for out, tensor in zip(mine, buffers, strict=True):
                    out[start:stop, :, slots] = tensor[:, :, : part.length].index_select(0, rows)
            valid[start:stop, slots] = part.cache.valid[rows, : part.length]
            positions[start:stop, slots] = part.cache.positions[rows, : part.length]
            start, padded = stop, padded or part.cache.padded or part.length < length
        # spare slots count on, as they do where nothing is padded; where something is, they are counted when claimed
        further = torch.arange(1, room + 1, device=positions.device)
        positions[:, length:] = positions[:, length - 1 : length] + further
        return KVCache(
            keys=keys,
            values=values,
            valid=valid,
            positions=positions,
            length=length,
            padded=padded,
        )

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

        self.keys, self.values = [moved(t) for t in self.keys], [moved(t) for t in self.values]
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
