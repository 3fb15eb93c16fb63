"""Hooks that users set: which exist, which fire at a step, what they may return, and a receipt of what happened."""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor

from codi_int.errors import ConfigError, HookError
from codi_int.model.stack import FINAL_HOOK, head_hook
from codi_int.notes import give, idle_hooks_note
from codi_int.types import Propagate, Site

Position = int | Literal["answer"]
PROPAGATE: tuple[Propagate, ...] = ("both", "cache", "recurrence")
THOUGHT_HOOK = "hook_thought"
SITE_TEXT = re.compile(r"(?:L\d+\.)?P\d+(?:\.[\w:]+)?")


@dataclass(frozen=True)
class HookPoint:
    """A hook name, limited to some positions."""

    name: str
    """a TransformerLens name such as `blocks.3.attn.hook_pattern`, or `hook_thought`"""
    positions: tuple[Position, ...] | None = None
    """0 for the question up to <bot>, 1.. for the thoughts, "answer" for what is written; None for all of them"""


@dataclass(frozen=True)
class HookContext:
    """What a hook function is told besides the tensor."""

    name: str
    """the hook's full name"""
    position: Position
    """0 while the question is read, 1.. for the thoughts, "answer" for what is written"""
    problem_ids: tuple[str, ...]
    """one for each row of the tensor"""
    site: Site | None = None
    """the site, where the hook was set on one"""

    def layer(self) -> int:
        """The block that the hook sits in; ValueError where it sits in none."""
        _, _, rest = self.name.partition("blocks.")
        return int(rest.split(".")[0])  # of "", where the name has no block, int raises ValueError


HookFunction = Callable[..., Tensor | None]
"""fn(tensor, context) -> the tensor's replacement, or None where it only reads"""


@dataclass(frozen=True)
class HookReceipt:
    """How often one hook fired."""

    key: Site | HookPoint
    """what it was set on"""
    fired: Mapping[Position, int]
    """number of calls per position"""

    @property
    def total(self) -> int:
        """Number of calls."""
        return sum(self.fired.values())


@dataclass(frozen=True, eq=False)
class HookEntry:
    """One function at one place; two entries are never the same, even with the same function."""

    key: Site | HookPoint
    """where it was set"""
    name: str
    """the hook name that this means"""
    fn: HookFunction
    """what is called"""
    by_keyword: bool
    """True where the function calls its second argument `hook`, as TransformerLens' do"""
    counts: Counter[Position] = field(default_factory=Counter)
    """calls per position so far"""
    returned: Counter[bool] = field(default_factory=Counter)
    """returned tensors so far, by whether they changed anything; once one has, the others are not looked at"""

    def active_at(self, position: Position) -> bool:
        """Whether the hook is to be called at this position at all."""
        if isinstance(self.key, Site):
            return position == self.key.position
        return self.key.positions is None or position in self.key.positions

    def apply(self, tensor: Tensor, context: HookContext) -> Tensor | None:
        """Call the function on its part of the tensor and put what it returns in place."""
        self.counts[context.position] += 1
        part = tensor[:, -1] if isinstance(self.key, Site) else tensor
        watched, writes = not (self.returned[True] or _is_ours(self.fn)), _n_writes(part)
        out = self.fn(part, hook=context) if self.by_keyword else self.fn(part, context)
        if out is None:
            return None
        out = _checked(out, part, context)
        if watched:
            self.returned[_n_writes(part) != writes or not bool((out == part).all())] += 1
        if part is tensor:
            return out
        # a copy, for the tensor is what other hooks and recorders were handed
        whole = tensor.clone()
        whole[:, -1] = out
        return whole


