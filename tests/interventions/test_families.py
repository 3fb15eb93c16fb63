"""Adjusted p-values against scipy, worked examples and a simulation of whole families."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control
from statsmodels.stats.multitest import multipletests

from codi_int.errors import ConfigError
from codi_int.interventions.evidence.families import adjust


def test_holm_worked_by_hand() -> None:
    assert adjust([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def test_benjamini_hochberg_is_scipys() -> None:
    p_values = np.random.default_rng(0).uniform(size=50) ** 2
    assert adjust(list(p_values), "benjamini-hochberg") == pytest.approx(false_discovery_control(p_values))


@pytest.mark.parametrize(("method", "theirs"), [("holm", "holm"), ("benjamini-hochberg", "fdr_bh")])
def test_both_are_those_of_statsmodels_to_the_last_digit(method: str, theirs: str) -> None:
    generator = np.random.default_rng(2)
    for size in (1, 2, 17, 717):
        p_values = np.where(generator.uniform(size=size) < 0.5, 1.0, generator.uniform(size=size) ** 3)
        expected = multipletests(p_values, method=theirs)[1]
        assert list(adjust(list(p_values), method)) == expected.tolist()


def test_untested_members_stay_out_of_the_family() -> None:
    assert adjust([0.02, None, 0.03]) == pytest.approx((0.04, None, 0.04))
    assert adjust([None, None]) == [None, None]


def test_holm_keeps_the_family_error() -> None:
    families = np.random.default_rng(1).uniform(size=(1000, 4))
    wrong = np.mean([min(adjust(list(family))) < 0.05 for family in families])  # type: ignore[type-var]
    assert wrong <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize(("p_values", "method"), [([0.1], "bonferoni"), ([1.2], "holm")])
def test_bad_input_is_refused(p_values: list[float], method: str) -> None:
    with pytest.raises(ConfigError):
        adjust(p_values, method)


def test_a_p_value_that_the_flips_cannot_give_is_refused() -> None:
    # seven flips one way give p = 2 / 2**7, which the step-up divides by 1 - p
    assert adjust([0.015625], "discrete-bh", counts=[7]) == pytest.approx([1 / 63])
    assert adjust([0.0156], "discrete-bh", counts=[7]) == pytest.approx([1 / 63], rel=0.01)
    with pytest.raises(ConfigError, match=r"p = 0.01 is below 0.015625, the smallest that its test can give"):
        adjust([0.01, 1.0], "discrete-bh", counts=[7, 3])
