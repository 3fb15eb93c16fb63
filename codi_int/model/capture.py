"""Whole activations by name, in the manner of TransformerLens' ActivationCache."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from codi_int.errors import HookError
from codi_int.model.hooks import Position, check_name
from codi_int.model.stack import RESULT_HOOK
from codi_int.types import ThoughtBatch

NamesFilter = str | Sequence[str] | Callable[[str], bool] | None


class NameRecorder:
    """Keeps whole tensors of some hook names, step by step."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)
        self._parts: dict[str, list[Tensor]] = {name: [] for name in names}

    def names(self, position: Position) -> frozenset[str]:
        return self._names

    def record(self, name: str, position: Position, tensor: Tensor) -> None:
        # a copy: a later hook may write into the tensor, which is also what the next block reads
        self._parts[name].append(tensor.clone())

    def join(self) -> dict[str, Tensor]:
        """All steps of each name, one after the other along the tokens."""
        return {name: _join(name, parts) for name, parts in self._parts.items()}


@dataclass(frozen=True, eq=False)
class Activations(Mapping[str, Tensor]):
    """Tensors by hook name, with the question's tokens and the thoughts along one axis, as TransformerLens has them.

    `cache["blocks.3.hook_resid_post"]` is [batch, tokens, d_model], queries, keys, values and z are
    [batch, tokens, heads, head_dim], patterns [batch, heads, tokens, tokens]; `hook_thought` is [batch, positions,
    d_model]. `cache["resid_post", 3]` is short for the first.
    """

    tensors: Mapping[str, Tensor]
    """the tensors"""
    question_tokens: int
    """length of the padded questions; the token of position p is number `token(p)`"""
    valid: Bool[Tensor, "batch slots"]
    """False where the tokens in front of a short question are padding"""

    def token(self, position: int) -> int:
        """Index of a position along the tokens: <bot> for 0, thoughts behind it."""
        return self.question_tokens - 1 + position

    def __getitem__(self, key: str | tuple[str, int]) -> Tensor:
        name = key if isinstance(key, str) else _full_name(*key)
        if name not in self.tensors:
            raise HookError(f"{name!r} was not kept.", f"Kept: {', '.join(self.tensors)}.")
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


@dataclass(frozen=True)
class CachedRun:
    """What `run_with_cache` gives."""

    batch: ThoughtBatch
    """the thoughts"""
    cache: Activations
    """the activations"""


def chosen_names(names_filter: NamesFilter, known: Sequence[str]) -> tuple[str, ...]:
    """The hook names that a filter chooses; HookError where that is none, or one that does not exist."""
    if names_filter is None:
        # as in TransformerLens, heads one by one are kept where they are asked for: they would be most of the cache
        return tuple(name for name in known if RESULT_HOOK not in name)
    if callable(names_filter):
        names = tuple(name for name in known if names_filter(name))
    else:
        names = (names_filter,) if isinstance(names_filter, str) else tuple(names_filter)
    if not names:
        raise HookError("The names filter chooses no hook, so nothing would be kept.", "All names: model.hook_names.")
    for name in names:
        check_name(name, known)
    return names


def _join(name: str, parts: list[Tensor]) -> Tensor:
    if not name.endswith("hook_pattern"):
        return torch.cat(parts, 1)
    width = parts[-1].shape[-1]
    return torch.cat([F.pad(part, (0, width - part.shape[-1])) for part in parts], 2)


def _full_name(short: str, layer: int) -> str:
    inner = "attn.hook_" if short in ("q", "k", "v", "z", "pattern", "result") else "hook_"
    return f"blocks.{layer}.{inner}{short}"
