"""Do effects add up? What is done together, minus the sum of what its parts do alone, problem by problem."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codi_int.interventions.evidence.betting import estimate_bounded, estimate_bounded_many
from codi_int.interventions.evidence.clusters import read_clusters
from codi_int.interventions.evidence.family import NO_FLIPS, Flips
from codi_int.interventions.evidence.flips import is_testable, sign_flip_test
from codi_int.interventions.evidence.mean import estimate_mean
from codi_int.interventions.screens.changes import ArmChange, measure_change
from codi_int.interventions.screens.confirmed import (
    CONFIRMATION_COLUMNS,
    Confirmation,
    FlatConfirmation,
    Selection,
)
from codi_int.interventions.screens.judging import Again, Measured, Measures, judge, measure_arms
from codi_int.interventions.screens.sides import Sides
from codi_int.records import EFFECT_COLUMNS, EVIDENCE_COLUMNS, Alias, ArmEffect, Conclusion, Estimate, FlatEffect
from codi_int.types import Site

MOST = 2
"""the largest departure of accuracy on one problem: of a right answer all arms can only lose, of a wrong one only gain,
so the joint change and the sum of two parts differ by 2 at most"""


@dataclass(frozen=True)
class Interaction:
    """The part of a joint effect that is no sum of its parts, as a mean over problems."""

    departure: Estimate
    """joint - (sum of the parts), paired by problem; no p-value where the parts add up on every problem, and p-values
    corrected over the family that was tried"""
    n_departing: int
    """problems on which the parts do not add up"""
    p_equivalence: float | None = None
    """of accuracy: that the mean departure stays below the bound; None where nothing was tested"""
    p_equivalence_adjusted: float | None = None
    """the same, corrected over everything that was looked at; None where there is no family"""

    estimate = Alias[float]("departure.value")
    low = Alias[float]("departure.low")
    high = Alias[float]("departure.high")
    p_value = Alias[float | None]("departure.p_value")
    p_adjusted = Alias[float | None]("departure.p_adjusted")

    columns = (
        *("estimate", "low", "high", "p_value", "p_adjusted", "n_departing"),
        *("p_equivalence", "p_equivalence_adjusted"),
    )

    @classmethod
    def of(cls, effect: ArmEffect, departure: ArmChange, kind: str) -> "Interaction":
        """The departure of accuracy or of the log-probability, from the same as an effect of its own."""
        if kind == "logprob":
            return cls(effect.logprob, int((departure.logprob != 0).sum()))
        return cls(effect.accuracy, int((departure.accuracy != 0).sum()), effect.p_equivalence)

    def judged(self, effect: ArmEffect) -> "Interaction":
        """The departure of accuracy with what a family made of it."""
        return replace(self, departure=effect.accuracy, p_equivalence_adjusted=effect.p_equivalence_adjusted)


def departure_of(joint: ArmChange, parts: Sequence[ArmChange]) -> ArmChange:
    """Joint - (sum of the parts), problem by problem: what a test of adding up is about."""
    # [parts, n] -> [n], paired by problem: what problems have in common cancels before anything is tested
    accuracy = joint.accuracy - np.sum([part.accuracy for part in parts], axis=0)
    logprob = joint.logprob - np.sum([part.logprob for part in parts], axis=0)
    # only where several parts change something can they fail to add up
    several = np.sum([part.touched for part in parts], axis=0) > 1
    return ArmChange(accuracy, logprob, touched=several, answer=accuracy != 0, clusters=joint.clusters)


def measure_interaction(
    departure: NDArray[np.float64],
    kind: str = "logprob",
    clusters: NDArray[np.int64] | None = None,
    seed: int = 0,
    most: int = MOST,
) -> Interaction:
    """Test whether a joint effect is the sum of its parts.

    Args:
        departure: joint change - (sum of the parts' changes), one per problem. [n]
        kind: `logprob`: bootstrap-t, where enough problems carry the mean; `accuracy`: exact sign flips of cluster
            sums, and a betting interval, for a departure is a whole number of no more than `most`.
        clusters: label of each problem's cluster.
        seed: of the bootstrap.
        most: the largest departure of accuracy on one problem.
    """
    # exact zeros: where an arm touches nothing its change is 0.0 by construction (see `logprob_changes`)
    departing = int((departure != 0).sum())
    if kind == "accuracy":
        found = estimate_departure(departure, clusters, most)
        return Interaction(found if departing else replace(found, p_value=None), departing)
    mean = estimate_mean(departure, clusters, seed=seed)
    return Interaction(Estimate(mean.value, mean.low, mean.high, mean.p_value, method=mean.method), departing)


def estimate_departure(
    departure: NDArray[np.float64], clusters: NDArray[np.int64] | None = None, most: int = MOST
) -> Estimate:
    """Mean departure of accuracy: exact test by sign flips of cluster sums, betting interval."""
    groups = read_clusters(clusters, departure.size)
    bounded = estimate_bounded(departure, float(most), clusters=clusters)
    return replace(bounded, p_value=sign_flip_test(groups.sums(departure)), method=groups.named("exact sign flips"))


def departure_equivalence(
    departures: Sequence[NDArray[np.float64]], bound: float, clusters: NDArray[np.int64] | None = None, most: int = MOST
) -> list[float]:
    """That mean departures of accuracy stay within +-`bound`: the larger of two one-sided p-values of the betting test.

    Flips have an exact test of equivalence; a departure may also be 2, and has the test that needs no more than bounds.
    It takes more problems: see `fewest_for_additivity`.

    Args:
        departures: [n] each, on the same problems.
        bound: the smallest departure that matters.
        clusters: label of each problem's cluster.
        most: the largest departure on one problem.
    """
    if not departures:
        return []
    values = np.stack(departures, axis=1)
    below, above = (estimate_bounded_many(values, float(most), clusters, null=edge) for edge in (-bound, bound))
    # The two-sided p doubles the better side's, which is the inner one wherever the mean lies between the two edges.
    return [
        max(a.p_value or 0.0, b.p_value or 0.0) / 2 if abs(a.value) < bound else 1.0
        for a, b in zip(below, above, strict=True)
    ]


@cache
def fewest_for_additivity(bound: float, alpha: float = 0.05, most: int = MOST) -> int:
    """The fewest problems, each of a cluster of its own, that can show it, where the parts add up on every one."""

    def shown(n: int) -> bool:
        return departure_equivalence([np.zeros(n)], bound, most=most)[0] < alpha

    high = 2
    while not shown(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high


def measure_departures(changes: Sequence[ArmChange], seed: int, bound: float) -> list[ArmEffect]:
    """Departures as effects of their own, so that families and confirmation treat them as any other."""
    clusters = changes[0].clusters if changes else None
    equivalences = departure_equivalence([change.accuracy for change in changes], bound, clusters)
    out = []
    for change, p_equivalence in zip(changes, equivalences, strict=True):
        accuracy = measure_interaction(change.accuracy, "accuracy", change.clusters)
        logprob = measure_interaction(change.logprob, "logprob", change.clusters, seed)
        n_touched = int(change.touched.sum())
        out.append(
            ArmEffect(
                accuracy=_where_possible(accuracy, n_touched),
                logprob=logprob.departure,
                n_touched=n_touched,
                n_broken=int((change.accuracy < 0).sum()),
                n_fixed=int((change.accuracy > 0).sum()),
                n_answer_changed=int((change.logprob != 0).sum()),
                bound=bound,
                p_equivalence=p_equivalence if n_touched else None,
                testable=is_testable(change.touched, change.groups),
            )
        )
    return out


def _where_possible(found: Interaction, n_touched: int) -> Estimate:
    if not n_touched:
        # exact, as of an edit that touches nothing: no problem on which they could fail to add up
        return Estimate(0.0, 0.0, 0.0)
    # parts that could have failed to add up and did not anywhere: tested, without a departure
    return replace(found.departure, p_value=1.0) if not found.n_departing else found.departure


DEPARTURES = Measures(measure_departures, estimate_departure)


@dataclass(frozen=True)
class PairRow(FlatEffect, FlatConfirmation):
    """What ablating two features together did, beside what each of them did alone."""

    site: Site
    """where"""
    a: int
    """one feature"""
    b: int
    """the other one"""
    n_both: int
    """problems on which both fire; elsewhere the joint effect is that of the one that does"""
    effect: ArmEffect
    """of ablating both; it touches the problems on which at least one of them fires"""
    estimate_a: float
    """change of accuracy with only the first one ablated"""
    estimate_b: float
    """change of accuracy with only the second one ablated"""
    logprob_a: float
    """mean change of the clean answer's log-probability with only the first one ablated, nats"""
    logprob_b: float
    """the same with only the second one ablated"""
    interaction: Interaction
    """of accuracy"""
    interaction_logprob: Interaction
    """of the log-probability"""
    additivity: Conclusion | None = None
    """whether accuracy departs from the sum of the parts: `changed`, `equivalent` (the mean departure is within the
    bound), `untested` (both fire on too few problems) or `unresolved`"""
    selected: bool = False
    """whether the departure is a finding of accuracy among all pairs"""
    selected_logprob: bool = False
    """the same for the log-probability"""
    confirmation: Confirmation | None = None
    """the departure of what was selected, on problems that did not select it"""
    flips: Flips = NO_FLIPS
    """rows of the problems on which the parts do not add up in accuracy"""
    testable_departure: bool | None = None
    """whether both fire on enough clusters for a departure ever to be significant; what is not is no member of the
    family"""
    folds: tuple[ArmEffect, ...] = ()
    """the departure on either fold, where two folds confirm each other"""

    columns = (
        "site",
        "a",
        "b",
        "n_both",
        # of ablating both; what is corrected over the pairs is the departure
        *(name for name in EFFECT_COLUMNS if not name.endswith("_adjusted")),
        "estimate_a",
        "estimate_b",
        "logprob_a",
        "logprob_b",
        "interaction",
        "interaction_logprob",
        *EVIDENCE_COLUMNS,
        "testable_departure",
        "additivity",
        *CONFIRMATION_COLUMNS,
        "flips",
        "folds",
    )


def pair_row(
    pair: tuple[int, int], site: Site, joint: ArmChange, parts: Sequence[ArmChange], sides: Sides, seed: int = 0
) -> PairRow:
    """The row of one pair; what follows from the family is known once all pairs are.

    Args:
        pair: both features.
        site: where.
        joint: change with both ablated.
        parts: change with the first one ablated, and with the second one ablated.
        sides: who selects and who confirms.
        seed: of the resampling.
    """
    # in the order of `pair`
    first, second = parts
    departure = departure_of(joint, parts)
    (measured,) = measure_arms({pair: departure}, sides, seed, DEPARTURES).values()
    return PairRow(
        site=site,
        a=pair[0],
        b=pair[1],
        n_both=int((first.touched & second.touched).sum()),
        effect=measure_change(joint, seed, bound=sides.plan.bound),
        estimate_a=first.counts.estimate,
        estimate_b=second.counts.estimate,
        logprob_a=float(first.logprob.mean()),
        logprob_b=float(second.logprob.mean()),
        interaction=Interaction.of(measured.effect, departure, "accuracy"),
        interaction_logprob=Interaction.of(measured.effect, departure, "logprob"),
        flips=measured.flips,
        testable_departure=measured.effect.testable,
        folds=measured.folds,
    )


def judge_pairs(
    rows: Sequence[PairRow], sides: Sides, again: Callable[[Sequence[Any]], Again], seed: int = 0
) -> tuple[tuple[PairRow, ...], Selection]:
    """The rows with everything that follows from the family of departures, and what was selected and confirmed."""
    measured = [Measured((row.a, row.b), _as_effect(row, sides), row.flips, row.folds) for row in rows]
    judged = judge(measured, sides, again, seed, DEPARTURES)
    columns = (judged.effects, judged.selected, judged.selected_logprob, judged.confirmations)
    found = tuple(
        replace(
            row,
            interaction=row.interaction.judged(effect),
            interaction_logprob=replace(row.interaction_logprob, departure=effect.logprob),
            additivity=effect.conclusion,
            selected=a,
            selected_logprob=b,
            confirmation=confirmation,
        )
        for row, effect, a, b, confirmation in zip(rows, *columns, strict=True)
    )
    return found, judged.selection


def _as_effect(row: PairRow, sides: Sides) -> ArmEffect:
    """A pair's departure as an effect, as `measure_departures` makes it."""
    return ArmEffect(
        accuracy=row.interaction.departure,
        logprob=row.interaction_logprob.departure,
        n_touched=row.n_both,
        n_broken=len(set(row.flips.broken)),
        n_fixed=len(set(row.flips.fixed)),
        n_answer_changed=row.interaction_logprob.n_departing,
        bound=sides.plan.bound,
        p_equivalence=row.interaction.p_equivalence,
        testable=row.testable_departure,
    )