class HookSession:
    """The hooks of one `with model.hooks(...)` block."""

    def __init__(self, entries: Sequence[HookEntry], propagate: Propagate) -> None:
        if propagate not in PROPAGATE:
            raise ConfigError(f"propagate={propagate!r} does not exist.", f"It is one of {', '.join(PROPAGATE)}.")
        for entry in entries:
            if propagate == "cache" and entry.name in (THOUGHT_HOOK, FINAL_HOOK):
                raise HookError(
                    f"A hook on {entry.name} reaches nothing with propagate='cache': no key or value comes after it.",
                    "Use propagate='both' or 'recurrence'.",
                )
        self.entries = tuple(entries)
        self.propagate = propagate

    def active_at(self, position: Position) -> tuple[HookEntry, ...]:
        """The hooks that may be called at this position."""
        return tuple(entry for entry in self.entries if entry.active_at(position))

    @property
    def receipts(self) -> tuple[HookReceipt, ...]:
        """How often each hook fired so far, and at which positions."""
        return tuple(HookReceipt(entry.key, dict(entry.counts)) for entry in self.entries)

    def check_fired(self) -> None:
        """HookError where some hook was never called; a warning where one returned what it was handed, each time."""
        silent = [_label(entry.key) for entry in self.entries if not entry.counts]
        if silent:
            raise HookError(
                f"Never fired: {', '.join(silent)}. A hook must be called at least once before its block ends.",
                "Run model.think or model.answer inside the with block (hooks on answers need model.answer).",
            )
        # who returns a tensor means to change something; who only reads returns None
        idle = [_label(entry.key) for entry in self.entries if entry.returned[False] and not entry.returned[True]]
        if idle:
            give([idle_hooks_note(idle)])


@runtime_checkable
class Recorder(Protocol):
    """Who keeps activations while a model runs."""

    def names(self, position: Position) -> frozenset[str]:
        """The hook names that are wanted at a position."""

    def record(self, name: str, position: Position, tensor: Tensor) -> None:
        """Keep the tensor, which other hooks may have changed already."""


class SiteRecorder:
    """Keeps the last token's activation [batch, d_model] at some sites."""

    def __init__(self, sites: Iterable[Site]) -> None:
        self._wanted: dict[tuple[str, Position], Site] = {(site_hook_name(s), s.position): s for s in sites}
        self.captured: dict[Site, Tensor] = {}

    def names(self, position: Position) -> frozenset[str]:
        return frozenset(name for name, p in self._wanted if p == position)

    def record(self, name: str, position: Position, tensor: Tensor) -> None:
        # cloned, because a later hook or step may write in place: recorded is recorded
        self.captured[self._wanted[name, position]] = tensor[:, -1].clone()


class StepHook:
    """What the block stack calls at one step: the users' functions first, then the recorder."""

    def __init__(
        self, entries: Sequence[HookEntry], recorder: Recorder | None, position: Position, ids: tuple[str, ...]
    ) -> None:
        wanted = recorder.names(position) if recorder else frozenset()
        self.names = frozenset(entry.name for entry in entries) | wanted
        self._entries, self._recorder, self._wanted = entries, recorder, wanted
        self._position, self._ids = position, ids

    def __call__(self, name: str, tensor: Tensor) -> Tensor | None:
        current = tensor
        for entry in self._entries:
            if entry.name != name:
                continue
            site = entry.key if isinstance(entry.key, Site) else None
            out = entry.apply(current, HookContext(name, self._position, self._ids, site))
            current = current if out is None else out
        if self._recorder and name in self._wanted:
            self._recorder.record(name, self._position, current)
        return None if current is tensor else current


def site_hook_name(site: Site) -> str:
    """The hook name that a site's component has."""
    if site.component == "thought":
        return THOUGHT_HOOK
    if site.head is not None:
        return f"blocks.{site.layer}.{head_hook(site.head)}"
    return FINAL_HOOK if site.component == "final_norm" else f"blocks.{site.layer}.hook_{site.component}"


def names_site(key: object) -> bool:
    """Whether the key of a hook table means a site: itself, its parts, or its text, which no hook's name looks like."""
    return isinstance(key, Site | tuple) or (isinstance(key, str) and bool(SITE_TEXT.fullmatch(key)))


