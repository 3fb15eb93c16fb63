"""How good an approximation attribution is: its prediction for every feature beside what ablation really did."""

from collections.abc import Sequence
from dataclasses import dataclass

from codi_int.errors import ConfigError
from codi_int.interventions.screens.attribution import Attribution
from codi_int.interventions.screens.screen import Screen
from codi_int.types import Site

TOP = (5, 10, 20, 50)
WORST = 5


@dataclass(frozen=True)
class Recall:
    """How many of the strongest features a prediction puts on top."""

    k: int
    """how many are looked at"""
    share: float
    """share of the k strongest by ablation that are among the k strongest by prediction"""
    by_chance: float
    """what a random order would reach on average: k over the number of features"""


@dataclass(frozen=True)
class Misjudged:
    """A feature whose prediction is far off."""

    feature: int
    """which"""
    predicted: float
    """predicted mean change of the clean answer's log-probability, nats"""
    measured: float
    """what ablating it really did, nats"""
    rank_predicted: int
    """its place by predicted size, 1 for the strongest"""
    rank_measured: int
    """its place by measured size"""


@dataclass(frozen=True)
class TrivialRanking:
    """How far one gets by how often features fire, without any gradient."""

    spearman: float | None
    """rank correlation of firing rate and measured size; None where one of them is the same for all"""
    kendall: float | None
    """Kendall's tau-b of the same"""
    recall: tuple[Recall, ...]
    """for each k that is smaller than the number of features"""


@dataclass(frozen=True)
class Agreement:
    """Attribution against an exact screen of the same features; sizes of effects, whatever their sign."""

    site: Site
    """where"""
    steps: int
    """1 for gradient times activation, more for integrated gradients"""
    n: int
    """features that are compared: those that fire"""
    spearman: float | None
    """rank correlation of predicted and measured size; None where one of them is the same for all"""
    kendall: float | None
    """Kendall's tau-b of the same"""
    same_sign: float
    """share of features whose predicted change goes the way of the measured one"""
    recall: tuple[Recall, ...]
    """for each k that is smaller than n"""
    worst: tuple[Misjudged, ...]
    """the features whose prediction misses by the most nats"""
    by_firing: TrivialRanking | None = None
    """the same features ordered by firing rate alone: what a prediction has to beat"""


def agreement(attribution: Attribution, screen: Screen, site: Site | None = None) -> Agreement:
    """Compare a prediction with a screen by zero ablation on the same problems.

    Args:
        attribution: predicted changes of the clean answer's log-probability.
        screen: exact changes.
        site: which of the screen's sites; may be left out where it has one.

    Raises:
        ConfigError: for a screen of another edit than ablation, a site it does not have, or fewer than two features
            that fire.
    """
    place = site or screen.site
    # Silent features are left out: prediction and measurement are 0 for them by construction, and thousands of agreeing
    # zeros would pass for a good approximation.
    rows = [row for row in screen.rows if row.site == place and row.n_touched]
    if screen.kind != "ablate":
        raise ConfigError(
            f"Attribution predicts ablation; this screen did {screen.kind}.", "Compare it with a screen that ablates."
        )
    if len(rows) < 2:
        raise ConfigError(
            f"Ranks need at least two features that fire; the screen has {len(rows)} at {place}.",
            "Screen more features, or more problems.",
        )
    # in one order from here on: position i of every list is the same feature
    features, measured = [row.feature for row in rows], [row.logprob for row in rows]
    predicted = attribution.effects[features].tolist()
    rates = [row.firing_rate for row in rows]
    return Agreement(
        site=place,
        steps=attribution.steps,
        n=len(rows),
        spearman=_correlate_ranks("spearmanr", predicted, measured),
        kendall=_correlate_ranks("kendalltau", predicted, measured),
        same_sign=sum((p < 0) == (m < 0) for p, m in zip(predicted, measured, strict=True)) / len(rows),
        recall=tuple(_measure_recall(predicted, measured, k) for k in TOP if k < len(rows)),
        worst=_find_worst(features, predicted, measured),
        by_firing=TrivialRanking(
            spearman=_correlate_ranks("spearmanr", rates, measured),
            kendall=_correlate_ranks("kendalltau", rates, measured),
            recall=tuple(_measure_recall(rates, measured, k) for k in TOP if k < len(rows)),
        ),
    )


def _correlate_ranks(name: str, predicted: Sequence[float], measured: Sequence[float]) -> float | None:
    from scipy import stats

    # magnitudes: a screen is ordered by strength, and `same_sign` speaks of directions apart
    sizes = [[abs(value) for value in values] for values in (predicted, measured)]
    # scipy would warn and return NaN, which JSON does not know
    if any(len(set(values)) == 1 for values in sizes):
        return None
    return float(getattr(stats, name)(*sizes).statistic)


def _order_by_size(values: Sequence[float]) -> list[int]:
    """Places from the largest magnitude to the smallest; equal ones in order."""
    return sorted(range(len(values)), key=lambda i: -abs(values[i]))


def _measure_recall(predicted: Sequence[float], measured: Sequence[float], k: int) -> Recall:
    # k of each list, so recall and precision are the same number
    hits = set(_order_by_size(predicted)[:k]) & set(_order_by_size(measured)[:k])
    return Recall(k, len(hits) / k, k / len(measured))


def _find_worst(
    features: Sequence[int], predicted: Sequence[float], measured: Sequence[float]
) -> tuple[Misjudged, ...]:
    ranks = [{place: rank for rank, place in enumerate(_order_by_size(values), 1)} for values in (predicted, measured)]
    places = sorted(range(len(features)), key=lambda i: -abs(predicted[i] - measured[i]))[:WORST]
    return tuple(
        Misjudged(features[i], predicted[i], measured[i], rank_predicted=ranks[0][i], rank_measured=ranks[1][i])
        for i in places
    )
