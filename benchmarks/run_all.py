"""Run every benchmark, one after the other; the machine should be idle otherwise.

python benchmarks/run_all.py
"""

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    failed = []
    for script in sorted(HERE.glob("*.py")):
        if script.name == Path(__file__).name:
            continue
        print(f"== {script.name}", flush=True)
        started = time.perf_counter()
        if subprocess.run([sys.executable, str(script)]).returncode:
            failed.append(script.name)
        print(f"== {time.perf_counter() - started:.0f} s\n", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