def make_entry(key: Site | HookPoint | str, fn: Any, known: Sequence[str], n_thoughts: int) -> HookEntry:
    """Check one line of a hook table; HookError where the name or position does not exist or `fn` is no function."""
    key = HookPoint(key) if isinstance(key, str) else key
    if not isinstance(key, Site | HookPoint):
        raise HookError(f"{key!r} names no hook.", "Write a site such as L14.P3, or a name of model.hook_names.")
    if not callable(fn):
        raise HookError(f"The hook at {_label(key)} is {fn!r}, which cannot be called.", "Give fn(tensor, context).")
    name = site_hook_name(key) if isinstance(key, Site) else key.name
    check_name(name, known)
    if isinstance(key, HookPoint):
        _check_positions(key, n_thoughts)
    by_keyword = _takes_hook_keyword(fn)
    _check_arguments(fn, by_keyword, key)
    return HookEntry(key, name, fn, by_keyword)


def _check_arguments(fn: Any, by_keyword: bool, key: Site | HookPoint) -> None:
    """HookError for a function that cannot be called with a tensor and a context: told here, not in the first pass."""
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # some built-in callables tell no signature
        return
    try:
        signature.bind(None, hook=None) if by_keyword else signature.bind(None, None)
    except TypeError as error:
        raise HookError(
            f"The hook at {_label(key)} takes {signature}, and is called with a tensor and a context: {error}.",
            "Write lambda resid, context: ...",
        ) from None


def check_name(name: str, known: Sequence[str]) -> None:
    """HookError where no hook has this name."""
    if name not in known:
        # cutoff 0: the nearest names are shown however far they are
        near = get_close_matches(name, known, 3, 0.0)
        raise HookError(f"No hook is named {name!r}.", f"Nearest: {', '.join(near)}; all: model.hook_names.")


def _check_positions(point: HookPoint, n_thoughts: int) -> None:
    for position in point.positions or ():
        if position != "answer" and position not in range(n_thoughts + 1):
            raise HookError(
                f"Hook {point.name!r} at position {position!r}: there is no such position.",
                f"Positions are 0 to {n_thoughts} and 'answer'.",
            )


def _checked(out: Any, part: Tensor, context: HookContext) -> Tensor:
    """What a function returned, in the model's dtype; HookError where it cannot take the tensor's place."""
    where = str(context.site or context.name)
    if not isinstance(out, Tensor):
        raise HookError(f"The hook at {where} returned {type(out).__name__}.", "Return a tensor, or None to only read.")
    if out.shape != part.shape:
        raise HookError(
            f"The hook at {where} returned shape {tuple(out.shape)}; it must be {tuple(part.shape)}.",
            "Return a tensor of the shape that the hook was given.",
        )
    if not out.is_floating_point() or out.device != part.device:
        raise HookError(
            f"The hook at {where} returned {out.dtype} on {out.device}; it must be float on {part.device}.",
            "Return a tensor like the one that the hook was given.",
        )
    cast: Tensor = out.to(part.dtype)
    # looked at after the cast: 70,000 is a number in float32 and inf in float16
    if not bool(cast.detach().isfinite().all()):
        raise HookError(f"The hook at {where} returned NaN or inf.", "Return finite numbers only.")
    return cast


def _takes_hook_keyword(fn: HookFunction) -> bool:
    try:
        parameter = inspect.signature(fn).parameters.get("hook")
    except (TypeError, ValueError):  # some built-in callables tell no signature
        return False
    return parameter is not None and parameter.kind is not inspect.Parameter.POSITIONAL_ONLY


def _is_ours(fn: HookFunction) -> bool:
    # our own edits may add a difference of zero, and are not looked at: that would cost every batch a look at the GPU
    return (getattr(fn, "__module__", None) or "").startswith("codi_int.")


def _n_writes(tensor: Tensor) -> int:
    """How often the tensor's memory was written to, for a hook may change it in place and return it."""
    return 0 if tensor.is_inference() else tensor._version


def _label(key: Site | HookPoint) -> str:
    if isinstance(key, Site):
        return str(key)
    return key.name if key.positions is None else f"{key.name} at {', '.join(map(str, key.positions))}"
