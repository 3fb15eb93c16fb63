"""The records that cross from one package to another. They hold data and check it; they do no work."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxtyping import Float, Int
from torch import Tensor

from codi_int.effects import ControlSet as ControlSet
from codi_int.effects import Effect as Effect
from codi_int.effects import FeatureTurn as FeatureTurn
from codi_int.effects import LaterEffects as LaterEffects
from codi_int.effects import Matched as Matched
from codi_int.effects import ResidualDistance as ResidualDistance
from codi_int.effects import ResultRead as ResultRead
from codi_int.effects import SideEffects as SideEffects
from codi_int.effects import Symmetry as Symmetry
from codi_int.effects import ThoughtChange as ThoughtChange
from codi_int.errors import SiteError
from codi_int.records import Alias, Estimate, flatten
from codi_int.records import Conclusion as Conclusion
from codi_int.records import LogprobEffect as LogprobEffect
from codi_int.records import MeanEffect as MeanEffect
from codi_int.shown import Finding, Shown
from codi_int.sites import GLOBAL_COMPONENTS as GLOBAL_COMPONENTS
from codi_int.sites import LAYER_COMPONENTS as LAYER_COMPONENTS
from codi_int.sites import Component as Component
from codi_int.sites import Site as Site
from codi_int.sites import SiteLike as SiteLike

Number = int | float
Operation = Literal["addition", "subtraction", "multiplication", "division"]
OPERATIONS: tuple[Operation, ...] = ("addition", "subtraction", "multiplication", "division")


Splice = Literal["add", "replace"]
Propagate = Literal["both", "cache", "recurrence"]
Later = Literal["free", "mean", "clean"]


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


@dataclass(frozen=True, repr=False)
class SiteActivations(Shown):
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


@dataclass(frozen=True, repr=False)
class ThoughtBatch(Shown):
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
    """greedy ids as a tensor, for the token-level entry point"""

    def at(self, site: SiteLike) -> SiteActivations:
        """The activations at `site`; SiteError where it was not captured."""
        site = Site.parse(site)
        if site in self.captured:
            return SiteActivations(site, self.problem_ids, self.captured[site])
        # Where everything was captured, a site is a slice: [n, n_layers, positions, d_model] -> [n, d_model]. Only
        # `resid_post` lies there.
        full, layer = self.residuals, site.layer
        if full is not None and layer is not None and site.component == "resid_post":
            _, n_layers, n_positions, _ = full.shape
            if layer < n_layers and site.position < n_positions:
                return SiteActivations(site, self.problem_ids, full[:, layer, site.position])
        raise SiteError(
            f"Site {site} was not captured; captured: {', '.join(map(str, self.captured)) or 'none'}.",
            f"Ask for it: model.think(problems, capture=[Site.parse('{site}')]).",
        )


@dataclass(frozen=True, repr=False)
class Latents(Shown):
    """Sparse SAE activations: `values[i, j]` belongs to feature `indices[i, j]`."""

    values: Float[Tensor, "n k"]
    """the activations, 0 where fewer than k features fire"""
    indices: Int[Tensor, "n k"]
    """the features"""
    d_sae: int
    """size of the dictionary"""

    def dense(self) -> Float[Tensor, "n d_sae"]:
        """The same latents with a column for every feature."""
        # Indices of a row are distinct, so scattering writes each value once. [n, k] -> [n, d_sae]
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
    answer_margin: float | None = None
    """logit of the clean arm's answer token minus the best other one, the smallest over its tokens; None where not
    measured"""


@dataclass(frozen=True)
class Arm:
    """One condition over all problems."""

    accuracy: float
    """share of right answers"""
    n_correct: int
    """right answers"""


@dataclass(frozen=True)
class OperationRow:
    """The effect on the problems whose written steps use one operation."""

    operation: Operation
    """which operation"""
    n: int
    """problems that use it"""
    accuracy: Estimate
    """change of accuracy on them; exact sign flips on these problems, corrected over the operations (Holm)"""
    n_broken: int
    """right before, wrong after"""
    n_fixed: int
    """wrong before, right after"""
    contrast: Estimate | None = None
    """change of accuracy on them minus that on the problems without, number of steps by number of steps; a permutation
    of clusters, corrected over the operations (Holm). None where no number of steps has both kinds"""

    estimate = Alias[float]("accuracy.value")
    low = Alias[float]("accuracy.low")
    high = Alias[float]("accuracy.high")
    p_value = Alias[float | None]("accuracy.p_value")
    p_adjusted = Alias[float | None]("accuracy.p_adjusted")

    columns = ("operation", "n", "estimate", "low", "high", "n_broken", "n_fixed", "p_value", "p_adjusted", "contrast")


@dataclass(frozen=True)
class StepsRow:
    """The effect on the problems of one number of written steps."""

    n_steps: int
    """how many"""
    n: int
    """problems that have so many"""
    accuracy: Estimate
    """change of accuracy on them; exact sign flips on these problems, corrected over the numbers of steps (Holm)"""
    n_broken: int
    """right before, wrong after"""
    n_fixed: int
    """wrong before, right after"""
    contrast: Estimate | None = None
    """change of accuracy on them minus that on all other problems; a permutation of clusters, corrected over the
    numbers of steps (Holm). None where there are no others"""

    estimate = Alias[float]("accuracy.value")
    low = Alias[float]("accuracy.low")
    high = Alias[float]("accuracy.high")
    p_value = Alias[float | None]("accuracy.p_value")
    p_adjusted = Alias[float | None]("accuracy.p_adjusted")

    columns = ("n_steps", "n", "estimate", "low", "high", "n_broken", "n_fixed", "p_value", "p_adjusted", "contrast")


@dataclass(frozen=True)
class Experiment:
    """What was done, in full; enough to do it again."""

    kind: str
    """ablate, amplify, swap, or the name of the user's own edit"""
    features: tuple[int, ...]
    """the features that the edit names; empty where it names none"""
    site: Site
    """where; the first place where there are several"""
    mode: str | None
    """what an ablation replaces a feature with: zero, mean, resample, set"""
    factor: float | None
    """what an amplification multiplies with"""
    splice: Splice
    """how the edited latents go back into the residual"""
    propagate: Propagate
    """by which paths the edit may reach the answer"""
    model: str
    """name of the model"""
    sae: str
    """name of the SAE, or of several; `none` without any"""
    data: str
    """name of the problems"""
    n_problems: int
    """how many"""
    seed: int
    """of everything random"""
    label: str = ""
    """the edit in words"""
    sites: tuple[Site, ...] = ()
    """all sites that the edit changes, in the order in which the model reaches them; `site` is the first"""
    later: Later = "free"
    """what the later positions of the edited layer do, in every arm: `free`; `mean`: held at their means over the
    problems, so that they say nothing, in the baseline as well; `clean`: held at their clean values"""


