"""The records that cross from one room to another. They hold data and check it; they do no work."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from codi_int.errors import SiteError

Number = int | float
Operation = Literal["addition", "subtraction", "multiplication", "division"]
OPERATIONS: tuple[Operation, ...] = ("addition", "subtraction", "multiplication", "division")

Component = Literal["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "thought", "final_norm"]
LAYER_COMPONENTS: tuple[Component, ...] = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
GLOBAL_COMPONENTS: tuple[Component, ...] = ("thought", "final_norm")


@dataclass(frozen=True)
class Step:
    """One written calculation, such as 20*3=60."""

    left: Number
    """left operand"""
    operation: Operation
    """what is done to the operands"""
    right: Number
    """right operand"""
    result: Number
    """the value that is written behind the equals sign"""


@dataclass(frozen=True)
class Problem:
    """One word problem."""

    id: str
    """unique within its data set, stable between runs"""
    question: str
    """the text that the model reads"""
    answer: Number
    """the true answer"""
    steps: tuple[Step, ...]
    """the written solution, in order; empty where the data set has none"""


@dataclass(frozen=True)
class Site:
    """A place inside a chain of thought, written `L14.P3`, `L14.P3.mlp_out` or `P3.thought`."""

    layer: int | None
    """block index from 0; None for the components that belong to no layer"""
    position: int
    """0 is the <bot> pass, 1..6 are the thoughts"""
    component: Component = "resid_post"
    """which tensor of the block, in TransformerLens' words, or `thought` / `final_norm`"""

    def __post_init__(self) -> None:
        known = LAYER_COMPONENTS + GLOBAL_COMPONENTS
        if self.component not in known:
            raise SiteError(f"Component {self.component!r} does not exist.", f"Known components: {', '.join(known)}.")
        if (self.layer is None) != (self.component in GLOBAL_COMPONENTS):
            raise SiteError(
                f"Component {self.component!r} with layer {self.layer} is no site.",
                f"{' and '.join(GLOBAL_COMPONENTS)} take layer None, all others take a layer number.",
            )
        if self.position < 0 or (self.layer is not None and self.layer < 0):
            raise SiteError(f"Layer {self.layer}, position {self.position}: both count from 0 upwards.")

    def __str__(self) -> str:
        parts = [f"P{self.position}"] if self.layer is None else [f"L{self.layer}", f"P{self.position}"]
        return ".".join(parts if self.component == "resid_post" else [*parts, self.component])

    @classmethod
    def parse(cls, text: str) -> "Site":
        """The site that `text` names; the inverse of `str(site)`."""
        match = re.fullmatch(r"(?:L(\d+)\.)?P(\d+)(?:\.(\w+))?", text)
        if not match:
            raise SiteError(f"{text!r} is no site.", "Write L14.P3, L14.P3.mlp_out or P3.thought.")
        layer, position, component = match.groups()
        return cls(int(layer) if layer else None, int(position), component or "resid_post")  # type: ignore[arg-type]


@dataclass(frozen=True)
class SiteActivations:
    """What was captured at one site."""

    site: Site
    """where"""
    problem_ids: tuple[str, ...]
    """one for each row"""
    values: Float[Tensor, "n d_model"]
    """the activations"""


@dataclass(frozen=True)
class Completion:
    """What the model wrote after its thoughts."""

    problem_id: str
    """which problem"""
    text: str
    """the decoded answer text"""
    ids: tuple[int, ...]
    """the greedy token ids, up to and without the end token"""
    answer: Number | None
    """the number that the text gives as its answer; None where it gives none"""


@dataclass(frozen=True)
class ThoughtBatch:
    """The continuous thoughts of some problems."""

    problem_ids: tuple[str, ...]
    """one for each row"""
    thoughts: Float[Tensor, "n n_thoughts d_model"]
    """the projected vectors that the model fed itself"""
    captured: Mapping[Site, Float[Tensor, "n d_model"]] = field(default_factory=dict)
    """activations at the sites that were asked for"""
    residuals: Float[Tensor, "n n_layers positions d_model"] | None = None
    """`resid_post` of every layer and position, where everything was captured"""
    completions: tuple[Completion, ...] = ()
    """what was written afterwards, where writing was asked for"""
    completion_ids: Int[Tensor, "n new_tokens"] | None = None
    """greedy ids as a tensor, for the token-level door"""

    def at(self, site: Site) -> SiteActivations:
        """The activations at `site`; SiteError where it was not captured."""
        if site in self.captured:
            return SiteActivations(site, self.problem_ids, self.captured[site])
        full = self.residuals
        if full is not None and site.component == "resid_post" and site.layer is not None:
            if site.layer < full.shape[1] and site.position < full.shape[2]:
                return SiteActivations(site, self.problem_ids, full[:, site.layer, site.position])
        raise SiteError(
            f"Site {site} was not captured; captured: {', '.join(map(str, self.captured)) or 'none'}.",
            f"Ask for it: model.think(problems, capture=[Site.parse('{site}')]).",
        )


@dataclass(frozen=True)
class Latents:
    """Sparse SAE activations: `values[i, j]` belongs to feature `indices[i, j]`."""

    values: Float[Tensor, "n k"]
    """the activations, 0 where fewer than k features fire"""
    indices: Int[Tensor, "n k"]
    """the features"""
    d_sae: int
    """size of the dictionary"""

    def dense(self) -> Float[Tensor, "n d_sae"]:
        """The same latents with a column for every feature."""
        out = self.values.new_zeros(self.values.shape[0], self.d_sae)
        return out.scatter_(1, self.indices, self.values)


@dataclass(frozen=True)
class Outcome:
    """How one problem went in one arm."""

    problem_id: str
    """which problem"""
    answer: Number | None
    """what the model answered"""
    correct: bool
    """whether that is the true answer"""
    answer_logprob: float
    """log-probability of the clean arm's answer tokens, summed, in nats"""
    touched: bool
    """whether the edit changed anything at all on this problem"""
