"""Weights as a whole: their hash, and whether they changed."""

import hashlib
import weakref
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

SAMPLED = 8_192
"""at most so many elements of each tensor are looked at when only its contents can tell that it changed"""


def hash_weights(hf: nn.Module, projection: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of all tensors of a model, in the order of their names."""
    return hash_tensors(hf.state_dict(), projection.state_dict())


def hash_file_weights(model: Mapping[str, Tensor], projection: Mapping[str, Tensor]) -> str:
    """The hash that these tensors of a file have when they are loaded in float32, whatever they are cast to."""
    # float32 holds every bfloat16 and float16 exactly, so one file has one identity
    return hash_tensors({k: v.float() for k, v in model.items()}, {k: v.float() for k, v in projection.items()})


def hash_tensors(model: Mapping[str, Tensor], projection: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, types and bytes, in the order of names."""
    digest = hashlib.sha256()
    tensors = {f"model.{k}": v for k, v in model.items()}
    tensors |= {f"projection.{k}": v for k, v in projection.items()}
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class _TensorMark:
    """One parameter or buffer as it was when it was last looked at."""

    name: str
    """its name in the module"""
    tensor: "weakref.ref[Tensor]"
    """the tensor object; another one may take its name"""
    storage: StorageWeakRef
    """the memory behind it; `tensor.data = other` keeps the object and changes the memory"""
    version: int
    """how often autograd has seen it changed in place; -1 where it does not count"""

    def is_now(self, other: "_TensorMark") -> bool:
        """Whether nothing happened between two looks."""
        return (
            self.name == other.name
            and self.tensor() is other.tensor()
            and self.storage == other.storage
            and self.version == other.version
        )


class WeightsWatch:
    """Tells cheaply whether any parameter or buffer of some modules was changed, replaced, added or removed.

    Four signs are looked at, for no single one suffices: the tensor object (`module.weight = ...`), its memory
    (`weight.data = ...`), torch's version counter (`weight.add_(...)` under `no_grad`, an optimizer's step), and the
    contents (`weight.data.mul_(2)` and writes through numpy, which no counter sees). The contents are summed as
    integers: whole for tensors of up to `SAMPLED` elements, at evenly spaced elements of larger ones, so that a look
    costs milliseconds. What is missed is a write around autograd to a few elements of a large tensor.
    """

    def __init__(self, *modules: nn.Module, revision: int = 0) -> None:
        self._modules = modules
        self._revision = revision
        self._marks = self._look()
        self._contents = _checksum(self._tensors())

    def revision(self) -> int:
        """How often the weights were found changed so far; 0 while they are as they were at first."""
        marks, contents = self._look(), _checksum(self._tensors())
        same = len(marks) == len(self._marks) and all(a.is_now(b) for a, b in zip(marks, self._marks, strict=True))
        if not same or contents != self._contents:
            self._revision += 1
            self._marks, self._contents = marks, contents
        return self._revision

    def __reduce__(self) -> tuple[Callable[..., "WeightsWatch"], tuple[tuple[nn.Module, ...], int]]:
        # A copy looks at its own tensors. Copying the marks would free each storage's weak reference twice.
        return _watch_again, (self._modules, self.revision())

    def _tensors(self) -> list[Tensor]:
        return [tensor for _, tensor in self._named()]

    def _named(self) -> Iterable[tuple[str, Tensor]]:
        # tied tensors stand under each of their names: untying them is a change
        for i, module in enumerate(self._modules):
            yield from module.named_parameters(prefix=str(i), remove_duplicate=False)
            yield from module.named_buffers(prefix=str(i), remove_duplicate=False)

    def _look(self) -> list[_TensorMark]:
        # Weak references, not addresses: a new tensor may lie where an old one was freed, with the same counter. And
        # strong ones would keep the old weights of a model that was moved or cast in memory.
        return [
            _TensorMark(
                name=name,
                tensor=weakref.ref(tensor),
                storage=StorageWeakRef(tensor.untyped_storage()),
                version=_version(tensor),
            )
            for name, tensor in self._named()
        ]


class WeightsIdentity:
    """The hash of a model's weights as they are now, and what else its modules are remembered by.

    Args:
        hf: the language model.
        projection: the projection.
        file_sha256: the hash of their file, where they were cast on loading.
    """

    def __init__(self, hf: nn.Module, projection: nn.Module, file_sha256: str | None = None) -> None:
        self._hf, self._projection = hf, projection
        self._watch = WeightsWatch(hf, projection)
        # (hash of the cast weights, hash of their file): while the first holds, the model is its file
        self._file = None if file_sha256 is None else (hash_weights(hf, projection), file_sha256)
        self._hashed: tuple[int, str] | None = None
        self._token = _Token()

    def watch_instead(self, hf: nn.Module) -> None:
        """Watch another model around the very same tensors; what was found so far stays found."""
        self._hf = hf
        self._watch = WeightsWatch(hf, self._projection, revision=self._watch.revision())

    def sha256(self) -> str:
        """The hash, made again only where the weights were found changed."""
        revision = self._watch.revision()
        if self._hashed is None or self._hashed[0] != revision:
            found = hash_weights(self._hf, self._projection)
            if self._file is not None and found == self._file[0]:
                found = self._file[1]
            self._hashed = (revision, found)
        return self._hashed[1]

    def state(self) -> Hashable:
        """Which model this is, its weights' revision, its modules' modes and the torch hooks on them."""
        modules = [module for part in (self._hf, self._projection) for module in part.modules()]
        # torch numbers the hooks of a process, so the numbers alone tell them apart
        hooks = tuple((*module._forward_pre_hooks, *module._forward_hooks) for module in modules)
        return (self._token, self._watch.revision(), hooks, tuple(module.training for module in modules))


class _Token:
    """Stands for one model in its keys, without keeping the model alive."""


def _watch_again(modules: tuple[nn.Module, ...], revision: int) -> WeightsWatch:
    return WeightsWatch(*modules, revision=revision)


def _version(tensor: Tensor) -> int:
    # tensors made under torch.inference_mode have no counter and raise
    return -1 if tensor.is_inference() else tensor._version


@torch.no_grad()
def _checksum(tensors: Iterable[Tensor]) -> tuple[int, ...]:
    """A sum for each tensor over the bits of its elements, each weighted by its place."""
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    sums = []
    for tensor in tensors:
        flat = tensor.detach().reshape(-1)
        # an odd stride shares no factor with the usual widths, so that it comes by every column and not by one
        flat = flat[:: -(-flat.numel() // SAMPLED) | 1]
        # Bits, not values: integer sums wrap but never round, so they do not depend on threads or on the order of
        # summation. The odd weights make a sign flip of the whole tensor or two exchanged rows show.
        bits = flat.view(integers[flat.element_size()]).long() if not flat.is_complex() else flat.abs().long()
        places = torch.arange(1, 2 * len(bits), 2, device=bits.device)
        sums.append((bits * places).sum())
    # one copy to the host for all of them, for each copy makes a GPU wait; the model may lie on several devices
    return tuple(torch.stack([total.cpu() if total.device != sums[0].device else total for total in sums]).tolist())
