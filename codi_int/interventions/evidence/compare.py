"""From outcomes in two arms to an `Effect`: the statistics, without a model."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.clusters import ClusterLabels, read_clusters
from codi_int.interventions.evidence.conclusions import Findings, conclude, detectable_change
from codi_int.interventions.evidence.equivalence import BOUND, check_bound, equivalence_exact
from codi_int.interventions.evidence.families import critical_level
from codi_int.interventions.evidence.measure import CONFIDENCE, ArmChange, measure_change
from codi_int.interventions.evidence.paired import Equivalence, PairedCounts, count_flips
from codi_int.interventions.evidence.symmetry import check_symmetry
from codi_int.interventions.evidence.verdicts import Tested, untouched_verdict, verdict_of
from codi_int.records import Estimate
from codi_int.types import ControlSet, Effect, MeanEffect

DRAWS = 9_999
"""of the bootstrap of a single comparison; families, whose p-values are corrected, draw more"""


def compare_paired(
    clean: ArrayLike,
    intervened: ArrayLike,
    seed: int = 0,
    *,
    confidence: float | int = CONFIDENCE,
    touched: ArrayLike | None = None,
    answer_changed: ArrayLike | None = None,
    logprob_change: ArrayLike | None = None,
    clusters: ClusterLabels | None = None,
    bound: float | int = BOUND,
) -> Effect:
    """Compare two arms problem by problem. An edit that touched none of them is not tested: it has no p-value.

    Args:
        clean: whether each problem was right in the first arm. [n]
        intervened: whether it was right in the second arm. [n]
        seed: of the bootstrap.
        confidence: level of all intervals; tests use 1 - confidence.
        touched: whether the edit changed anything at all, where known. [n]
        answer_changed: whether another answer was given, right or wrong, where known. [n]
        logprob_change: change of the clean answer's log-probability in nats, where known. [n]
        clusters: label of each problem's cluster, such as `cluster_problems` gives; without them every problem is its
            own. [n]
        bound: the smallest change of accuracy that matters, declared beforehand: 0.005 is half a point.

    Raises:
        ConfigError: for arrays of different lengths, empty ones, values that are not true or false, or a bound outside
            (0, 0.5].
    """
    if not 0.0 < confidence < 1.0:
        raise ConfigError(f"A confidence level lies between 0 and 1, got {confidence}.", "Use 0.95 or similar.")
    before, after = as_booleans(clean, "clean"), as_booleans(intervened, "intervened")
    n = before.size
    _same_length(n, clean=n, intervened=after.size)
    flags, answers = _flags(touched, "touched", n), _flags(answer_changed, "answer_changed", n)
    change = ArmChange(
        accuracy=after.astype(np.float64) - before,
        logprob=np.zeros(n) if logprob_change is None else _numbers(logprob_change, n),
        # not known is not untouched
        touched=np.ones(n, dtype=np.bool_) if flags is None else flags,
        answer=after != before if answers is None else answers,
        clusters=None if clusters is None else read_clusters(clusters, n).codes,
    )
    effect = effect_of(change, seed, bound=bound, confidence=float(confidence))
    if logprob_change is None:
        effect = replace(effect, logprob=None, n_effective=None, share_of_largest=None, symmetry=None)
    if flags is None:
        effect = replace(effect, n_touched=None, largest_possible=None, largest_in_population=None)
    # said anew, for a verdict speaks of what is known
    known = replace(effect, n_answer_changed=None if answers is None else effect.n_answer_changed)
    return conclude_effect(known, Tested(known.p_value, known.p_equivalence))


def effect_of(
    change: ArmChange,
    seed: int = 0,
    *,
    bound: float | int = BOUND,
    confidence: float = CONFIDENCE,
    condition: str = "",
) -> Effect:
    """One arm against the clean one as a public effect, with its conclusion, were it the only one that is tried."""
    check_bound(bound)
    found = measure_change(change, seed, bound=bound, confidence=confidence, draws=DRAWS)
    effect = Effect(
        estimate=found.accuracy.value,
        low=_known(found.accuracy.low),
        high=_known(found.accuracy.high),
        confidence=confidence,
        p_value=found.accuracy.p_value,
        method=found.accuracy.method if found.n_touched else "not tested",
        n=change.accuracy.size,
        n_touched=found.n_touched,
        n_broken=found.n_broken,
        n_fixed=found.n_fixed,
        n_answer_changed=found.n_answer_changed,
        logprob=_mean_effect(found.logprob),
        minimum_detectable=None,
        verdict="",
        bound=found.bound,
        p_equivalence=found.p_equivalence,
        largest_possible=found.largest_possible,
        largest_in_population=found.largest_in_population,
        probability=None if found.probability is None else _mean_effect(found.probability),
        margin=None if found.margin is None else _mean_effect(found.margin),
        n_effective=found.n_effective,
        share_of_largest=found.share_of_largest,
        n_clusters=change.groups.sizes.size,
        design_effect=change.groups.design_effect,
        testable=found.testable,
        symmetry=check_symmetry(change.logprob, change.groups.codes, seed) if found.n_touched else None,
        condition=condition,
    )
    if not found.n_touched:
        return replace(effect, verdict=untouched_verdict(change.counts), conclusion="untested")
    return conclude_effect(effect, Tested(effect.p_value, effect.p_equivalence))


def conclude_effect(effect: Effect, tested: Tested) -> Effect:
    """The effect with its conclusion, with what would have been found, and with the verdict in words.

    Args:
        effect: of an edit that touches some problem; others stay as they are.
        tested: its p-values, corrected where it is one of several edits that were tried.
    """
    if effect.p_value is None:
        return effect
    alpha = 1.0 - effect.confidence
    found = conclude(Findings(tested.p_change, tested.p_equivalence, testable=effect.testable is not False), alpha)
    smallest = detectable_change(
        _deflate(PairedCounts(effect.n, effect.n_broken, effect.n_fixed), effect.design_effect or 1.0),
        1.0 if effect.largest_possible is None else effect.largest_possible,
        critical_level("holm", tested.n_tests, alpha),
    )
    whole = replace(effect, conclusion=found.conclusion, minimum_detectable=smallest)
    return replace(whole, verdict=verdict_of(whole, tested))


def beside_controls(effect: Effect, controls: Mapping[str, ControlSet]) -> Effect:
    """A change says whether it exceeds what its controls do: a model that is nearly always right loses by anything."""
    # the matched features where there are some, for they are what the edit is most like
    group = controls.get("random_features") or next(iter(controls.values()), None)
    if effect.conclusion != "changed" or group is None or group.difference is None:
        return effect
    found = group.difference
    if found.low is None or found.high is None or found.p_value is None:
        return effect
    numbers = (
        f"{100 * found.value:+.2f} points beyond their mean, {effect.confidence:.0%} interval {100 * found.low:+.2f} "
        f"to {100 * found.high:+.2f}"
    )
    of = f"{group.draws:,} control{'s' * (group.draws != 1)}"
    # beyond the controls in the effect's own direction
    exceeds = found.low > 0.0 if effect.estimate > 0 else found.high < 0.0
    words = f"exceeds that of its {of}" if exceeds else f"is not shown to exceed that of its {of}"
    return replace(effect, verdict=f"{effect.verdict} The change {words} ({numbers}).")


def _deflate(counts: PairedCounts, design_effect: float) -> PairedCounts:
    """The counts of as many independent problems as these are worth at worst, rounded towards knowing less."""
    n = math.floor(counts.n / design_effect)
    broken, fixed = (min(math.ceil(count / design_effect), n // 2) for count in (counts.broken, counts.fixed))
    return counts if design_effect == 1.0 else PairedCounts(n, broken, fixed)


def untested(n: int, confidence: float, verdict: str, largest_in_population: float | None = None) -> Effect:
    """The effect of an edit that touched no problem: nothing happened, so nothing is tested."""
    # p-values None and not 1: what was not tested does not count in a family (see `adjust`)
    nothing = MeanEffect(0.0, 0.0, 0.0, None, "nothing changed")
    return Effect(
        estimate=0.0,
        low=0.0,
        high=0.0,
        confidence=confidence,
        p_value=None,
        method="not tested",
        n=n,
        n_touched=0,
        n_broken=0,
        n_fixed=0,
        n_answer_changed=0,
        logprob=nothing,
        minimum_detectable=None,
        verdict=verdict,
        conclusion="untested",
        largest_possible=0.0,
        largest_in_population=largest_in_population,
        probability=nothing,
        margin=nothing,
        n_effective=0.0,
        share_of_largest=0.0,
    )


def compare_equivalence(
    clean: ArrayLike, intervened: ArrayLike, bound: float | int, alpha: float = 0.05
) -> Equivalence:
    """Test "no change of accuracy larger than `bound`" on two boolean arrays; the only way to claim no effect.

    Raises:
        ConfigError: as in `compare_paired`, or for a bound outside (0, 0.5].
    """
    before, after = as_booleans(clean, "clean"), as_booleans(intervened, "intervened")
    _same_length(before.size, clean=before.size, intervened=after.size)
    return equivalence_exact(count_flips(before, after), float(bound), alpha)


def as_booleans(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    """`values` as a one-dimensional boolean array; 0 and 1 will do."""
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise ConfigError(
            f"{name} must be a list of at least one true or false, got shape {array.shape}.",
            "Pass one value per problem: correct (1) or not (0).",
        )
    # NaN and probabilities would become True in astype without a word
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        raise ConfigError(f"{name} holds values other than true and false.", "Pass correct (1) or not (0) per problem.")
    return array.astype(np.bool_)


def _same_length(n: int, **sizes: int) -> None:
    if any(size != n for size in sizes.values()):
        got = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise ConfigError(f"Both arms need the same problems: {got}.", "Pass one value per problem, in one order.")


def _flags(flags: ArrayLike | None, name: str, n: int) -> NDArray[np.bool_] | None:
    if flags is None:
        return None
    array = as_booleans(flags, name)
    _same_length(n, clean=n, **{name: array.size})
    return array


def _numbers(change: ArrayLike, n: int) -> NDArray[np.float64]:
    # float64: sums of many float32 nats of one sign would lose the digits that tell two arms apart
    values = np.asarray(change, dtype=np.float64)
    _same_length(n, clean=n, logprob_change=values.size)
    return values


def _mean_effect(found: Estimate) -> MeanEffect:
    return MeanEffect(found.value, found.low, found.high, found.p_value, found.method)


def _known(limit: float | None) -> float:
    assert limit is not None, "accuracy always has an interval"
    return limit
