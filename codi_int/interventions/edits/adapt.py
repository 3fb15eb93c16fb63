"""The one place that looks at what an edit can do: a user's own object may have any part of what ours have."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from codi_int.errors import HookError

Change = Callable[[Tensor, Tensor | None], Tensor]
"""(what arrives, what would arrive without any edit or None where that is the same) -> what it becomes"""


@dataclass(frozen=True)
class AdaptedEdit:
    """An edit as the engine sees it: every field is there, whatever the object has."""

    label: str
    """the edit in words"""
    kind: str
    """`ablate`, `amplify`, ...; the class name of an edit of one's own"""
    features: tuple[int, ...]
    """the features that it names; empty where it names none"""
    takes_all: bool
    """whether it changes every latent"""
    movable: bool
    """whether it can be done to other features"""
    mode: Any
    """of an ablation; of an edit made of edits where all have the same; else None"""
    factor: Any
    """of an amplification, in the same way"""
    latents: Change | None
    """changes latents [n, d_sae]; None for an edit that cannot"""
    residual: Change | None
    """changes activations [n, d_model]; None for an edit that cannot"""


@dataclass(frozen=True)
class FunctionEdit:
    """A function of latents as an edit under its own name."""

    function: Callable[[Tensor], Tensor]
    """latents [n, d_sae] -> latents, without writing into them"""
    kind = "function"

    @property
    def label(self) -> str:
        """The function's name."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def edit(self, latents: Float[Tensor, "n d_sae"]) -> Float[Tensor, "n d_sae"]:
        """What the function makes of the latents."""
        return self.function(latents)


def as_edit(edit: Any) -> AdaptedEdit:
    """What an edit can do, found out once; HookError for what is neither an edit nor a function of latents."""
    # idempotent: callers above and below may both adapt
    if isinstance(edit, AdaptedEdit):
        return edit
    edit = named_edit(edit)
    features = tuple(getattr(edit, "features", ()))
    latents = _change(edit, "edit", "edit_from")
    # `moved_to` alone is not enough: without `features` nothing says how many stand-ins to draw
    can_move = latents is not None and callable(getattr(edit, "moved_to", None)) and bool(features)
    return AdaptedEdit(
        label=edit.label,
        kind=str(getattr(edit, "kind", type(edit).__name__.lower())),
        features=features,
        # None is how an interchange says "all"; an edit without the field names its features or none
        takes_all=getattr(edit, "feature", 0) is None,
        movable=can_move and bool(getattr(edit, "movable", True)),
        mode=_setting(edit, "mode"),
        factor=_setting(edit, "factor"),
        latents=latents,
        residual=_change(edit, "edit_residual", "edit_residual_from"),
    )


def named_edit(edit: Any) -> Any:
    """The edit itself, or a function of latents as one; HookError for what is neither, a class by mistake too."""
    if isinstance(edit, type) or not (hasattr(edit, "label") or callable(edit)):
        raise no_edit(edit)
    if hasattr(edit, "label"):
        return edit
    return FunctionEdit(edit)


def no_edit(given: object) -> HookError:
    """The error for an object that is no edit, of latents or of the residual."""
    return HookError(
        f"{given!r} is no edit.",
        "An edit is a function of latents [n, d_sae], or has a label and a method edit(latents) or edit_residual(x).",
    )


def _change(edit: Any, plain: str, refer: str) -> Change | None:
    """A method of an edit, or the one beside it that takes values from the clean run where that differs."""
    # looked up once; behind this line nobody asks the object what it can do
    alone, beside = getattr(edit, plain, None), getattr(edit, refer, None)
    if not callable(alone):
        return None
    # a copy of the clean values: an edit that works in place must not reach the clean arm
    return lambda now, clean: alone(now) if beside is None or clean is None else beside(now, clean.clone())


def _setting(edit: Any, name: str) -> Any:
    if not hasattr(edit, "parts"):
        return getattr(edit, name, None)
    # edits made of edits may nest, so each part is asked in the same way
    values = [_setting(part, name) for part in edit.parts]
    return values[0] if all(value == values[0] for value in values) else None
