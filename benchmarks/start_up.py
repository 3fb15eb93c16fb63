"""What a command spends before its clean pass begins: CPU seconds in fresh processes, part by part.

    python benchmarks/start_up.py [--repeats 3]

Runs `codi-int ablate --feature 449 --layer 14` up to its clean pass, writes benchmarks/results/start_up.json.
CPU seconds and not wall time, so that other work on the machine counts little.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "start_up.json"
LIMIT = 1.5
"""most CPU seconds of a command before the clean pass"""
WHOLE = """
import sys, time
from codi_int.interventions.engine import clean
def stop(*args, **settings):
    print(time.process_time())
    raise SystemExit(0)
clean.run_clean = stop
sys.argv = ["codi-int", "ablate", "--feature", "449", "--layer", "14"]
from codi_int.cli.main import main
main()
"""
PARTS = """
import json, time
def seconds(work):
    start = time.process_time()
    work()
    return time.process_time() - start
import importlib
import codi_int as ci
found = {"torch": seconds(lambda: importlib.import_module("torch"))}
found["codi_int"] = seconds(lambda: importlib.import_module("codi_int.cli._intervene"))
found["problems"] = seconds(lambda: ci.load_problems("stories:validation"))
found["model"] = seconds(lambda: ci.load_model("codi-mini"))
found["SAE"] = seconds(lambda: ci.load_sae("codi-mini/L14.P3"))
model = ci.load_model("codi-mini")
found["model.hf, where it is asked for"] = seconds(lambda: model.hf)
print(json.dumps(found))
"""


def output(code: str) -> str:
    """What a process of its own prints last."""
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return ran.stdout.strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    runs = [float(output(WHOLE)) for _ in range(repeats)]
    parts = [json.loads(output(PARTS)) for _ in range(repeats)]
    document = {
        "before_the_clean_pass_cpu_s": round(statistics.median(runs), 2),
        "limit_cpu_s": LIMIT,
        "runs_cpu_s": [round(run, 2) for run in runs],
        "parts_cpu_s": {name: round(statistics.median(part[name] for part in parts), 2) for name in parts[0]},
    }
    print(f"before the clean pass: {document['before_the_clean_pass_cpu_s']} s of CPU (at most {LIMIT})")
    for name, found in document["parts_cpu_s"].items():
        print(f"  {name}: {found} s")
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
