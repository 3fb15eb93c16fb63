"""Does the model give the predicted answers? What is known of it, and how many problems it takes to tell."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.paired import power
from codi_int.interventions.evidence.shares import ShareInterval
from codi_int.interventions.patching.predictions import Prediction
from codi_int.records import Estimate
from codi_int.types import Result

HIT_RATE, CHANCE, POWER, ALPHA = 0.10, 0.01, 0.80, 0.05
"""what the needed number of problems is worked out for: a share of predicted answers of 10% where 1% come by chance,
found with 80% power at p < 0.05"""

BECAME = ("predicted", "as before", "the source's", "another", "none")
"""what an answer can have become, in order: the first that fits counts"""


@dataclass(frozen=True)
class PredictionControls:
    """How often control edits gave the very answers that were predicted for the real one."""

    kind: str
    """what they are"""
    hit_rates: tuple[float, ...]
    """share of predicted answers of each control, over the informative problems that it touched"""
    n_without: int
    """controls that touched no informative problem and have no share"""
    n_as_well: int
    """controls whose share is at least the edit's"""
    p_value: float | None
    """share of controls, the edit itself counted among them, that did at least as well; None without controls. A rank,
    not a test"""
    difference: Estimate | None = None
    """share of predicted answers of the edit minus that of the controls' mean, paired by problem; betting interval"""


@dataclass(frozen=True)
class PredictionTest:
    """Predicted answers against those that came."""

    claim: str
    """what was predicted, in words"""
    n: int
    """problems of the run"""
    n_predicted: int
    """problems with a prediction"""
    not_predicted: Mapping[str, int]
    """reason -> problems without one"""
    n_informative: int
    """problems whose prediction differs from the true answer"""
    n_tested: int
    """of those, problems that the edit touched: what everything below counts"""
    n_ambiguous: int
    """of those, problems in which an operand could have been the result of either of two earlier steps"""
    n_hits: int
    """the edited model gave exactly the predicted answer"""
    hit_rate: float | None
    """n_hits / n_tested; None where nothing could be tested"""
    low: float | None
    """lower end of its interval (Wilson, by cluster of everybody in a pair)"""
    high: float | None
    """upper end"""
    confidence: float
    """level of the interval"""
    n_hits_clean: int
    """the clean model gave that answer already: agreement by chance"""
    p_value: float | None
    """exact sign flips of n_hits against n_hits_clean, by cluster of the problem and, for a patch, of its source: the
    larger of the two"""
    method: str
    """the test"""
    n_needed: int
    """problems that would have to be tested to find `assumed_hit_rate` with 80% power"""
    assumed_hit_rate: float
    """the share of predicted answers that n_needed is worked out for"""
    became: Mapping[str, int]
    """what the tested problems' answers became: predicted, as before, the source's own, another, none"""
    n_distinct: int | None
    """for a patch: tested problems whose prediction is not the source's own answer, so that copying it is no hit"""
    n_hits_distinct: int | None
    """hits among them"""
    controls: PredictionControls | None
    """control edits, where there were any"""
    verdict: str
    """the finding in words"""
    became_intervals: Mapping[str, ShareInterval] = field(default_factory=dict)
    """of the shares of `became`"""
    n_gained: int = 0
    """tested problems with the predicted answer after the edit and not before"""
    n_lost: int = 0
    """tested problems with it before and not after"""


@dataclass(frozen=True, repr=False)
class PredictedResult(Result):
    """A result whose experiment said beforehand what should happen."""

    prediction: PredictionTest | None = None
    """whether it did; None where nothing that could be seen was predicted"""
    predictions: tuple[Prediction, ...] = ()
    """what was predicted, problem by problem"""

    def to_dict(self) -> dict[str, Any]:
        """As of any result, with the test; without the predictions of single problems."""
        whole = super().to_dict()
        del whole["predictions"]
        return whole


@cache
def needed_problems(hit_rate: float = HIT_RATE, chance: float = CHANCE, target: float = POWER) -> int:
    """How many informative problems the exact test needs to find a share of predicted answers.

    The smallest number from which on the power stays at `target` or above (an exact test's power is a saw-tooth).

    Args:
        hit_rate: share of problems on which the edited model gives the predicted answer.
        chance: share on which the clean model gives it.
        target: power, at p < 0.05.

    Raises:
        ConfigError: where the rates leave nothing to find.
    """
    if not 0.0 <= chance < hit_rate <= 1.0:
        raise ConfigError(
            f"A hit rate lies above chance ({chance}) and is at most 1, got {hit_rate}.",
            "Give a rate above chance, up to 1.",
        )

    # Power at exactly n: a hit by the edit and a hit by chance are taken to be independent, so loss is chance * (1 -
    # hit) and gain is hit * (1 - chance).
    def found(n: int) -> bool:
        return power(n, chance * (1 - hit_rate), hit_rate * (1 - chance), ALPHA) >= target

    # With every discordant pair the critical value may jump, so power falls back now and then while it climbs. Eight
    # numbers in a row above the target, found by doubling, then down to the first of the stretch.
    n = 8
    while not all(found(m) for m in range(n, n + 8)):
        n *= 2
    while n > 1 and found(n - 1):
        n -= 1
    return n


def check_power(n: int, what: str, hit_rate: float = HIT_RATE) -> None:
    """ConfigError where `n` informative problems are too few to answer the question at all."""
    needed = needed_problems(hit_rate)
    if n < needed:
        raise ConfigError(
            f"{n:,} {what}; to find a share of {hit_rate:.0%} predicted answers with {POWER:.0%} power it takes "
            f"{needed:,}.",
            "Take more problems (--data, a larger --limit), or run it anyway with --underpowered.",
        )
