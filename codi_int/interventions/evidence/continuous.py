"""Continuous paired data: the change of the clean answer's log-probability."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codi_int.errors import ConfigError
from codi_int.types import LogprobEffect

RESAMPLES = 9999
_CHUNK_ELEMENTS = 2_000_000
_ARMS_AT_ONCE = 16
_MOST_ENUMERATED = 13
"""values whose signs `scipy.stats.wilcoxon` enumerates where some are tied"""


def logprob_effect(
    change: NDArray[np.float64],
    confidence: float = 0.95,
    seed: int = 0,
    method: str = "permutation",
    resamples: int = RESAMPLES,
    interval: tuple[float, float] | None = None,
) -> LogprobEffect:
    """Mean change over problems with its test and bootstrap interval.

    Problems whose log-probability did not change count in the mean and the interval; they say nothing in either test,
    because the sign of zero cannot flip.

    Args:
        change: intervened minus clean, one per problem, nats.
        confidence: level of the interval.
        seed: of the resampling.
        method: `permutation` (signs flipped, tests the mean) or `wilcoxon` (signed ranks, quick; for
            screens of many features).
        resamples: draws of the permutation test and of the bootstrap.
        interval: that of `bootstrap_means` for these changes, where it was made for many arms at once (`wilcoxon`).

    Raises:
        ConfigError: for an unknown method or values that are not finite.
    """
    if method not in ("permutation", "wilcoxon"):
        raise ConfigError(f"Unknown test {method!r} for log-probabilities.", "Use permutation or wilcoxon.")
    # NaN would run through mean and test without a word, and the p-value would be NaN
    if not np.isfinite(change).all():
        raise ConfigError(
            "A log-probability change is not finite: the edited activations have overflowed.",
            "Make the edit weaker, such as a smaller factor.",
        )
    # A zero is its own mirror image: dropping it changes no sign-flip p-value, and the signed-rank test drops it anyway
    # (Wilcoxon's own rule, scipy's default).
    moved = change[change != 0.0]
    if moved.size == 0:
        return LogprobEffect(0.0, 0.0, 0.0, None, "nothing changed")
    # One generator for both, the test first: the order of the draws is part of what a seed means.
    generator = np.random.default_rng(seed)
    if method == "permutation":
        p_value = _sign_flip(moved, generator, resamples)
        low, high = _bootstrap_mean(change, confidence, generator, resamples)
    else:
        p_value = _wilcoxon(moved)
        ((low, high),) = [interval] if interval else bootstrap_means(change[None], confidence, seed, resamples)
    name = "sign-flip permutation test" if method == "permutation" else "Wilcoxon signed-rank test"
    return LogprobEffect(float(change.mean()), low, high, p_value, f"{name}, percentile bootstrap interval")


def bootstrap_means(
    changes: NDArray[np.float64], confidence: float = 0.95, seed: int = 0, resamples: int = RESAMPLES
) -> list[tuple[float, float]]:
    """Percentile bootstrap intervals of the means of many arms over the same problems, [arms, n].

    All arms are resampled with the same draws, those that scipy's bootstrap makes from the seed: how often each problem
    was drawn is one matrix, and a product with it gives every mean at once.
    """
    counts = _resample_counts(changes.shape[1], seed, resamples)
    shares = 100 * np.array([(1 - confidence) / 2, 1 - (1 - confidence) / 2])
    out: list[tuple[float, float]] = []
    for start in range(0, len(changes), _ARMS_AT_ONCE):
        # always as many arms, if only of zeros: the last bits of a product depend on its shape
        block = np.zeros((_ARMS_AT_ONCE, changes.shape[1]))
        some = changes[start : start + _ARMS_AT_ONCE]
        block[: len(some)] = some
        means = block @ counts.T / changes.shape[1]  # [arms, resamples]
        low, high = np.percentile(means[: len(some)], shares, axis=1)
        out += zip(low.tolist(), high.tolist(), strict=True)
    return out


@lru_cache(maxsize=2)
def _resample_counts(n: int, seed: int, resamples: int) -> NDArray[np.float64]:
    """How often each of n problems is drawn in each resample, [resamples, n]."""
    generator, counts = np.random.default_rng(seed), np.empty((resamples, n))
    # in stretches, so that the draws themselves never fill the memory; the stream is the same
    batch = max(1, _CHUNK_ELEMENTS // n)
    for start in range(0, resamples, batch):
        drawn = generator.integers(0, n, (min(batch, resamples - start), n))
        for row, problems in enumerate(drawn, start):
            counts[row] = np.bincount(problems, minlength=n)
    counts.setflags(write=False)
    return counts


def _sign_flip(moved: NDArray[np.float64], generator: np.random.Generator, resamples: int) -> float:
    """Two-sided p-value for a mean of zero; scipy flips signs at random when it is given a single sample."""
    from scipy.stats import permutation_test

    if moved.size == 1:  # either sign is as extreme as the other; scipy refuses a sample of one
        return 1.0
    # All 2^n sign patterns where these are no more than `resamples`, a sample of them otherwise; scipy then counts the
    # observed pattern as one of the draws, so that no p-value is 0 (Phipson and Smyth 2010).
    test = permutation_test(
        (moved,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        # draws held at once, [batch, n]
        batch=max(1, _CHUNK_ELEMENTS // moved.size),
        rng=generator,
    )
    return float(test.pvalue)


def _wilcoxon(moved: NDArray[np.float64]) -> float:
    """Two-sided p-value of the signed-rank test.

    For up to 13 values with ties scipy itself enumerates the signs, but calls Python once for each of them; the same
    test over whole arrays gives the same p-value many times faster.
    """
    from scipy.stats import permutation_test, rankdata, wilcoxon

    sizes = np.abs(moved)
    # Without ties scipy takes the exact table or the normal approximation, and both are quick.
    if not 2 <= moved.size <= _MOST_ENUMERATED or np.unique(sizes).size == moved.size:
        return float(wilcoxon(moved).pvalue)
    # The statistic is the sum of signed ranks. At most 2^13 = 8,192 sign patterns, fewer than RESAMPLES, so all of them
    # are taken and none is drawn: no generator is needed.
    ranks = (np.sign(moved) * rankdata(sizes),)
    test = permutation_test(ranks, np.sum, permutation_type="samples", vectorized=True, n_resamples=RESAMPLES)
    return float(test.pvalue)


def _bootstrap_mean(
    change: NDArray[np.float64], confidence: float, generator: np.random.Generator, resamples: int
) -> tuple[float, float]:
    """Percentile bootstrap of the mean; a single problem has no spread to resample and gives its own value."""
    from scipy.stats import bootstrap

    if change.size == 1:
        return float(change[0]), float(change[0])
    # Whole problems are drawn, unchanged ones too: how many of them an edit leaves alone is chance as well. [batch, n]
    batch = max(1, _CHUNK_ELEMENTS // change.size)
    sample = bootstrap(
        (change,),
        np.mean,
        confidence_level=confidence,
        n_resamples=resamples,
        batch=batch,
        method="percentile",
        rng=generator,
    )
    return float(sample.confidence_interval.low), float(sample.confidence_interval.high)
