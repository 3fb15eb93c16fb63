"""Tensors that say `cuda:0` and hold their data on the CPU: what a program would do on a GPU, without one.

Every operation on them is counted as a launch, except views and allocations; whatever makes the host wait for the
device is counted as a sync. Operations that torch refuses between two devices are refused here too. The arithmetic is
the CPU's, so results can be compared bit for bit with the same program on the CPU.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from types import FrameType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.autograd.graph import _engine_run_backward
from torch.overrides import TorchFunctionMode

DEVICE = torch.device("cuda", 0)
GIB = 2**30
FREE = 100 * GIB
"""bytes that the pretended device has left"""

NO_LAUNCH = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view", "lift_fresh"}
"""operations that only allocate or look, besides views"""
READS_THE_SIZE = {
    *("nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount", "equal"),
    *("_local_scalar_dense", "is_nonzero", "repeat_interleave"),
}
"""operations whose result, or its shape, the host has to be told"""
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
BETWEEN_DEVICES = {"copy_", "_to_copy", "_copy_from"}


class Ledger:
    """What has been done on the pretended device."""

    def __init__(self) -> None:
        self.launches = 0
        self.syncs = 0
        self.kinds: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        """where the host waited"""

    def launch(self, kind: str) -> None:
        """One kernel or copy on the device."""
        self.launches += 1
        self.kinds[kind] += 1

    def sync(self, kind: str) -> None:
        """The host waits."""
        self.syncs += 1
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and "/codi_int/" not in frame.f_code.co_filename:
            frame = frame.f_back
        where = "elsewhere"
        if frame is not None:
            where = f"{frame.f_code.co_filename.rpartition('/codi_int/')[2]}:{frame.f_lineno}"
        self.places[f"{where} {kind}"] += 1

    @contextmanager
    def counted(self) -> Iterator["Ledger"]:
        """The launches and syncs of a block alone."""
        part = Ledger()
        before = self.launches, self.syncs, Counter(self.kinds), Counter(self.places)
        yield part
        part.launches, part.syncs = self.launches - before[0], self.syncs - before[1]
        part.kinds, part.places = self.kinds - before[2], self.places - before[3]


LEDGER = Ledger()


class Pretended(torch.Tensor):
    """A tensor on the pretended device."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls: type["Pretended"], inner: Tensor) -> "Pretended":
        made: Pretended = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            # what torch's own C++ sees: without CUDA it has no guard for a device of that kind
            device="cpu",
        )
        made.inner = inner.detach()
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where it says it is."""
        return DEVICE

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        """What the program asks."""
        return True

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        """The same."""
        return False

    def __repr__(self) -> str:
        return f"Pretended({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, dict(kwargs or {}))


def _map(change: Callable[[Any], Any], value: Any) -> Any:
    """A value of an operation's arguments or results, its tensors changed; torch's own does much more, and slowly."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: _map(change, one) for name, one in value.items()}
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        mapped = [_map(change, one) for one in value]
        if isinstance(value, list):
            return mapped
        return type(value)(*mapped) if hasattr(value, "_fields") else tuple(mapped)
    return value


def _leaves(value: Any) -> Iterator[Tensor]:
    """The tensors in it."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _leaves(list(value.values()))
    elif isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        for one in value:
            yield from _leaves(one)


def _wrap(value: Any) -> Any:
    return Pretended(value) if isinstance(value, Tensor) and not isinstance(value, Pretended) else value


def _unwrap(value: Any) -> Any:
    return value.inner if isinstance(value, Pretended) else value


def _dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation of torch's dispatcher on at least one pretended tensor."""
    name = func.overloadpacket.__name__
    kwargs.pop("device", None)  # inside torch everything is on the CPU; moves are seen by `_Mode`
    _check_devices(name, args, kwargs)
    inner_args, inner_kwargs = _map(_unwrap, (args, kwargs))
    if name in BETWEEN_DEVICES:
        return _move(func, args, kwargs)
    if not (func.is_view or name in NO_LAUNCH or name.startswith("sym_") or name == "detach"):
        LEDGER.launch(name)
    if name in READS_THE_SIZE or (name in INDEXING and _waits(args)):
        LEDGER.sync(name)
    out = func(*inner_args, **inner_kwargs)
    if func._schema.is_mutable and args and _is_in_place(func):
        # the wrapper that was written into is what comes back, so that its identity holds
        return args[0] if isinstance(out, Tensor) else _as_given(out, args)
    return _map(_wrap, out)


