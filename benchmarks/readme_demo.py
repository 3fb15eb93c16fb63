"""Put the demo's real output and its picture into the README.

python benchmarks/readme_demo.py
"""

import shutil
import tempfile
from pathlib import Path

import _common as common

COMMAND = ("ablate", "--feature", "449", "--layer", "14")
OTHER = ("ablate", "--feature", "449", "--layer", "10", "--position", "5")
"""an edit that does change answers, of which the README shows the effect, the controls and the verdict"""
FRESH = (*OTHER, "--data", "stories:confirmation")
"""the same on problems that selected nothing, of which it shows the verdict"""
SHOWN = ("ablate 449", "effect (", "20 controls", "The intervention")


def main() -> None:
    with tempfile.TemporaryDirectory(dir=common.ROOT) as name:
        folder = Path(name)
        common.fill_page(common.ROOT / "README.md", "demo", common.run_command(*COMMAND, "--out", str(folder / "run")))
        parts = common.run_command(*OTHER).split("\n\n")
        page = "\n\n".join(part for part in parts if part.startswith(SHOWN))
        common.fill_page(common.ROOT / "README.md", "other", f"$ codi-int {' '.join(OTHER)}\n{page}")
        parts = common.run_command(*FRESH).split("\n\n")
        verdict = next(part for part in parts if part.startswith(SHOWN[-1])).partition("\nNote: ")[0]
        common.fill_page(common.ROOT / "README.md", "fresh", f"$ codi-int {' '.join(FRESH)}\n...\n{verdict}")
        common.run_command("figures", str(folder / "run"), "--out", str(folder / "figures"))
        shutil.copyfile(folder / "figures" / "effect.svg", common.IMAGES / "ablate-449.svg")


if __name__ == "__main__":
    main()
