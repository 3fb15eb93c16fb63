"""Run what docs/tutorial.md shows, and put what is printed into it.

    python benchmarks/tutorial.py

Some minutes; what lies in runs/tutorial afterwards is what a reader has who followed the page.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import _common as common

PAGE = common.ROOT / "docs" / "tutorial.md"
RUNS = Path("runs") / "tutorial"
AT = ("--layer", "10", "--position", "5")
SAE = ("--sae", str(RUNS / "L10.P5"))
COMMANDS = {
    "think": ("think", "--limit", "1"),
    "map": ("map", "--limit", "100", "--layer", "2,10,14", "--later", "free"),
    "train": ("sae", "train", *AT, "--k", "16", "--out", str(RUNS / "L10.P5")),
    "screen": ("screen", *AT, *SAE, "--limit", "200", "--top", "5"),
    "ablate": (
        *("ablate", "--feature", "121", *AT, *SAE, "--limit", "500"),
        *("--directions", "20", "--neurons", "20", "--out", str(RUNS / "ablate")),
    ),
}
"""marker of the page -> the command whose output stands there"""


def main() -> None:
    """Run the commands from an empty folder, then the page's Python."""
    shutil.rmtree(common.ROOT / RUNS, ignore_errors=True)
    for marker, words in COMMANDS.items():
        common.fill_page(PAGE, marker, f"$ codi-int {' '.join(words)}\n{common.run_command(*words)}")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, cwd=common.ROOT)
    common.fill_page(PAGE, "python", done.stdout.rstrip())


if __name__ == "__main__":
    main()
