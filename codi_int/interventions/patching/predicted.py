"""Does the model give the predicted answers? Counted, tested against the clean model and against control edits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codi_int.data.answers import is_right
from codi_int.errors import ConfigError
from codi_int.interventions.evidence.betting import estimate_bounded
from codi_int.interventions.evidence.clusters import Clusters, read_clusters
from codi_int.interventions.evidence.flips import sign_flip_test
from codi_int.interventions.evidence.paired import power
from codi_int.interventions.evidence.shares import ShareInterval, least_sure, share_interval
from codi_int.interventions.evidence.verdicts import p_words
from codi_int.interventions.patching.predictions import Prediction, Predictions
from codi_int.records import Estimate
from codi_int.types import Number, Outcome, Result

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


def score_prediction(
    predictions: Predictions,
    clean: Sequence[Outcome],
    intervened: Sequence[Outcome],
    controls: Sequence[Sequence[Outcome]] = (),
    control_kind: str = "controls",
    hit_rate: float = HIT_RATE,
    confidence: float = 0.95,
    clusters: NDArray[np.int64] | None = None,
) -> PredictionTest:
    """Count and test the predicted answers.

    Args:
        predictions: one for each problem.
        clean: outcomes without the edit, in the same order.
        intervened: outcomes with it.
        controls: outcomes of each control edit.
        control_kind: what the controls are.
        hit_rate: the share for which the needed number of problems is worked out.
        confidence: of the interval.
        clusters: label of each problem's cluster, [n], or of its own and its source's, [n, 2]; tests and intervals work
            on clusters.
    """
    # masks over the problems of the run, [n] each
    rows, informative = predictions.rows, np.array([row.informative for row in predictions.rows], dtype=bool)
    # Untouched problems cannot answer the question, and prediction = truth would count every right answer as a hit.
    tested = informative & _mark_touched(intervened)
    hits, before = _mark_hits(rows, intervened) & tested, _mark_hits(rows, clean) & tested
    n_tested, n_hits = int(tested.sum()), int(hits.sum())
    # Paired by problem: "gives the predicted answer" before against after. A hit of the clean model is agreement by
    # chance, and only what flips between the two counts.
    changes = hits[tested].astype(np.float64) - before[tested]
    labels = None if clusters is None else clusters.reshape(len(rows), -1)[tested]
    groups = [] if not n_tested else _read_each(labels, n_tested)
    became, intervals = _classify(rows, clean, intervened, tested), dict[str, ShareInterval]()
    if n_tested:
        intervals = {
            name: share_interval([kind == name for kind in became], labels, confidence) for name in _names(rows)
        }
    own = intervals.get(BECAME[0])
    # a source's own answer may be the predicted one; copying it would look like computing with its value
    distinct = _mark_distinct(rows) & tested
    patched = any(row.source_id is not None for row in rows)
    matched_controls = _score_controls(
        rows, informative, controls, control_kind, n_hits / n_tested if n_tested else None
    )
    # the mean of a single cluster has no spread, and no interval
    if matched_controls is not None and groups and all(one.sizes.size > 1 or n_tested == 1 for one in groups):
        others = np.stack([_mark_hits(rows, outcomes)[tested] for outcomes in controls]).astype(np.float64)
        own_hits = hits[tested].astype(np.float64)
        # a share of controls is between 0 and 1, so the difference lies in [-1, 1]
        beside = least_sure(
            [estimate_bounded(own_hits - others.mean(0), 1.0, one.codes, confidence=confidence) for one in groups]
        )
        matched_controls = replace(matched_controls, difference=beside)
    needed = needed_problems(hit_rate)
    p_value = max((sign_flip_test(one.sums(changes)) for one in groups), default=None)
    return PredictionTest(
        claim=predictions.claim,
        n=len(rows),
        n_predicted=sum(row.answer is not None for row in rows),
        not_predicted=predictions.not_predicted,
        n_informative=int(informative.sum()),
        n_tested=n_tested,
        n_ambiguous=sum(row.ambiguous for row, use in zip(rows, tested, strict=True) if use),
        n_hits=n_hits,
        hit_rate=n_hits / n_tested if n_tested else None,
        low=None if own is None else own.low,
        high=None if own is None else own.high,
        confidence=confidence,
        n_hits_clean=int(before.sum()),
        p_value=p_value,
        method=groups[0].named("exact sign flips") if groups else "exact sign flips",
        n_needed=needed,
        assumed_hit_rate=hit_rate,
        became={name: became.count(name) for name in _names(rows)},
        became_intervals=intervals,
        n_gained=int((changes > 0).sum()),
        n_lost=int((changes < 0).sum()),
        n_distinct=int(distinct.sum()) if patched else None,
        n_hits_distinct=int((hits & distinct).sum()) if patched else None,
        controls=matched_controls,
        verdict=_word_verdict(
            n=n_tested,
            hits=n_hits,
            clean=int(before.sum()),
            p_value=p_value,
            high=None if own is None else own.high,
            needed=needed,
            matched_controls=matched_controls,
            assumed=hit_rate,
        ),
    )


def _read_each(labels: NDArray[np.int64] | None, n: int) -> list[Clusters]:
    """The clusters of what was tested, by every column of the labels; there may be a single one."""
    if labels is None:
        return [read_clusters(None, n)]
    everything = np.ones(n, dtype=np.bool_)
    return [Clusters(column, np.bincount(column)).within(everything) for column in labels.T]


def _mark_touched(outcomes: Sequence[Outcome]) -> NDArray[np.bool_]:
    return np.array([outcome.touched for outcome in outcomes], dtype=bool)


def _mark_hits(rows: Sequence[Prediction], outcomes: Sequence[Outcome]) -> NDArray[np.bool_]:
    """Which problems got the predicted answer."""
    pairs = zip(rows, outcomes, strict=True)
    return np.array([row.answer is not None and is_right(o.answer, row.answer) for row, o in pairs], dtype=bool)


def _mark_distinct(rows: Sequence[Prediction]) -> NDArray[np.bool_]:
    """Problems whose prediction is not what their source answers."""
    return np.array(
        [
            row.answer is not None and row.source_answer is not None and not is_right(row.answer, row.source_answer)
            for row in rows
        ],
        dtype=bool,
    )


def _score_controls(
    rows: Sequence[Prediction],
    informative: NDArray[np.bool_],
    controls: Sequence[Sequence[Outcome]],
    kind: str,
    own: float | None,
) -> PredictionControls | None:
    """Each control's share over the informative problems that it touched."""
    if not controls:
        return None
    # A control that touched no informative problem has no share: 0 of 0 is neither as good nor worse.
    rates, without = [], 0
    for outcomes in controls:
        # each control touches problems of its own, so each has a denominator of its own
        tested = informative & _mark_touched(outcomes)
        if not tested.any():
            without += 1
            continue
        rates.append(float(_mark_hits(rows, outcomes)[tested].mean()))
    as_well = sum(own is not None and rate >= own for rate in rates)
    # the edit counts as one of the draws, or p could be zero (Phipson & Smyth 2010)
    p_value = (1 + as_well) / (1 + len(rates)) if rates and own is not None else None
    return PredictionControls(kind, tuple(rates), without, as_well, p_value)


