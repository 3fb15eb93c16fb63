"""One worker, two workers, and what a simulation of the scheduler says of two and of more.

    python benchmarks/workers.py [--layers 8-15] [--limit 200] [--many 4,16,64]

A screen is done by one process as a worker and by two. The unit seconds of the first, put on the scheduler with a
counted clock, predict the second, which is measured; the same is then said of as many workers as are asked for, once
with the units as they are and once with weights and units of a 70B model: times as many as it has parameters.
On a machine that does other things besides, the measured ratio says more of these than of the workers.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _common import machine

from codi_int.runs.simulation import simulate

PARAMETERS_70B = 70e9
READ_BYTES = 2e9
"""bytes a second at which a worker is taken to read weights, in bfloat16"""


def main() -> None:
    """Measure, predict, print as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default="8-15")
    parser.add_argument("--limit", default="200")
    parser.add_argument("--many", default="4,16,64")
    given = parser.parse_args()
    words = ["screen", "--layer", given.layers, "--limit", given.limit, "--confirm", "none", "--engine", "processes"]
    one, two = (measure(words, n) for n in (1, 2))
    seconds, opening = one["units"], one["opening"]
    predicted = [simulate(seconds, n, opening) for n in (1, 2)]
    out: dict[str, Any] = {
        "machine": machine(),
        "units": len(seconds),
        "seconds_of_units": sum(seconds),
        "opening": opening,
        "measured": {"1": one["seconds"], "2": two["seconds"], "ratio": one["seconds"] / two["seconds"]},
        "predicted": {"1": predicted[0], "2": predicted[1], "ratio": predicted[0] / predicted[1]},
        "more": {n: simulate(seconds, int(n), opening) for n in given.many.split(",")},
    }
    ratio = PARAMETERS_70B / parameters()
    large = [one * ratio for one in seconds]
    reading = 2 * PARAMETERS_70B / READ_BYTES
    out["70B"] = {n: simulate(large, int(n), reading) for n in ("1", *given.many.split(","))}
    print(json.dumps(out, indent=1))


def measure(words: list[str], n: int) -> dict[str, Any]:
    """A screen by so many workers: seconds from the first worker's start to the last result, and of each unit."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "codi_int", *words, "--workers", str(n), "--out", f"{place}/run"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        done = json.loads((Path(place) / "run" / "manifest.json").read_text())["workers"]
    opening = sum(done["openings"]) / len(done["openings"])
    return {"seconds": done["seconds"], "opening": opening, "units": [unit["seconds"] for unit in done["units"]]}


def parameters() -> int:
    """Of codi-mini."""
    from codi_int import load_model

    return sum(weight.numel() for weight in load_model("codi-mini").hf.parameters())


if __name__ == "__main__":
    main()
