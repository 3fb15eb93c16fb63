"""Records made by hand for the golden pages, with another number in every field: what several pages need.

Two fields of one record never hold numbers that print alike: a page that takes the wrong one then prints another text.
Signs are mixed, shares have more digits than pages show (so that rounding is seen), and counts pass 1,000 where a page
writes separators. The numbers need not fit together, for pages must print what stands in the record.
"""

from codi_int.interventions.screens.additivity import Interaction
from codi_int.records import ArmEffect, Estimate
from codi_int.types import (
    Environment,
    RunCounts,
    Site,
)

SITE = Site(14, 3)
HASHES = {
    name: digit * 4 + "0123456789ab" + digit * 48 for name, digit in (("model", "a"), ("sae", "c"), ("data", "e"))
}
ENVIRONMENT = Environment(
    codi_int="9.8.7",
    torch="6.5.4",
    model_sha256=HASHES["model"],
    sae_sha256=HASHES["sae"],
    data_sha256=HASHES["data"],
    threads=7,
    device="cpu",
    dtype="float32",
    seconds=83.26,
)
COUNTS = RunCounts(pairs=23_456, skipped=17_891, suffix_rows=5_565, decoded=1_234, rerun=29)


def interaction(value: float, low: float, high: float, p_value: float | None, p_adjusted: float | None) -> Interaction:
    estimate = Estimate(value=value, low=low, high=high, p_value=p_value, p_adjusted=p_adjusted)
    return Interaction(departure=estimate, n_departing=77)


def arm_effect(number: int) -> ArmEffect:
    """An effect whose numbers all follow from one, each in its own way; accuracy and nats have opposite signs."""
    sign = -1 if number % 2 else 1
    return ArmEffect(
        accuracy=Estimate(
            value=sign * 0.01234 * number,
            low=sign * 0.01234 * number - 0.00567,
            high=sign * 0.01234 * number + 0.00789,
            p_value=0.00123 * number,
            p_adjusted=0.00456 * number,
        ),
        logprob=Estimate(
            value=-sign * 0.07531 * number,
            low=-sign * 0.07531 * number - 0.02468,
            high=-sign * 0.07531 * number + 0.03579,
            p_value=0.00234 * number,
            p_adjusted=0.00678 * number,
        ),
        n_touched=100 + number,
        n_broken=20 + number,
        n_fixed=50 + number,
        n_answer_changed=80 + number,
    )
