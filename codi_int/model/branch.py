"""Many rows that go on from a few problems: what they share is read where it lies, what is their own is kept apart."""

from dataclasses import dataclass
from functools import cached_property

import torch
from einops import repeat
from jaxtyping import Float, Int
from torch import Tensor

from codi_int.model.cache import GROWTH, KVCache
from codi_int.model.kernels.reference import Shared, Slots


@dataclass(frozen=True)
class Branches:
    """Which rows go on: equally many of each of some problems, side by side."""

    problems: Int[Tensor, " groups"]
    """rows of the clean pass's batch"""
    each: int
    """rows that start from each of them"""
    known: tuple[int, ...] | None = None
    """the problems' numbers, where the host knows them"""

    @cached_property
    def rows(self) -> Int[Tensor, " rows"]:
        """The batch's row that each row starts from."""
        return self.problems.repeat_interleave(self.each)

    @cached_property
    def listed(self) -> tuple[int, ...]:
        """The problems' numbers; a GPU has to be waited for where the host does not know them."""
        return tuple(self.problems.tolist()) if self.known is None else self.known


class BranchedCache(KVCache):
    """Keys and values of rows whose first slots, the prefix, are those of their problem in another cache.

    `keys` and `values` hold the slots behind the prefix, [groups, n_kv_heads, each, capacity, head_dim] per layer: a
    problem's rows lie side by side below each head, so that all of its queries meet its prefix in one product.
    `valid`, `positions` and `length` speak of all slots, as in any cache.
    """

    prefix_keys: list[Tensor]
    """per layer [groups, n_kv_heads, prefix, head_dim]"""
    prefix_values: list[Tensor]
    """the same"""
    prefix: int
    """slots that are shared"""
    each: int
    """rows of each problem"""

    @classmethod
    def of(cls, cache: KVCache, branches: Branches, prefix: int, room: int) -> "BranchedCache":
        """Rows that have read what `cache` holds up to and with slot `prefix`, which is already their own.

        Args:
            cache: of the problems.
            branches: who goes on.
            prefix: slots that no row will change.
            room: own slots to make room for.
        """
        problems, rows = branches.problems, branches.rows
        # padding that all of them begin with is left out; what is known to the host need not be asked of the device
        leading = [cache.leading[problem] for problem in branches.listed]
        first = min(leading)
        first = first if first < prefix else 0
        slots = slice(first, prefix)
        # spare slots count on from the row's last token and hold no padding
        valid = torch.nn.functional.pad(cache.valid[rows, first : prefix + 1], (0, room), value=True)
        positions = cache.positions[rows, first : prefix + 1]
        further = torch.arange(1, room + 1, device=positions.device)
        out: BranchedCache = cls._of(
            [_own(tensor, branches, prefix, room) for tensor in cache.buffers],
            len(cache.keys),
            valid=valid,
            positions=torch.cat([positions, positions[:, -1:] + further], 1),
            length=prefix + 1 - first,
            padded=cache.padded,
        )
        out.prefix, out.each = prefix - first, branches.each
        shared = [_shared(tensor, branches, slots) for tensor in cache.buffers]
        if len(shared) == 1:
            shared = list(shared[0].chunk(2 * len(cache.keys), dim=1))
        out.prefix_keys, out.prefix_values = shared[: len(cache.keys)], shared[len(cache.keys) :]
        # [groups, prefix]: slots that hold padding in some problem
        out.unread = ~cache.valid[problems, slots] if max(leading) > first else None
        return out

    unread: Tensor | None = None
    """[groups, prefix] True at padding; None where there is none"""

    @cached_property
    def bias(self) -> Tensor | None:
        """[groups * n_kv_heads, 1, prefix]: what is added to the prefix's scores."""
        if self.unread is None:
            return None
        bias = torch.zeros(self.unread.shape, device=self.unread.device).masked_fill(self.unread, -torch.inf)
        return repeat(bias, "group slot -> (group head) 1 slot", head=self.keys[0].shape[1])

    @cached_property
    def first_read(self) -> Int[Tensor, " groups"]:
        """The first slot of each problem's prefix that holds no padding, which is always in front."""
        groups = len(self.keys[0])
        if self.unread is None:
            return torch.zeros(groups, dtype=torch.int32, device=self.valid.device)
        return self.unread.sum(1, dtype=torch.int32)

    def extend(self, count: int, valid: Tensor | None = None, count_padding: bool = False) -> None:
        # spare slots count on and hold no padding ever since they were made
        self.length += count
        if self.length > self.capacity:
            self._grow(max(self.length, self.capacity + GROWTH))

    def slots(self, layer: int, count: int) -> Slots:
        return Slots(self.keys[layer], self.values[layer], self.length - self.prefix - count)

    def shared(self, layer: int) -> Shared:
        """What the rows of a problem read in common."""
        return Shared(self.prefix_keys[layer], self.prefix_values[layer], self.first_read)

    def store(self, layer: int, keys: Tensor, values: Tensor) -> None:
        start, stop = self.length - keys.shape[2] - self.prefix, self.length - self.prefix
        for buffer, new in ((self.keys[layer], keys), (self.values[layer], values)):
            groups, heads, each, _, width = buffer.shape
            # [rows, heads, t, head_dim] -> [groups, heads, each, t, head_dim]
            buffer[:, :, :, start:stop] = new.reshape(groups, each, heads, -1, width).transpose(1, 2)

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        both = ((self.prefix_keys, self.keys), (self.prefix_values, self.values))
        keys, values = (self._whole(shared[layer], own[layer]) for shared, own in both)
        return keys, values

    def last_slot(self, layer: int) -> tuple[Tensor, Tensor]:
        at = self.length - 1 - self.prefix
        keys, values = (
            t[layer][:, :, :, at].transpose(1, 2).flatten(0, 1)[:, :, None] for t in (self.keys, self.values)
        )
        return keys.clone(), values.clone()

    def gather(self, rows: Tensor, length: int | None = None) -> KVCache:
        """The given rows as a plain cache, in which every row has a prefix of its own."""
        layers = range(len(self.keys))
        whole = [self.read(layer) for layer in layers]
        spare = (0, 0, 0, self.capacity - self.length)
        keys, values = ([torch.nn.functional.pad(w[i][rows], spare) for w in whole] for i in (0, 1))
        return KVCache(
            keys=keys,
            values=values,
            valid=self.valid[rows],
            positions=self.positions[rows],
            length=self.length if length is None else length,
            padded=self.padded,
        )

    def attend(
        self, layer: int, q: Float[Tensor, "rows t n_heads head_dim"], scale: float
    ) -> Float[Tensor, "rows t n_heads head_dim"]:
        """What the last t tokens read, given their queries: one softmax over the prefix and the row's own slots."""
        groups, heads, each, capacity, width = self.keys[layer].shape
        t, own = q.shape[1], self.length - self.prefix
        m = q.shape[2] // heads  # queries that share a key's head; they stand side by side
        # one copy puts the queries of a problem below each other for each of its heads
        asked = (
            q.reshape((groups, each, t, heads, m, width)).permute((0, 3, 1, 4, 2, 5)).reshape(groups * heads, -1, width)
        )
        keys = self.keys[layer].reshape(-1, capacity, width)[:, :own]
        values = self.values[layer].reshape(-1, capacity, width)[:, :own]
        pattern = self._pattern(asked, self.prefix_keys[layer].flatten(0, 1), keys, t, scale).to(q.dtype)
        by_row = pattern.view(groups * heads * each, m * t, self.prefix + own)
        read = torch.bmm(pattern[:, :, : self.prefix], self.prefix_values[layer].flatten(0, 1))
        read = read.view(-1, m * t, width).baddbmm_(by_row[:, :, self.prefix :], values)
        read = read.view((groups, heads, each, m, t, width)).permute((0, 2, 4, 1, 3, 5))
        return read.reshape(groups * each, t, heads * m, width)

    def _pattern(self, asked: Tensor, shared: Tensor, keys: Tensor, t: int, scale: float) -> Tensor:
        """Attention weights [groups * heads, each * m * t, prefix + own]; sums in float32, as torch's kernels do."""
        if asked.dtype in (torch.float16, torch.bfloat16):
            asked, shared, keys = asked.float(), shared.float(), keys.float()
        turned = shared.transpose(1, 2)
        if self.bias is None:
            far = torch.bmm(asked, turned).mul_(scale)
        else:
            far = torch.baddbmm(self.bias.to(asked.dtype), asked, turned, alpha=scale)
        near = torch.bmm(asked.reshape(len(keys), -1, asked.shape[2]), keys.transpose(1, 2)).mul_(scale)
        if t > 1:
            # token i of the t reads the row's own slots up to itself: [t, own]
            own = keys.shape[1]
            later = torch.ones(t, own, dtype=torch.bool, device=near.device).triu(own - t + 1)
            near.view(-1, t, own).masked_fill_(later, -torch.inf)
        return torch.cat([far, near.view(*far.shape[:2], -1)], 2).softmax(2)

    def _whole(self, shared: Tensor, own: Tensor) -> Tensor:
        """[rows, heads, length, head_dim] of one layer's keys or values."""
        groups, heads, each, _, width = own.shape
        front = shared.reshape(groups, 1, heads, -1, width).expand(-1, each, -1, -1, -1)
        back = own[:, :, :, : self.length - self.prefix].transpose(1, 2)
        return torch.cat([front, back], 3).flatten(0, 1)

    def _grow(self, capacity: int) -> None:
        more = capacity - self.capacity
        pad = torch.nn.functional.pad
        self.keys = [pad(tensor, (0, 0, 0, more)) for tensor in self.keys]
        self.values = [pad(tensor, (0, 0, 0, more)) for tensor in self.values]
        self.whole = None
        self.valid = pad(self.valid, (0, more), value=True)
        further = torch.arange(1, more + 1, device=self.positions.device)
        self.positions = torch.cat([self.positions, self.positions[:, -1:] + further], 1)


def _own(tensor: Tensor, branches: Branches, slot: int, room: int) -> Tensor:
    """Room for a row's own keys or values [groups, heads, each, 1 + room, head_dim]; the first are those of `slot`."""
    _, heads, _, width = tensor.shape
    out = tensor.new_empty(len(branches.problems), heads, branches.each, 1 + room, width)
    out[:, :, :, 0] = tensor[branches.problems, :, slot][:, :, None]
    return out


def _shared(tensor: Tensor, branches: Branches, slots: slice) -> Tensor:
    """Some slots of some problems [groups, heads, slots, head_dim]: a view where the problems lie side by side."""
    first, n = branches.listed[0], len(branches.listed)
    if branches.listed == tuple(range(first, first + n)):
        return tensor[first : first + n, :, slots]
    return tensor[:, :, slots].index_select(0, branches.problems)