def _names(rows: Sequence[Prediction]) -> tuple[str, ...]:
    """What an answer can have become: there is no source's where nothing is patched."""
    patched = any(row.source_id is not None for row in rows)
    return tuple(name for name in BECAME if patched or name != "the source's")


def _classify(
    rows: Sequence[Prediction], clean: Sequence[Outcome], intervened: Sequence[Outcome], tested: NDArray[np.bool_]
) -> list[str]:
    """What each tested problem's answer became. [tested]"""
    return [
        _classify_answer(row, before.answer, after.answer)
        for row, before, after, use in zip(rows, clean, intervened, tested, strict=True)
        if use
    ]


def _classify_answer(row: Prediction, before: Number | None, after: Number | None) -> str:
    if after is None:
        return "none"
    # Order decides where two are the same number: a hit is a hit also where it is the source's answer (`n_distinct`
    # counts those apart).
    references = ((row.answer, "predicted"), (before, "as before"), (row.source_answer, "the source's"))
    return next((name for value, name in references if value is not None and is_right(after, value)), "another")


def _beside(controls: PredictionControls | None) -> str:
    """Whether the edit does more than its controls, problem by problem."""
    difference = None if controls is None else controls.difference
    if difference is None or difference.low is None or difference.high is None:
        return ""
    by = f"{100 * difference.value:+.1f} points ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"
    if difference.low > 0:
        return f" It exceeds its controls by {by}."
    return f" That it exceeds its controls is not shown: {by}."


def _word_verdict(
    n: int,
    hits: int,
    clean: int,
    p_value: float | None,
    high: float | None,
    needed: int,
    matched_controls: PredictionControls | None,
    assumed: float,
) -> str:
    """The finding in words; nothing is claimed below the needed number of problems."""
    # one state, three signs: no tested problem, hence no test and no interval
    if n == 0 or p_value is None or high is None:
        return "The edit touches no problem whose predicted answer differs from the true one: nothing can be said."
    counts = f"{hits} of {n:,} answers are the predicted ones, {clean} before ({p_words(p_value)})"
    if matched_controls is not None and matched_controls.p_value is not None:
        counts += (
            f"; {matched_controls.n_as_well or 'none'} of {len(matched_controls.hit_rates)} control edits did as well"
        )
    # the test is two-sided: significantly fewer hits than before is no success
    if p_value < ALPHA and hits > clean:
        return f"The prediction comes true on {hits / n:.0%} of the problems: {counts}.{_beside(matched_controls)}"
    # after the finding: a significant result stands whatever n is, but its absence means nothing below the needed
    # number
    if n < needed:
        return f"Too few problems to tell: {counts}; {needed:,} are needed to find a share of {assumed:.0%}."
    return f"That the prediction comes true beyond chance is not shown: {counts}. The interval ends at {high:.1%}."
