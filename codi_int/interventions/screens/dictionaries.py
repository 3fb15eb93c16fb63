"""Records of several dictionaries at one site: their seeds side by side, and those in which nothing can be found."""

from dataclasses import dataclass
from typing import Any

from codi_int.records import Alias, Estimate, flatten
from codi_int.shown import Finding
from codi_int.types import Environment, Site


@dataclass(frozen=True)
class DictionaryNote:
    """One dictionary."""

    name: str
    """what the page calls it: `own`, `seed 1`, `frozen`, ..."""
    kind: str
    """`own`, `seed`, `frozen`, `random` or `given`"""
    seed: int | None
    """of its training"""
    sae: str
    """name of the SAE"""
    sae_sha256: str
    """of its weights"""
    n_features: int
    """how many it has"""
    n_living: int
    """how many fire on any of the problems"""
    explained_variance: Estimate
    """of the activations at the site, about their mean dimension by dimension, on the problems"""


@dataclass(frozen=True)
class SeedRow:
    """A feature and its partner in a dictionary of another seed; effects are on the problems that select."""

    feature: int
    """of the own dictionary"""
    dictionary: str
    """the other one"""
    partner: int
    """feature of that one"""
    cosine: float
    """of the two decoder rows"""
    overlap: float
    """problems on which both fire, as a share of those on which either does"""
    matched: bool
    """whether both are large enough to call it the same feature"""
    n_touched: int
    """problems on which the own feature fires"""
    n_touched_partner: int
    """the same of the partner"""
    accuracy: float
    """change of accuracy without the own feature"""
    accuracy_partner: float
    """without the partner"""
    probability: float
    """change of the clean answer's probability without the own feature"""
    probability_partner: float
    """without the partner"""


@dataclass(frozen=True)
class AgreementRow:
    """How far the effects of features agree with those of their partners in one other dictionary."""

    dictionary: str
    """the other one"""
    pairs: str
    """`all`: every feature that fires, with its partner; `matched`: those that count as the same feature"""
    measure: str
    """of what the effects are changes: `probability` of the clean answer, or `accuracy`"""
    n: int
    """pairs"""
    concordance: Estimate
    """Lin's coefficient of the two lists of effects: 1 where they are equal; what sampling noise takes from it is put
    back, so that it may exceed 1 a little"""
    rank_correlation: Estimate
    """Spearman's"""
    chance: Estimate | None
    """concordance where partners are chosen by firing rate alone, the mean over draws; None for `matched`"""
    beyond_chance: Estimate | None
    """concordance minus chance; None for `matched`"""


@dataclass(frozen=True)
class FoundRow:
    """A found feature beside its partner in one other dictionary, on problems that selected nothing."""

    feature: int
    """of the own dictionary"""
    dictionary: str
    """the other one"""
    partner: int | None
    """feature of that one; None where it has none left"""
    cosine: float
    """of the two decoder rows"""
    overlap: float
    """of their firing"""
    matched: bool
    """whether it counts as the same feature"""
    own: Estimate
    """change of accuracy without the own feature"""
    other: Estimate | None
    """without the partner; p-values corrected over all found features and dictionaries (Holm)"""
    difference: Estimate | None
    """own minus partner, problem by problem"""
    there: bool
    """whether the partner has the effect: adjusted p below the level, and the same sign"""
    n: int
    """problems"""
    n_broken: int
    """right before, wrong without the partner"""
    n_fixed: int
    """wrong before, right without it"""

    estimate = Alias[float]("own.value")
    low = Alias[float]("own.low")
    high = Alias[float]("own.high")
    estimate_partner = Alias[float | None]("other.value")
    low_partner = Alias[float | None]("other.low")
    high_partner = Alias[float | None]("other.high")
    p_partner = Alias[float | None]("other.p_value")
    p_adjusted_partner = Alias[float | None]("other.p_adjusted")
    difference_estimate = Alias[float | None]("difference.value")
    difference_low = Alias[float | None]("difference.low")
    difference_high = Alias[float | None]("difference.high")
    difference_p = Alias[float | None]("difference.p_value")

    columns = (
        *("feature", "dictionary", "partner", "cosine", "overlap", "matched"),
        *("estimate", "low", "high"),
        *("estimate_partner", "low_partner", "high_partner", "p_partner", "p_adjusted_partner"),
        *("difference_estimate", "difference_low", "difference_high", "difference_p"),
        *("there", "n", "n_broken", "n_fixed"),
    )


