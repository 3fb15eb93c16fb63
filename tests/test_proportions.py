"""Wilson's interval against statsmodels and scipy."""

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from codi_int.proportions import wilson_interval


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.001])
@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (3, 7), (0, 1495), (1458, 1495), (1495, 1495)])
def test_it_is_that_of_statsmodels_and_scipy(hits: int, n: int, alpha: float) -> None:
    found = wilson_interval(hits, n, alpha)
    assert found == proportion_confint(hits, n, alpha=alpha, method="wilson")
    theirs = binomtest(hits, n).proportion_ci(1 - alpha, method="wilson")
    assert found == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_many_shares_at_once() -> None:
    hits = np.arange(12).reshape(3, 4)
    low, high = wilson_interval(hits, 20)
    assert low.shape == high.shape == (3, 4)
    assert (float(low[1, 2]), float(high[1, 2])) == wilson_interval(6, 20)
