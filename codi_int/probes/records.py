"""What probes found, as records."""

from dataclasses import dataclass
from typing import Any

from codi_int.records import Alias, Estimate, flatten, table_row
from codi_int.shown import Finding
from codi_int.types import Environment, Site


class FlatScore:
    """Flat names of a row that holds a score, `found: Estimate`."""

    score = Alias[float]("found.value")
    low = Alias[float]("found.low")
    high = Alias[float]("found.high")


class FlatSelectivity(FlatScore):
    """The same, and of how far that exceeds the control task: `difference: Estimate`."""

    selectivity = Alias[float]("difference.value")
    selectivity_low = Alias[float]("difference.low")
    selectivity_high = Alias[float]("difference.high")


@dataclass(frozen=True)
class ProbeRow(FlatSelectivity):
    """What can be read at one site."""

    site: Site
    """where"""
    sae: str | None
    """whose latents are read; None for the activations themselves"""
    k: int | None
    """how many latents the probe may use; None for all there is"""
    n_dimensions: int
    """what it reads from"""
    found: Estimate
    """balanced accuracy, or R² of a number, on problems that the probe was not fitted to; by cluster"""
    control: float
    """mean score of the control task's draws"""
    difference: Estimate
    """score minus that of the control task: selectivity; paired, by cluster"""
    beyond: Estimate
    """score minus that of a probe on the bag of the question's words; paired, by cluster"""
    penalty: float
    """median over the folds"""

    over_words = Alias[float]("beyond.value")
    over_words_low = Alias[float]("beyond.low")
    over_words_high = Alias[float]("beyond.high")

    columns = (
        *("site", "sae", "k", "n_dimensions", "score", "low", "high", "control"),
        *("selectivity", "selectivity_low", "selectivity_high", "over_words", "over_words_low", "over_words_high"),
        "penalty",
    )


@dataclass(frozen=True)
class Baseline(FlatScore):
    """What a probe has to exceed to say anything of a site."""

    name: str
    """`majority`, `words of the question`, or `shuffled positions` of a layer"""
    found: Estimate
    """its score, by the same folds"""

    columns = ("name", "score", "low", "high")


@dataclass(frozen=True)
class ConfirmedProbe(FlatSelectivity):
    """The most selective probe on problems that selected nothing: fitted to all the others, tested on these."""

    site: Site
    """the site that came out most selective"""
    k: int | None
    """as in `ProbeRow`"""
    data: str
    """name of the problems"""
    n: int
    """how many have the target, and a calculation that is none of those that selected"""
    found: Estimate
    """its score there"""
    control: float
    """that of the control task, whose types keep their labels"""
    difference: Estimate
    """selectivity"""

    columns = (
        *("site", "k", "data", "n", "score", "low", "high", "control"),
        *("selectivity", "selectivity_low", "selectivity_high"),
    )


@dataclass(frozen=True)
class CausalCheck:
    """What removing the probe's directions does to answers, beside directions drawn with the residual's covariance."""

    site: Site
    """where"""
    data: str
    """name of the problems"""
    n: int
    """how many"""
    n_clusters: int
    """different calculations among them"""
    n_directions: int
    """dimensions of the subspace that is removed: those that the probe's outputs span"""
    draws: int
    """random subspaces of as many dimensions"""
    n_broken: int
    """right before, wrong without the directions"""
    n_fixed: int
    """wrong before, right without"""
    accuracy: Estimate
    """change of accuracy; exact sign flips, by cluster"""
    probability: Estimate
    """change of the clean answer's probability; betting interval, by cluster"""
    control_accuracy: float
    """mean change under the random subspaces"""
    control_probability: float
    """the same of the probability"""
    beyond_accuracy: Estimate
    """change of accuracy minus that under the random subspaces, problem by problem; betting interval on [-2, 2]"""
    beyond_probability: Estimate
    """the same of the probability"""
    rank_p: float
    """(1 + as strong) / (1 + draws) by the probability: a rank, for the draws are few"""
    norm: float
    """mean length of what is removed"""
    control_norm: float
    """the same under the random subspaces"""


@dataclass(frozen=True, repr=False)
class ProbeMap(Finding):
    """What linear probes read of one target, site by site."""

    model: str
    """name of the model"""
    data: str
    """name of the problems"""
    target: str
    """such as `result:2`"""
    kind: str
    """`classes` or `numbers`"""
    measure: str
    """`balanced accuracy` or `R²`"""
    method: str
    """`ridge` or `logistic`"""
    source: str
    """`residuals`, `thoughts` or `latents`"""
    classes: tuple[str, ...]
    """names of the classes; empty for numbers"""
    class_counts: tuple[int, ...]
    """problems of each"""
    n: int
    """problems that have the target"""
    n_problems: int
    """problems that were given"""
    n_clusters: int
    """different calculations among the former; none is in two folds"""
    folds: int
    """parts that are tested one after the other"""
    control_draws: int
    """labellings of the control task"""
    control_types: str
    """what has one random label in it"""
    in_question: float
    """share of problems whose question holds the target as a number"""
    seed: int
    """of everything random"""
    baselines: tuple[Baseline, ...]
    """what the scores are held against"""
    rows: tuple[ProbeRow, ...]
    """one for each site, or for each k of it"""
    confirmed: ConfirmedProbe | None
    """the most selective one on other problems; None where there are none"""
    causal: CausalCheck | None
    """what its directions do; None where that was not asked for"""
    environment: Environment
    """versions, hashes, time"""
    notes: tuple[str, ...] = ()
    """what a reader should know besides: warnings, in words"""

    schema = "codi-int/probe@1"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": self.schema, **flatten(self)}

    def table_rows(self) -> list[dict[str, Any]]:
        """A row for each site and k."""
        return [table_row(row) for row in self.rows]

    @property
    def best(self) -> ProbeRow:
        """The most selective row; of equal ones the earlier."""
        return max(self.rows, key=lambda row: row.selectivity)
