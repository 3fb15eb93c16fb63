"""Discrete procedures against their definitions by brute force and the worked example of R's DiscreteFDR."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binom, binomtest, false_discovery_control, hypergeom

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.discrete import first_critical_value, mcnemar_support, rejects_at
from codi_int.interventions.evidence.families import adjust

RESPONDERS = ([4, 2, 2, 14, 6, 9, 4, 0, 1], [0, 0, 1, 3, 2, 1, 2, 2, 2])
GROUPS = (148, 132)
PUBLISHED = [0.25630985, 1.0, 1.0, 0.03819796, 0.51482782, 0.03819796, 1.0, 0.47895996, 1.0]
"""adjusted p-values of the step-down in DiscreteFDR's vignette (G. Durand and F. Junge 2019)"""


def _fisher(x: int, y: int) -> tuple[float, np.ndarray]:
    """Two-sided p-value of Fisher's test and all that the table's margins allow."""
    table = hypergeom(sum(GROUPS), GROUPS[0], x + y)
    chances = table.pmf(np.arange(x + y + 1))
    p_values = np.array([chances[chances <= c * (1 + 1e-7)].sum() for c in chances]).clip(max=1.0)
    return float(p_values[x]), p_values


def _toy() -> tuple[list[float], list[np.ndarray]]:
    both = [_fisher(x, y) for x, y in zip(*RESPONDERS, strict=True)]
    return [p for p, _ in both], [support for _, support in both]


def test_step_down_gives_the_published_example() -> None:
    p_values, supports = _toy()
    assert adjust(p_values, "discrete-bh-step-down", supports=supports) == pytest.approx(PUBLISHED, abs=1e-8)
    assert min(false_discovery_control(p_values)) > 0.05


def _null(support: Sequence[float], t: float) -> float:
    return max((s for s in support if s <= t * (1 + 1e-9)), default=0.0)


def _step_up_by_definition(p_values: list[float], supports: list[np.ndarray], level: float) -> list[bool]:
    """Equations (7) and (8) of Doehler, Durand and Roquain, threshold by threshold."""
    m, slack = len(p_values), 1 + 1e-9
    values = sorted({s for support in supports for s in support if s < 1})
    odds = {t: sum(_null(s, t) / (1 - _null(s, t)) for s in supports) for t in values}
    tops = [t for t in values if odds[t] <= level * m * slack]
    if not tops:
        return [False] * m
    top = max(tops)
    rest = [1 - _null(s, top) for s in supports]
    ordered, found = sorted(p_values), 0
    for k in range(1, m + 1):
        sums = {t: sum(_null(s, t) / r for s, r in zip(supports, rest, strict=True)) for t in values if t <= top}
        tau = top if k == m else max((t for t, total in sums.items() if total <= level * k * slack), default=-1.0)
        if ordered[k - 1] <= tau * slack:
            found = k
    return [found > 0 and p <= ordered[found - 1] for p in p_values]


def _random_family(generator: np.random.Generator) -> tuple[list[float], list[int]]:
    counts = generator.integers(0, 14, generator.integers(1, 9))
    broken = generator.binomial(counts, np.where(generator.random(counts.size) < 0.5, 0.5, 0.95))
    p_values = [binomtest(int(b), int(m)).pvalue if m else 1.0 for b, m in zip(broken, counts, strict=True)]
    return p_values, counts.tolist()


def test_step_up_rejects_what_its_definition_rejects() -> None:
    generator = np.random.default_rng(0)
    for _ in range(60):
        p_values, counts = _random_family(generator)
        supports = [np.array(mcnemar_support(count)) for count in counts]
        for level in (0.01, 0.05, 0.1, 0.3):
            expected = _step_up_by_definition(p_values, supports, level)
            assert rejects_at(np.array(p_values), supports, level).tolist() == expected


