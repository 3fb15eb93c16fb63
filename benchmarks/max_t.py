"""How long max-T takes at the size of a screen: 512 features on 1,495 problems, 10,000 sign flips.

    python benchmarks/max_t.py

Changes are made: flips of one problem in a hundred (accuracy), and a number for each touched problem, one in thirty
(log-probability). Seconds are the median of five, of the clock and of the processor: on a machine that is shared
the clock says how busy it was.
"""

import time
from statistics import median

import _common as common
import numpy as np

from codi_int.interventions.evidence.max_t import max_t

PROBLEMS, FEATURES, DRAWS, RUNS = 1_495, 512, 10_000, 5
GOAL_S = 2.0


def main() -> None:
    """Time both kinds of changes and write benchmarks/results/max_t.json."""
    quick = common.arguments(__doc__).parse_args().quick
    features, draws, runs = (32, 200, 1) if quick else (FEATURES, DRAWS, RUNS)
    generator = np.random.default_rng(0)
    shape = (PROBLEMS, features)
    changes = {
        "accuracy": generator.choice((-1.0, 0.0, 1.0), shape, p=(0.007, 0.99, 0.003)),
        "logprob": generator.normal(size=shape) * (generator.random(shape) < 1 / 30),
    }
    rows = []
    for name, values in changes.items():
        clock, processor = [], []
        for seed in range(runs):
            started, used = time.perf_counter(), time.process_time()
            max_t(values, draws=draws, seed=seed)
            clock.append(time.perf_counter() - started)
            processor.append(time.process_time() - used)
        rows.append({"measure": name, "seconds": median(clock), "processor_seconds": median(processor)})
        print(
            f"{name}: {median(clock):.2f} s ({median(processor):.2f} s of the processor), goal {GOAL_S:g} s", flush=True
        )
    common.write("max_t", {"problems": PROBLEMS, "features": features, "draws": draws, "rows": rows}, quick)


if __name__ == "__main__":
    main()
