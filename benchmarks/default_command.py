"""How long the default command takes, start-up included, and so a screen of the shipped site and `codi-int --help`.

    python benchmarks/default_command.py [--repeats 3]
    python benchmarks/default_command.py --side-effects     # which share of the ablation its side effects take

Writes benchmarks/results/default_command.json, with --side-effects side_effects.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "default_command.json"
CODI = Path(sys.executable).with_name("codi-int")
COMMANDS = {
    "codi-int ablate --feature 449 --layer 14 --json": 30.0,
    "codi-int screen --layer 14 --json": 60.0,
    "codi-int --help": 0.5,
}
"""command -> the most seconds that it may take on two cores"""
MOST_SHARE = 0.05
"""of a run's processor time that the side effects may take"""


def seconds(command: str) -> float:
    """Wall time of one run in a process of its own."""
    started = time.perf_counter()
    subprocess.run([str(CODI), *command.split()[1:]], check=True, capture_output=True)
    return time.perf_counter() - started


def side_effects(repeats: int) -> None:
    """Processor time of the side effects within runs of the default edit, each on a new clean pass."""
    from codi_int import Ablate, FeatureInterventionEngine, load_model, load_problems
    from codi_int.interventions.engine import engine, suffix

    spent = 0.0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal spent
            started = time.process_time()
            out = function(*given, **named)
            spent += time.process_time() - started
            return out

        return call

    engine.measure_side_effects = timed(engine.measure_side_effects)  # type: ignore[assignment]
    suffix.compare_thoughts = timed(suffix.compare_thoughts)  # type: ignore[assignment]
    model, problems = load_model("codi-mini"), load_problems("stories:validation")
    rows = []
    for _ in range(repeats):
        spent, started = 0.0, time.process_time()
        FeatureInterventionEngine(model, {"L14.P3": "codi-mini/L14.P3"}).run(Ablate(449), problems)
        whole = time.process_time() - started
        rows.append({"run_s": round(whole, 2), "side_effects_s": round(spent, 3), "share": round(spent / whole, 4)})
    share = statistics.median(row["share"] for row in rows)
    print(
        f"side effects of ablate 449 at L14.P3: {share:.1%} of the run (median of {repeats}; at most {MOST_SHARE:.0%})"
    )
    document = {"median_share": share, "limit": MOST_SHARE, "n_problems": len(problems), "runs": rows}
    (RESULTS.parent / "side_effects.json").write_text(json.dumps(document, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side-effects", action="store_true", help="the share of the side effects, and no more")
    given = parser.parse_args()
    repeats = given.repeats
    if given.side_effects:
        side_effects(repeats)
        return
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