@dataclass(frozen=True, repr=False)
class SeedComparison(Finding):
    """Dictionaries of other seeds beside a screened one."""

    site: Site
    """where"""
    model: str
    """name of the model"""
    data: str
    """name of the problems"""
    n_problems: int
    """how many"""
    seed: int
    """of resampling and of matchings by chance"""
    own: DictionaryNote
    """the dictionary that was screened"""
    others: tuple[DictionaryNote, ...]
    """those of other seeds"""
    rows: tuple[SeedRow, ...]
    """every feature that fires beside its partner in each"""
    agreements: tuple[AgreementRow, ...]
    """of the effects"""
    found: tuple[FoundRow, ...]
    """the features that the screen selected by accuracy, beside their partners"""
    found_on: str
    """name of the problems of `found`; of two folds the one that selected nothing of the feature"""
    environment: Environment
    """versions, hashes, time"""
    notes: tuple[str, ...] = ()
    """what a reader should know besides"""

    schema = "codi-int/seeds@1"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": self.schema, **flatten(self)}


@dataclass(frozen=True)
class AgainstRow:
    """One dictionary as a whole: how many of its features there are, are found, and how large their effects are."""

    name: str
    """what the page calls it"""
    kind: str
    """`own`, `frozen`, `random`, `seed` or `given`"""
    sae: str
    """name of the SAE"""
    sae_sha256: str
    """of its weights"""
    explained_variance: Estimate
    """of the activations at the site, on the problems"""
    n_features: int
    """how many it has"""
    n_living: int
    """how many fire on any of the problems"""
    n_tested: int
    """how many touch enough problems to be tested"""
    n_selected: int
    """findings of accuracy among them, corrected over this dictionary's family"""
    n_confirmed: int | None
    """of them confirmed on problems that selected nothing; None where nothing was to be"""
    n_confirmed_logprob: int | None
    """findings of the log-probability that were confirmed"""
    edit_size: float
    """median norm, over features that fire, of what an ablation adds to a residual"""
    median: Estimate
    """median over features that fire of the size of their effect on the clean answer's probability"""
    upper: Estimate
    """the 90th percentile of the same"""
    largest: float
    """the largest of the same, as measured: the largest of many is large by chance too"""


@dataclass(frozen=True)
class StrongestRow:
    """The strongest features of two dictionaries, rank by rank, on problems that did not rank them."""

    dictionary: str
    """the one that the own dictionary is compared with"""
    n_strongest: int
    """so many of each, those that change accuracy most on the problems that rank (ties: the clean answer's
    probability)"""
    own: Estimate
    """mean change of accuracy by ablating one of them, of the own dictionary"""
    other: Estimate
    """the same of the other"""
    difference: Estimate
    """own minus other, problem by problem; below 0 where the own dictionary's do more harm"""
    n: int
    """problems"""


@dataclass(frozen=True, repr=False)
class DictionaryComparison(Finding):
    """A screened dictionary beside others, such as those in which nothing can be found."""

    site: Site
    """where"""
    model: str
    """name of the model"""
    data: str
    """name of the problems"""
    n_problems: int
    """how many"""
    seed: int
    """of resampling"""
    rows: tuple[AgainstRow, ...]
    """the own dictionary first"""
    strongest: tuple[StrongestRow, ...]
    """its strongest features against those of each other one"""
    ranked_on: str
    """name of the problems that rank"""
    measured_on: str
    """name of the problems on which `strongest` is measured"""
    environment: Environment
    """versions, hashes, time"""
    notes: tuple[str, ...] = ()
    """what a reader should know besides"""

    schema = "codi-int/against@1"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": self.schema, **flatten(self)}
