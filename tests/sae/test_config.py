"""The checks that every config of this package shares."""

import pytest

from codi_int.errors import ConfigError
from codi_int.sae.config import check_choice, check_count, check_k, check_positive


@pytest.mark.parametrize("k", [0, 9, -1, 2.5, True, None, "3"])
def test_k_outside_its_range(k):
    with pytest.raises(ConfigError, match=r"k must lie in 1\.\.8"):
        check_k(k, 8)


@pytest.mark.parametrize("k", [1, 8])
def test_k_at_its_borders(k):
    check_k(k, 8)


@pytest.mark.parametrize("count", [0, -4, 1.0, False, None])
def test_counts(count):
    with pytest.raises(ConfigError, match="epochs must be an integer of at least 1"):
        check_count("epochs", count)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_positive_numbers(value):
    with pytest.raises(ConfigError, match="rate must be a positive number"):
        check_positive("rate", value)


def test_choices_name_the_known_ones():
    with pytest.raises(ConfigError, match="rule 'max' does not exist") as caught:
        check_choice("rule", "max", ("relu", "abs"))
    assert caught.value.remedy == "Known: relu, abs."
