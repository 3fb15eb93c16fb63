"""Run every benchmark, one after the other; the machine should be idle otherwise.

    python benchmarks/run_all.py [--quick]

Peers are taken from build/peers where that folder exists, see benchmarks/README.md.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PEERS = HERE.parent / "build" / "peers"
TAKES_PEERS = ("peers.py", "sae_train_cpu.py")
BY_HAND = ("mutation_testing.py",)  # goes in steps, between which tests are written
TAKES_QUICK = (
    "calibration.py",
    "chunk_rows.py",
    "components.py",
    "fuzz.py",
    "gpu.py",
    "heads.py",
    "peak_memory.py",
    "peers.py",
    "rounding.py",
    "sae_growth.py",
    "sae_step_cpu.py",
    "sae_train_cpu.py",
    "screen_growth.py",
    "max_t.py",
    "screen_speed.py",
    "whole_map.py",
)


def runs(quick: bool) -> list[list[str]]:
    """Every script with its arguments; with `quick` only those that have toy sizes."""
    names = [path.name for path in sorted(HERE.glob("*.py")) if not path.name.startswith("_")]
    out = []
    for name in names:
        if name in (Path(__file__).name, *BY_HAND) or (quick and name not in TAKES_QUICK):
            continue
        peers = ["--peers-from", str(PEERS)] if PEERS.is_dir() and name in TAKES_PEERS else []
        arguments = [*peers, *(["--quick"] if quick else [])]
        out.append([name, *arguments])
        if name == "sae_train_cpu.py":
            out.append([name, "--grid", *arguments])
    return out


def main() -> None:
    """Run them; exit with the names of those that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only the scripts that have toy sizes, with those")
    failed = []
    for name, *arguments in runs(parser.parse_args().quick):
        print(f"== {' '.join([name, *arguments])}", flush=True)
        started = time.perf_counter()
        if subprocess.run([sys.executable, str(HERE / name), *arguments]).returncode:
            failed.append(name)
        print(f"== {time.perf_counter() - started:.0f} s\n", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
