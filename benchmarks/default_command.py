"""How long the default command takes, start-up included, and so a screen of the shipped site and `codi-int --help`.

    python benchmarks/default_command.py [--repeats 3]

Writes benchmarks/results/default_command.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "default_command.json"
CODI = Path(sys.executable).with_name("codi-int")
COMMANDS = {
    "codi-int ablate --feature 449 --layer 14 --json": 30.0,
    "codi-int screen --layer 14 --json": 60.0,
    "codi-int --help": 0.5,
}
"""command -> the most seconds that it may take on two cores"""


def seconds(command: str) -> float:
    """Wall time of one run in a process of its own."""
    started = time.perf_counter()
    subprocess.run([str(CODI), *command.split()[1:]], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    rows = []
    for command, limit in COMMANDS.items():
        runs = [seconds(command) for _ in range(repeats)]
        rows.append(
            {
                "command": command,
                "median_s": round(statistics.median(runs), 2),
                "limit_s": limit,
                "runs_s": [round(run, 2) for run in runs],
            }
        )
        print(f"{command}: {rows[-1]['median_s']} s (median of {repeats}; at most {limit} s)")
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
