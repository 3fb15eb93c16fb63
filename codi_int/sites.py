"""Places inside a chain of thought, and how users write them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from codi_int.errors import SiteError
from codi_int.numeric import as_whole, shown

Component = str
"""one of the words below, or `head:H`: what attention head H adds to `attn_out`"""
# those that every block has, apart from those that a position has once: a site has a layer or has none
LAYER_COMPONENTS: tuple[Component, ...] = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
GLOBAL_COMPONENTS: tuple[Component, ...] = ("thought", "final_norm")
HEAD = re.compile(r"head:(0|[1-9]\d{0,4})")


@dataclass(frozen=True)
class Site:
    """A place inside a chain of thought, written `L14.P3`, `L14.P3.mlp_out`, `L14.P3.head:1` or `P3.thought`."""

    layer: int | None
    """block index from 0; None for the components that belong to no layer"""
    position: int
    """0 is the <bot> pass, 1..6 are the thoughts"""
    component: Component = "resid_post"
    """which tensor of the block, in TransformerLens' words, or `head:H`, `thought`, `final_norm`"""

    def __post_init__(self) -> None:
        for name in ("layer", "position") if self.layer is not None else ("position",):
            whole = as_whole(f"A site's {name}", getattr(self, name), SiteError)
            object.__setattr__(self, name, whole)
        known = LAYER_COMPONENTS + GLOBAL_COMPONENTS
        if self.component not in known and self.head is None:
            named = ", ".join((*LAYER_COMPONENTS, "head:0, head:1, ...", *GLOBAL_COMPONENTS))
            raise SiteError(f"Component {shown(self.component)} does not exist.", f"Known components: {named}.")
        # both directions at once: a block's component without a layer, and a layer for what has none
        if (self.layer is None) != (self.component in GLOBAL_COMPONENTS):
            raise SiteError(
                f"Component {self.component!r} with layer {self.layer} is no site.",
                f"{' and '.join(GLOBAL_COMPONENTS)} take layer None, all others take a layer number.",
            )
        if self.position < 0 or (self.layer is not None and self.layer < 0):
            raise SiteError(
                f"Layer {self.layer}, position {self.position}: both count from 0 upwards.",
                "Give numbers from 0 upwards.",
            )

    @property
    def head(self) -> int | None:
        """The attention head whose part this is; None for every other component."""
        found = HEAD.fullmatch(self.component) if isinstance(self.component, str) else None
        return None if found is None else int(found[1])

    @property
    def inside(self) -> bool:
        """Whether the tensor is made and used up inside its block, which has to run again for a change of it."""
        return self.component in ("attn_out", "resid_mid") or self.head is not None

    def __str__(self) -> str:
        # `resid_post` is the usual one and stays unsaid; `parse` puts it back
        parts = [f"P{self.position}"] if self.layer is None else [f"L{self.layer}", f"P{self.position}"]
        return ".".join(parts if self.component == "resid_post" else [*parts, self.component])

    @classmethod
    def parse(cls, text: "SiteLike") -> "Site":
        """The site that `text` names, the inverse of `str(site)`; also of its parts (14, 3), or the site itself."""
        if isinstance(text, Site):
            return text
        if isinstance(text, tuple | list) and len(text) in (2, 3):
            return cls(*text)
        # fullmatch: with match, what stands behind a site would be dropped without a word
        # nine digits: no model has more, and Python refuses to read thousands of them in words of its own
        pattern = r"(?:L(\d{1,9})\.)?P(\d{1,9})(?:\.([\w:]+))?"
        match = re.fullmatch(pattern, text) if isinstance(text, str) else None
        if not match:
            raise SiteError(
                f"{shown(text)} is no site.", "Write L14.P3, L14.P3.mlp_out, L14.P3.head:1 or P3.thought, or (14, 3)."
            )
        layer, position, component = match.groups()
        return cls(int(layer) if layer else None, int(position), component or "resid_post")


SiteLike = Site | str | tuple[Any, ...]
"""a site, its text such as `L14.P3`, or its parts: (14, 3) or (14, 3, "mlp_out")"""
SitesLike = SiteLike | Iterable[SiteLike]
"""one site or several"""


def as_sites(given: SitesLike) -> tuple[Site, ...]:
    """The sites that are meant, by one of them or several."""
    # a pair of numbers is one site, a pair of sites are two
    parts = isinstance(given, tuple | list) and bool(given) and not isinstance(given[0], Site | str | tuple | list)
    if isinstance(given, Site | str) or parts or not isinstance(given, Iterable):
        return (Site.parse(given),)  # type: ignore[arg-type]
    return tuple(Site.parse(site) for site in given)