@dataclass(frozen=True)
class Environment:
    """What a result depends on besides its experiment."""

    codi_int: str
    """version of this package"""
    torch: str
    """version of torch"""
    model_sha256: str
    """of the weights"""
    sae_sha256: str
    """of the SAE's weights; several joined by commas in the order of the sites, empty without any"""
    data_sha256: str
    """of the problems, in order"""
    threads: int
    """of torch"""
    device: str
    """where the model ran"""
    dtype: str
    """of the model"""
    seconds: float
    """wall time of this run"""


@dataclass(frozen=True)
class RunCounts:
    """How much work a run did, and how much it could prove unnecessary."""

    pairs: int
    """(edit, problem) pairs that were asked for, controls and reconstruction included"""
    skipped: int
    """pairs whose edit changes nothing: equal to an arm that is known"""
    suffix_rows: int
    """pairs that ran from the edited site onwards"""
    decoded: int
    """of those, rows whose answer differs from the clean one and was written out"""
    rerun: int
    """of those, rows too close to call and run again in one canonical shape"""


@dataclass(frozen=True, repr=False)
class Result(Finding):
    """One finished experiment."""

    experiment: Experiment
    """what was done"""
    arms: Mapping[str, Arm]
    """clean, reconstructed, intervened"""
    effect: Effect
    """intervened against clean"""
    controls: Mapping[str, ControlSet]
    """name of the control, such as random_features, to what it did"""
    by_operation: tuple[OperationRow, ...]
    """the effect by operation of the written steps"""
    environment: Environment
    """versions, hashes, time"""
    counts: RunCounts
    """work done and saved"""
    outcomes: Mapping[str, tuple[Outcome, ...]]
    """arm to outcomes, in the order of the problems"""
    notes: tuple[str, ...] = ()
    """what a reader should know besides: warnings, in words"""
    by_steps: tuple[StepsRow, ...] = ()
    """the effect by number of written steps; empty where problems have none"""
    side_effects: SideEffects | None = None
    """what the edit did besides to the answers: how odd the residual is that it leaves, and how it changes the next
    thought; None where it touches nothing"""

    schema = "codi-int/result@2"

    def to_dict(self) -> dict[str, Any]:
        """The result without the outcomes of single problems, as plain JSON types."""
        # outcomes are one row per problem and go to a table of their own (outcomes.parquet)
        whole = {f: getattr(self, f) for f in self.__dataclass_fields__ if f != "outcomes"}
        return {"schema": self.schema, **flatten(whole)}

    def to_json(self, indent: int | None = None) -> str:
        """`to_dict` as one JSON document; never NaN or Infinity."""
        # allow_nan=False raises: NaN and Infinity are no JSON, and other readers refuse the whole document
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)