def test_an_adjusted_p_value_is_the_smallest_level_that_rejects() -> None:
    generator = np.random.default_rng(1)
    below_one = 0
    for _ in range(40):
        p_values, counts = _random_family(generator)
        supports = [np.array(mcnemar_support(count)) for count in counts]
        for i, level in enumerate(adjust(p_values, "discrete-bh", counts=counts)):
            assert level is not None
            if level >= 1:
                continue
            below_one += 1
            assert _step_up_by_definition(p_values, supports, level * (1 + 1e-7))[i]
            # levels at which something can change are dense enough here to be met by so many smaller ones
            for smaller in level * np.linspace(0.02, 0.9999, 25):
                assert not _step_up_by_definition(p_values, supports, smaller)[i]
    assert below_one > 50


def test_heyse_by_its_formula() -> None:
    generator = np.random.default_rng(2)
    for _ in range(30):
        p_values, counts = _random_family(generator)
        supports = [mcnemar_support(count) for count in counts]
        order = np.argsort(p_values, kind="stable")
        raw = [sum(_null(s, p_values[i]) for s in supports) / k for k, i in enumerate(order, 1)]
        expected = np.empty(len(raw))
        expected[order] = np.minimum.accumulate(raw[::-1])[::-1].clip(max=1)
        assert adjust(p_values, "heyse", counts=counts) == pytest.approx(expected.tolist())


def test_an_effect_that_plain_correction_throws_away_is_found() -> None:
    """20 broken and 3 fixed among 717 features, of which 695 have too few flips to say anything."""
    found, strong = binomtest(3, 23).pvalue, binomtest(0, 28).pvalue
    counts = [28, 23, *[4] * 10, *[2] * 10, *[1] * 100, *[0] * 595]
    p_values = [strong, found, *[0.125] * 2, *[1.0] * 713]
    plain, discrete = adjust(p_values, "bh"), adjust(p_values, "discrete-bh", counts=counts)
    assert plain[1] == pytest.approx(0.175, abs=0.001)
    assert discrete[1] is not None
    assert 0.0003 < discrete[1] < 0.0006
    supports = [np.array(mcnemar_support(count)) for count in counts]
    assert first_critical_value(supports, 0.05) > 50 * 0.05 / 717


def test_supports_are_tails_of_the_coin() -> None:
    for flips in (1, 2, 7, 30):
        tails = {min(2 * binom.cdf(k, flips, 0.5), 1.0) for k in range(flips // 2 + 1)}
        assert mcnemar_support(flips) == pytest.approx(sorted(tails))
    assert mcnemar_support(0) == (1.0,)


def test_false_discoveries_stay_below_the_level_for_independent_nulls() -> None:
    generator = np.random.default_rng(3)
    counts = [6, 8, 10, 12, 15, 20] * 3
    wrong = 0
    for _ in range(250):
        p_values = [binomtest(int(generator.binomial(m, 0.5)), m).pvalue for m in counts]
        adjusted = adjust(p_values, "discrete-bh", counts=counts)
        wrong += min(a for a in adjusted if a is not None) <= 0.05
    assert wrong / 250 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 250)


def test_untested_members_have_no_count_and_do_not_pay() -> None:
    with_gap = adjust([0.03125, None, 1.0], "discrete-bh", counts=[6, None, 3])
    assert with_gap[1] is None
    assert [with_gap[0], with_gap[2]] == adjust([0.03125, 1.0], "discrete-bh", counts=[6, 3])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "needs the flips"),
        ({"counts": [1, 2], "supports": [[1.0], [1.0]]}, "needs the flips"),
        ({"counts": [3]}, "2 p-values and 1"),
        ({"counts": [3, None]}, "no count"),
        ({"counts": [3, -1]}, "whole number"),
        ({"supports": [[0.5, 1.0], [0.2, 0.7]]}, "up to 1"),
    ],
)
def test_bad_input_is_refused(options: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        adjust([0.5, 0.2], "discrete-bh", **options)
