"""The simulated clock against schedules worked out by hand."""

import pytest

from codi_int.runs.simulation import simulate


@pytest.mark.parametrize(
    ("seconds", "n", "opening", "taking", "want"),
    [
        ([1.0] * 12, 1, 2.0, 0.0, 14.0),
        ([1.0] * 12, 2, 2.0, 0.0, 8.0),
        ([1.0] * 12, 64, 2.0, 0.0, 3.0),  # no more workers than units, and each has to open
        ([1.0, 1.0, 5.0], 2, 0.0, 0.0, 6.0),  # the long one last: it is given out when the first is done
        ([5.0, 1.0, 1.0], 2, 0.0, 0.0, 5.0),
        ([1.0] * 4, 4, 0.0, 0.5, 3.0),  # all are done at 1, and are taken one after the other
        ([3.0, 1.0, 2.0], 2, 1.0, 0.25, 4.5),  # 2 and 4.25 are when it takes the first two; the third is there at 4.25
    ],
)
def test_schedules(seconds: list[float], n: int, opening: float, taking: float, want: float) -> None:
    assert simulate(seconds, n, opening, taking) == pytest.approx(want)
