"""Records of specialization: what a rule calls each feature, by what evidence, and what it looked at."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from codi_int.errors import ConfigError
from codi_int.records import flatten
from codi_int.shown import Shown
from codi_int.types import Site

if TYPE_CHECKING:
    import pandas as pd

Rule = Literal["published", "published-ties-counted", "tested"]
RULES: tuple[Rule, ...] = get_args(Rule)
FeatureType = Literal[
    "general", "operation-specialized", "value-specialized", "highly-specialized", "length-specialized", "untested"
]
SCHEMA = "codi-int/specialization@1"


@dataclass(frozen=True)
class RulePlan:
    """Settings of the tested rule, declared beforehand."""

    least_firing: int = 5
    """chains on which a feature has to fire to be tested"""
    least_present: int = 10
    """chains that have to have a property, and that have to lack it"""
    alpha: float = 0.05
    """of the false discovery rate that selects, and of Holm's procedure that confirms"""
    margin: float = 0.2
    """a confirmed property is called strong where its share given firing is at least so far above its base rate"""

    def __post_init__(self) -> None:
        if self.least_firing < 1 or self.least_present < 1:
            raise ConfigError("Chains are counted from 1.", "Give least_firing and least_present of at least 1.")
        if not 0.0 < self.alpha < 1.0 or not 0.0 <= self.margin < 1.0:
            raise ConfigError(
                f"alpha {self.alpha} and margin {self.margin} are shares.", "Give alpha 0.05 and margin 0.2."
            )


@dataclass(frozen=True)
class Share:
    """How often a property holds where a feature fires, on some problems. Units are chains."""

    n: int
    """chains"""
    n_firing: int
    """chains on which the feature fires"""
    n_present: int
    """chains that have the property"""
    n_both: int
    """chains with both"""
    share: float
    """n_both / n_firing"""
    base_rate: float
    """n_present / n"""
    difference: float
    """share minus base rate"""
    low: float | None
    """lower end of the difference's 95% interval (Newcombe); None where it fires nowhere or everywhere"""
    high: float | None
    """upper end"""
    p_value: float | None
    """selecting: exact, against the base rate; confirming: exact, given the number of steps. One-sided"""
    p_adjusted: float | None
    """selecting: false discovery rate over all features and properties; confirming: Holm over what was selected"""


@dataclass(frozen=True)
class PropertyEvidence:
    """A property that was selected for a feature, and what became of it."""

    kind: str
    """operation, operation of step, pattern, value, n_steps"""
    name: str
    """which of that kind"""
    selected: Share
    """on the problems that selected it"""
    confirmation: Share
    """on those that did not"""
    confirmed: bool
    """adjusted p below the level there, and the same direction"""
    strong: bool
    """confirmed, and there at least `margin` above the base rate"""
    fresh: Share | None = None
    """on the confirming chains that no selecting problem has; None where all are such"""
    fold: int | None = None
    """the fold that selected, where two folds confirm each other"""


@dataclass(frozen=True)
class SpecializationRow:
    """What a rule calls one feature."""

    rank: int
    """by firing rate"""
    feature: int
    """its index"""
    firing_rate: float
    """share of problems on which it fires"""
    n_firing: int
    """how many these are"""
    n_active: int
    """of them, what the rule looked at: at most 100 problems by the published rule, chains by the tested one"""
    type: FeatureType
    """general, operation-, value-, highly- (both) or length-specialized; untested where it fires on too few chains"""
    label: str
    """by what; `mixed patterns` for a general feature"""
    properties: tuple[PropertyEvidence, ...] = ()
    """tested rule: everything that was selected for it, the strongest first; the first confirmed one is the label"""

    @property
    def specialized(self) -> bool:
        """Whether it is a specialist of anything."""
        return self.type not in ("general", "untested")

    @property
    def confirmed(self) -> tuple[PropertyEvidence, ...]:
        """What was confirmed of it."""
        return tuple(one for one in self.properties if one.confirmed)

    @property
    def strong(self) -> bool:
        """Whether a confirmed property is there far more often than overall."""
        return any(one.strong for one in self.properties)


@dataclass(frozen=True, repr=False)
class Specialization(Shown):
    """What one rule makes of all alive features."""

    rule: Rule
    """published, published-ties-counted or tested"""
    site: Site | None
    """where the SAE reads"""
    model: str
    """name of the model"""
    sae: str
    """name of the SAE"""
    data: str
    """name of the problems"""
    n_problems: int
    """how many"""
    n_chains: int
    """how many different calculations these are"""
    rows: tuple[SpecializationRow, ...]
    """one per alive feature, the most frequent first"""
    plan: RulePlan | None = None
    """settings of the tested rule"""
    n_tested: int | None = None
    """pairs of feature and property at this site (of both folds together)"""
    n_family: int | None = None
    """pairs of the family, of all sites that were tested together"""
    n_sites: int = 1
    """sites that were tested together"""
    n_properties: int | None = None
    """properties that could be tested"""
    n_selected: int | None = None
    """pairs that were selected"""
    n_confirmed: int | None = None
    """pairs that were confirmed"""
    confirmed_on: str | None = None
    """name of the problems that confirm; `folds` where two halves confirm each other"""
    n_confirming: int | None = None
    """how many these are"""
    notes: tuple[str, ...] = ()
    """what a reader should know besides"""

    schema = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": self.schema, **flatten(self)}

    def to_frame(self) -> "pd.DataFrame":
        """One row per alive feature, without the properties, as pandas' data frame."""
        import pandas as pd

        names = ("rank", "feature", "firing_rate", "n_firing", "n_active", "type", "label", "strong")
        return pd.DataFrame([{name: getattr(row, name) for name in names} for row in self.rows], columns=list(names))
