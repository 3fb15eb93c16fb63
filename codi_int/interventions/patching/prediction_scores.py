"""Predicted answers counted: tested against the clean model, and against control edits, problem by problem."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codi_int.data.answers import is_right
from codi_int.interventions.evidence.betting import estimate_bounded
from codi_int.interventions.evidence.clusters import Clusters, read_clusters
from codi_int.interventions.evidence.flips import sign_flip_test
from codi_int.interventions.evidence.shares import least_sure, share_interval
from codi_int.interventions.evidence.verdicts import p_words
from codi_int.interventions.patching.predicted import (
    ALPHA,
    BECAME,
    HIT_RATE,
    PredictionControls,
    PredictionTest,
    needed_problems,
)
from codi_int.interventions.patching.predictions import Prediction, Predictions
from codi_int.records import Estimate
from codi_int.types import Number, Outcome


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
    marked = _mark(predictions.rows, clean, intervened, clusters)
    rows, n_tested, n_hits = predictions.rows, int(marked.tested.sum()), int(marked.hits.sum())
    intervals = {
        name: share_interval([kind == name for kind in marked.became], marked.labels, confidence)
        for name in (_names(rows) if n_tested else ())
    }
    own = intervals.get(BECAME[0])
    # a source's own answer may be the predicted one; copying it would look like computing with its value
    distinct = _mark_distinct(rows) & marked.tested
    patched = any(row.source_id is not None for row in rows)
    matched_controls = _score_controls(
        rows,
        np.array([row.informative for row in rows], dtype=bool),
        controls,
        control_kind,
        n_hits / n_tested if n_tested else None,
    )
    if matched_controls is not None:
        matched_controls = replace(matched_controls, difference=_beyond_controls(marked, rows, controls, confidence))
    needed = needed_problems(hit_rate)
    p_value = max((sign_flip_test(one.sums(marked.changes)) for one in marked.groups), default=None)
    return PredictionTest(
        claim=predictions.claim,
        n=len(rows),
        n_predicted=sum(row.answer is not None for row in rows),
        not_predicted=predictions.not_predicted,
        n_informative=sum(row.informative for row in rows),
        n_tested=n_tested,
        n_ambiguous=sum(row.ambiguous for row, use in zip(rows, marked.tested, strict=True) if use),
        n_hits=n_hits,
        hit_rate=n_hits / n_tested if n_tested else None,
        low=None if own is None else own.low,
        high=None if own is None else own.high,
        confidence=confidence,
        n_hits_clean=int(marked.before.sum()),
        p_value=p_value,
        method=marked.groups[0].named("exact sign flips") if marked.groups else "exact sign flips",
        n_needed=needed,
        assumed_hit_rate=hit_rate,
        became={name: marked.became.count(name) for name in _names(rows)},
        became_intervals=intervals,
        n_gained=int((marked.changes > 0).sum()),
        n_lost=int((marked.changes < 0).sum()),
        n_distinct=int(distinct.sum()) if patched else None,
        n_hits_distinct=int((marked.hits & distinct).sum()) if patched else None,
        controls=matched_controls,
        verdict=_word_verdict(
            n=n_tested,
            hits=n_hits,
            clean=int(marked.before.sum()),
            p_value=p_value,
            high=None if own is None else own.high,
            needed=needed,
            matched_controls=matched_controls,
            assumed=hit_rate,
        ),
    )


@dataclass(frozen=True)
class _Marked:
    """Which problems of a run are tested, and which of them answer as predicted."""

    tested: NDArray[np.bool_]
    """informative, and touched by the edit. [n]"""
    hits: NDArray[np.bool_]
    """tested, and with the predicted answer after the edit. [n]"""
    before: NDArray[np.bool_]
    """the same without the edit. [n]"""
    changes: NDArray[np.float64]
    """of the tested: 1 where the predicted answer came, -1 where it went. [tested]"""
    labels: NDArray[np.int64] | None
    """clusters of the tested; None where each is its own. [tested, 1 or 2]"""
    groups: list[Clusters]
    """the same, for each kind of cluster"""
    became: list[str]
    """what the answer of each tested problem became"""


def _mark(
    rows: Sequence[Prediction],
    clean: Sequence[Outcome],
    intervened: Sequence[Outcome],
    clusters: NDArray[np.int64] | None,
) -> _Marked:
    informative = np.array([row.informative for row in rows], dtype=bool)
    # Untouched problems cannot answer the question, and prediction = truth would count every right answer as a hit.
    tested = informative & _mark_touched(intervened)
    hits, before = _mark_hits(rows, intervened) & tested, _mark_hits(rows, clean) & tested
    n_tested = int(tested.sum())
    labels = None if clusters is None else clusters.reshape(len(rows), -1)[tested]
    return _Marked(
        tested=tested,
        hits=hits,
        before=before,
        # Paired by problem: "gives the predicted answer" before against after. A hit of the clean model is agreement
        # by chance, and only what flips between the two counts.
        changes=hits[tested].astype(np.float64) - before[tested],
        labels=labels,
        groups=_read_each(labels, n_tested) if n_tested else [],
        became=_classify(rows, clean, intervened, tested),
    )


def _beyond_controls(
    marked: _Marked, rows: Sequence[Prediction], controls: Sequence[Sequence[Outcome]], confidence: float
) -> Estimate | None:
    """Share of predicted answers minus that under the controls, problem by problem; None without an interval."""
    # the mean of a single cluster has no spread, and no interval
    n_tested = int(marked.tested.sum())
    if not marked.groups or any(one.sizes.size == 1 and n_tested > 1 for one in marked.groups):
        return None
    others = np.stack([_mark_hits(rows, outcomes)[marked.tested] for outcomes in controls]).astype(np.float64)
    beyond = marked.hits[marked.tested].astype(np.float64) - others.mean(0)
    # a share of controls is between 0 and 1, so the difference lies in [-1, 1]
    return least_sure([estimate_bounded(beyond, 1.0, one.codes, confidence=confidence) for one in marked.groups])


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
