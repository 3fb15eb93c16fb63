"""Put the demo's real output and its picture into the README.

python benchmarks/readme_demo.py
"""

import shutil
import tempfile
from pathlib import Path

import _common as common

COMMAND = ("ablate", "--feature", "449", "--layer", "14")


def main() -> None:
    with tempfile.TemporaryDirectory(dir=common.ROOT) as name:
        folder = Path(name)
        common.fill_page(common.ROOT / "README.md", "demo", common.run_command(*COMMAND, "--out", str(folder / "run")))
        common.run_command("figures", str(folder / "run"), "--out", str(folder / "figures"))
        shutil.copyfile(folder / "figures" / "effect.svg", common.IMAGES / "ablate-449.svg")


if __name__ == "__main__":
    main()
