"""How long the next command takes in `codi-int shell`, whose model and clean pass are there already.

    python benchmarks/warm_engine.py [--repeats 3]

The first command pays for all; after it come the same feature, the one that fires nearly as often (most of whose
controls the first has run), one of median firing rate at the same site, and one of median firing rate at another site.
Each line is the median over fresh shells. Writes benchmarks/results/warm_engine.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "warm_engine.json"
CODI = Path(sys.executable).with_name("codi-int")


def ranked(site: str) -> list[int]:
    """The alive features of a shipped SAE by firing rate."""
    layer, position = site.removeprefix("L").split(".P")
    words = ("features", "rank", "--layer", layer, "--position", position, "--json")
    done = subprocess.run([str(CODI), *words], check=True, capture_output=True, text=True)
    return [int(row["feature"]) for row in json.loads(done.stdout)["rows"]]


def median_feature(site: str) -> int:
    """The one in the middle of the ranking."""
    features = ranked(site)
    return features[len(features) // 2]


def neighbour(feature: int, site: str) -> int:
    """The one that stands next to a feature in the ranking."""
    features = ranked(site)
    return features[features.index(feature) + 1]


def command(feature: int, site: str) -> str:
    """An ablation with its controls."""
    layer, position = site.removeprefix("L").split(".P")
    return f"ablate --feature {feature} --layer {layer} --position {position} --json"


def seconds(commands: dict[str, str]) -> dict[str, tuple[float, int]]:
    """Wall time from each command to its answer, and how many problems it touched, in one shell."""
    found = {}
    with subprocess.Popen(
        [str(CODI), "shell"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        for name, line in commands.items():
            started = time.perf_counter()
            shell.stdin.write(line + "\n")
            shell.stdin.flush()
            touched = json.loads(shell.stdout.readline())["effect"]["n_touched"]
            found[name] = (time.perf_counter() - started, touched)
        shell.stdin.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    here, there = "L14.P3", "L10.P5"
    middle = median_feature(here)
    commands = {
        "first, start-up included": command(449, here),
        "the same again": command(449, here),
        "one that fires nearly as often": command(neighbour(449, here), here),
        "a median feature of the site": command(middle, here),
        "a median feature of another site": command(median_feature(there), there),
    }
    runs = [seconds(commands) for _ in range(repeats)]
    rows = []
    for name, line in commands.items():
        times = [run[name][0] for run in runs]
        row = {
            "command": line,
            "what": name,
            "n_touched": runs[0][name][1],
            "median_s": round(statistics.median(times), 2),
        }
        rows.append({**row, "runs_s": [round(one, 2) for one in times]})
        print(f"{name}: {row['median_s']} s (median of {repeats}; touches {row['n_touched']:,} problems) · {line}")
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