def _is_in_place(func: Any) -> bool:
    returned = func._schema.returns
    return all(one.alias_info is not None and one.alias_info.is_write for one in returned)


def _as_given(out: Any, args: Any) -> Any:
    return None if out is None else _map(_wrap, out)


def _waits(args: Any) -> bool:
    """Whether an index has to be read by the host (a mask), or carried to the device (one that lies on the CPU)."""
    indices = list(_leaves(args[1]))
    return any(index.dtype in (torch.bool, torch.uint8) or not isinstance(index, Pretended) for index in indices)


def _check_devices(name: str, args: Any, kwargs: Any) -> None:
    """RuntimeError where torch would refuse: a tensor of the CPU with dimensions beside one of the device."""
    if name in BETWEEN_DEVICES:
        return
    given = list(_leaves((args, kwargs)))
    if name in INDEXING:
        # a tensor of the device may be indexed from the CPU, but not the other way round
        if isinstance(args[0], Pretended):
            given = [leaf for leaf in given if leaf.dtype not in (torch.bool, torch.int64)] + [args[0]]
        elif args:
            raise RuntimeError(f"indices on {DEVICE} of a tensor on the CPU")
    stray = [tuple(leaf.shape) for leaf in given if not isinstance(leaf, Pretended) and leaf.ndim]
    if stray:
        raise RuntimeError(f"{name}: tensors of {stray} lie on the CPU, the others on {DEVICE}")


