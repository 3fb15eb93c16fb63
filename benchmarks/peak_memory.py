"""Peak memory of the default commands, each in a process of its own: docs/results/speed.md.

    python benchmarks/peak_memory.py [--quick]

Memory is the process's largest resident set as the system counts it (wait4), program, weights and figures included.
Every command keeps its run. Writes benchmarks/results/peak_memory.json and the table of the page.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _common as common

PAGE = common.DOCS_RESULTS / "speed.md"
COMMANDS = (
    "ablate --feature 449 --layer 14",
    "screen --layer 14",
    "map --layer 14",
    "patch --what thought --position 1 --auto both --step 1",
    "eval",
    "think",
    "lens",
    "stop",
    "probe --target operation:1 --layer 10 --position 1-3",
    "features rank --layer 14",
    "sae train --layer 10 --position 5",
    "report",
)
"""as the docs give them; `report` is of the ablation's run"""
QUICK = {
    "patch": ("--limit", "60", "--underpowered", "--controls", "1"),
    "probe": ("--limit", "300", "--controls", "1"),
    "sae": ("--limit", "260", "--epochs", "1"),
}
"""what makes a command short; others take a few problems"""


def measure(words: list[str]) -> dict[str, Any]:
    """Peak memory in bytes and seconds of a command; RuntimeError with its last words where it fails."""
    command = [str(Path(sys.executable).with_name("codi-int")), *words]
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{said.read().decode()[-2000:]}")
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 2**10)
    cpu = used.ru_utime + used.ru_stime
    return {"peak_bytes": peak, "seconds": round(time.perf_counter() - started, 1), "cpu_seconds": round(cpu, 1)}


def run(command: str, folder: Path, quick: bool) -> dict[str, Any]:
    """One of the commands, which keeps its run in a folder of its own."""
    name = command.split()[0]
    words = command.split()
    if name == "report":
        words.append(str(folder / "ablate"))
    else:
        words += QUICK.get(name, ("--limit", "20")) if quick else ()
        words += ["--out", str(folder / name)]
    return {"command": command, **measure(words)}


def main() -> None:
    quick = common.arguments(__doc__).parse_args().quick
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            rows.append(run(command, Path(folder), quick))
            print(f"{rows[-1]['peak_bytes'] / 2**30:.2f} GiB  {command}", flush=True)
    common.write("peak_memory", {"rows": rows}, quick)
    if not quick:
        lines = ["| command | peak memory, GiB |", "|---|---|"]
        lines += [f"| `{row['command']}` | {row['peak_bytes'] / 2**30:.2f} |" for row in rows]
        common.fill_page(PAGE, "memory", "\n".join(lines), code=False)


if __name__ == "__main__":
    main()
