"""From outcomes in two arms to an `Effect`: the statistics, without a model."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.continuous import logprob_effect
from codi_int.interventions.evidence.paired import (
    Equivalence,
    Interval,
    PairedCounts,
    count_flips,
    equivalence,
    mcnemar_exact,
    minimum_detectable,
    score_interval,
)
from codi_int.interventions.evidence.verdicts import untouched_verdict, verdict_of
from codi_int.types import Effect, LogprobEffect

METHOD = "mcnemar-exact"


def compare_paired(
    clean: ArrayLike,
    intervened: ArrayLike,
    seed: int = 0,
    *,
    confidence: float | int = 0.95,
    touched: ArrayLike | None = None,
    answer_changed: ArrayLike | None = None,
    logprob_change: ArrayLike | None = None,
    logprob_test: str = "permutation",
) -> Effect:
    """Compare two arms problem by problem. An edit that touched none of them is not tested: it has no p-value.

    Args:
        clean: whether each problem was right in the first arm. [n]
        intervened: whether it was right in the second arm. [n]
        seed: of the permutation test and the bootstrap.
        confidence: level of all intervals; tests use 1 - confidence.
        touched: whether the edit changed anything at all, where known. [n]
        answer_changed: whether another answer was given, right or wrong, where known. [n]
        logprob_change: change of the clean answer's log-probability in nats, where known. [n]
        logprob_test: `permutation` or `wilcoxon`.

    Raises:
        ConfigError: for arrays of different lengths, empty ones, or values that are not true or false.
    """
    if not 0.0 < confidence < 1.0:
        raise ConfigError(f"A confidence level lies between 0 and 1, got {confidence}.", "Use 0.95 or similar.")
    before, after = as_booleans(clean, "clean"), as_booleans(intervened, "intervened")
    _same_length(before.size, clean=before.size, intervened=after.size)
    # one alpha for test, interval and power, so that the three do not contradict each other
    confidence, counts, alpha = float(confidence), count_flips(before, after), 1.0 - confidence
    interval = score_interval(counts, confidence)
    logprob = _logprob(logprob_change, before.size, confidence, seed, logprob_test)
    n_touched = _count(touched, "touched", counts.n)
    n_answer_changed = _count(answer_changed, "answer_changed", counts.n)
    if n_touched == 0:
        return replace(_untouched(counts, interval, logprob), n_answer_changed=n_answer_changed)
    p_value, smallest = mcnemar_exact(counts), minimum_detectable(counts, alpha)
    return Effect(
        estimate=counts.estimate,
        low=interval.low,
        high=interval.high,
        confidence=confidence,
        p_value=p_value,
        method=METHOD,
        n=counts.n,
        n_touched=n_touched,
        n_broken=counts.broken,
        n_fixed=counts.fixed,
        n_answer_changed=n_answer_changed,
        logprob=logprob,
        minimum_detectable=smallest,
        verdict=verdict_of(counts, interval, p_value, smallest, logprob),
    )


def untested(n: int, confidence: float, verdict: str) -> Effect:
    """The effect of an edit that touched no problem: nothing happened, so nothing is tested."""
    # p-values None and not 1: what was not tested does not count in a family (see `adjust`)
    nothing = LogprobEffect(0.0, 0.0, 0.0, None, "nothing changed")
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
    )


def _untouched(counts: PairedCounts, interval: Interval, logprob: LogprobEffect | None) -> Effect:
    """`untested`, with what differs all the same."""
    effect = replace(
        untested(counts.n, interval.confidence, untouched_verdict(counts)),
        logprob=None if logprob is None else replace(logprob, p_value=None),
    )
    if not counts.discordant:
        return effect
    # not the edit's doing (with splice="replace" it is the reconstruction's): shown, not tested
    return replace(
        effect,
        estimate=counts.estimate,
        low=interval.low,
        high=interval.high,
        n_broken=counts.broken,
        n_fixed=counts.fixed,
    )


def compare_equivalence(
    clean: ArrayLike, intervened: ArrayLike, bound: float | int, alpha: float = 0.05
) -> Equivalence:
    """Test "no change of accuracy larger than `bound`" on two boolean arrays; the only way to claim no effect.

    Raises:
        ConfigError: as in `compare_paired`, or for a bound outside (0, 1).
    """
    before, after = as_booleans(clean, "clean"), as_booleans(intervened, "intervened")
    _same_length(before.size, clean=before.size, intervened=after.size)
    return equivalence(count_flips(before, after), float(bound), alpha)


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


def _count(flags: ArrayLike | None, name: str, n: int) -> int | None:
    # not known is not zero
    if flags is None:
        return None
    array = as_booleans(flags, name)
    _same_length(n, clean=n, **{name: array.size})
    return int(array.sum())


def _logprob(change: ArrayLike | None, n: int, confidence: float, seed: int, test: str) -> LogprobEffect | None:
    if change is None:
        return None
    # float64: sums of many float32 nats of one sign would lose the digits that tell two arms apart
    values = np.asarray(change, dtype=np.float64)
    _same_length(n, clean=n, logprob_change=values.size)
    return logprob_effect(values, confidence, seed, test)