def _move(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """A copy, perhaps between the devices; `to` another device is `_to`'s."""
    name = func.overloadpacket.__name__
    inner_args, inner_kwargs = _map(_unwrap, (args, kwargs))
    LEDGER.launch(name)
    if name != "copy_":
        return _wrap(func(*inner_args, **inner_kwargs))
    if isinstance(args[0], Pretended) != isinstance(args[1], Pretended) and args[1].ndim:
        LEDGER.sync(name)
    func(*inner_args, **inner_kwargs)
    return args[0]


class _Mode(TorchFunctionMode):
    """Calls that would open the device before they reach the dispatcher."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.to:
            return _to(func, args, kwargs)
        if func is torch.Tensor.backward:
            # written-out gradients make tensors of their own, and a mode is off while it handles a call
            root = args[0]
            with self:
                return _engine_run_backward(
                    (root,), (torch.ones_like(root),), False, False, (), allow_unreachable=True, accumulate_grad=True
                )
        if func is torch.Tensor.cuda:
            return _to(func, (args[0], DEVICE), {})
        if func in (torch.Tensor.cpu, torch.Tensor.tolist) and isinstance(args[0], Pretended):
            LEDGER.launch("copy to the host")
            LEDGER.sync(func.__name__)
            return func(back(args[0]).clone())
        if func is torch.Tensor.numpy and isinstance(args[0], Pretended):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if func is torch._C._nn.scaled_dot_product_attention:
            return _attention(func, args, kwargs)
        device = kwargs.get("device")
        if device is not None and torch.device(device).type == "cuda":
            if any(isinstance(one, Pretended) for one in _leaves(args)):
                kwargs.pop("device")
                return func(*args, **kwargs)
            kwargs["device"] = "cpu"
            made = func(*args, **kwargs)
            name = getattr(func, "__name__", "factory")
            if name in ("tensor", "as_tensor", "asarray"):
                LEDGER.sync(name)  # from memory that is not pinned
            if name not in NO_LAUNCH:
                LEDGER.launch(name)
            return _map(_wrap, made)
        return func(*args, **kwargs)


def _to(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """`Tensor.to`, whose arguments may name the device, show it by another tensor, or leave it."""
    given = args[0]
    if len(args) > 1 and isinstance(args[1], Tensor):
        device: Any = args[1].device
    else:
        named = [one for one in (*args[1:2], kwargs.get("device")) if isinstance(one, str | torch.device | int)]
        device = torch.device(named[0]) if named and not isinstance(named[0], int) else None
    if device is None or (device.type == "cuda") == isinstance(given, Pretended):
        if device is not None:
            # already there: what else may be asked for is a dtype
            dtypes = [one for one in (*args[1:], *kwargs.values()) if isinstance(one, torch.dtype)]
            if len(args) > 1 and isinstance(args[1], Tensor):
                dtypes = [args[1].dtype]
            copy = bool(kwargs.get("copy"))
            return func(given, dtype=dtypes[0], copy=copy) if dtypes or copy else given
        return func(*args, **kwargs)
    if device.type == "cuda":
        dtypes = [one for one in (*args[1:], *kwargs.values()) if isinstance(one, torch.dtype)]
        if len(args) > 1 and isinstance(args[1], Tensor):
            dtypes = [args[1].dtype]
        LEDGER.launch("to")
        LEDGER.sync("to")
        return pretend(given, *dtypes)
    LEDGER.launch("to")
    LEDGER.sync("to")
    return func(back(given).clone(), *args[1:], **kwargs)


def _attention(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """torch's fused attention: one launch where it has a kernel; with a mask on grouped queries it falls apart."""
    tensors = list(_leaves((args, kwargs)))
    if not any(isinstance(one, Pretended) for one in tensors):
        return func(*args, **kwargs)
    masked = kwargs.get("attn_mask") is not None or len(args) > 3
    _check_devices("scaled_dot_product_attention", args, kwargs)
    LEDGER.launch("attention by parts" if masked and kwargs.get("enable_gqa") else "attention")
    inner_args, inner_kwargs = _map(_unwrap, (args, kwargs))
    return _wrap(func(*inner_args, **inner_kwargs))


def pretend(given: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The tensor's data on the pretended device; keeps whether it is a parameter and wants gradients."""
    if isinstance(given, Pretended):
        return given
    made = Pretended(given.detach().to(dtype or given.dtype).clone())
    if isinstance(given, nn.Parameter):
        return nn.Parameter(made, given.requires_grad)
    return made.requires_grad_(given.requires_grad)


def back(given: Tensor) -> Tensor:
    """What a pretended tensor holds, without counting."""
    return given.detach().inner if isinstance(given, Pretended) else given  # type: ignore[attr-defined]


def move(module: nn.Module) -> nn.Module:
    """All parameters and buffers of a module on the pretended device, in place."""
    return module._apply(lambda tensor: pretend(tensor))


def _stand_in(name: str, definition: Callable[..., Any]) -> Callable[..., Any]:
    """One launch of a kernel that tests of its own hold against its definition: interpreted it would take minutes."""

    def deep(change: Callable[[Any], Any], value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return type(value)(**{one.name: change(getattr(value, one.name)) for one in fields(value)})
        return _map(change, value)

    def run(*args: Any) -> Any:
        LEDGER.launch(name)
        tensors = [leaf for value in args for leaf in _tensors(value)]
        _check_devices(name, tensors, {})
        return deep(_wrap, definition(*(deep(_unwrap, value) for value in args)))

    return run


def _tensors(value: Any) -> list[Tensor]:
    given = [getattr(value, one.name) for one in fields(value)] if is_dataclass(value) else value
    return list(_leaves(given))


def _select(pre: Tensor, k: int, rule: str) -> Any:
    """`encode_triton.select`, by its definition."""
    from codi_int.sae.kernels import reference

    indices = reference.select(reference.keys(pre, rule), k)
    return reference.EncodedTopK(pre.gather(1, indices), indices)


@contextmanager
def pretended_cuda() -> Iterator[Ledger]:
    """While it lasts, `device="cuda"` means the pretended device; launches and syncs are counted in the ledger."""
    from triton.runtime.interpreter import InterpretedFunction

    from codi_int.model.kernels import llama_triton, reference
    from codi_int.sae.kernels import encode_triton

    names = ("add_norm", "silu_mul", "rotate_store", "attend", "read_logits")
    stand_ins = {name: _stand_in(name, getattr(reference, name)) for name in names}
    launch: Callable[..., Any] = InterpretedFunction.run

    def counted(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        given = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
        if given and any(isinstance(one, Pretended) for one in given):
            if not all(isinstance(one, Pretended) for one in given):
                raise RuntimeError(f"{self.fn.__name__}: pointers of two devices")
            LEDGER.launch(self.fn.__name__)
        inner = {name: _unwrap(value) for name, value in kwargs.items()}
        return launch(self, *map(_unwrap, args), grid=grid, warmup=warmup, **inner)

    LEDGER.__init__()  # type: ignore[misc]
    with (
        patch.object(InterpretedFunction, "run", counted),
        patch.multiple(llama_triton, **stand_ins),
        patch.object(encode_triton, "select", _stand_in("select", _select)),
        patch.object(torch.cuda, "mem_get_info", lambda *given: (FREE, FREE)),
        patch.object(torch.cuda, "get_device_name", lambda *given: "pretended"),
        patch.object(torch.cuda, "synchronize", lambda *given: LEDGER.sync("synchronize")),
        # else a module that moves would put a pretended tensor's (missing) data into its old parameter
        patch.object(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True),
        _Mode(),
    ):
        yield LEDGER
