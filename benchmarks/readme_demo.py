"""Put the demo's real output and its picture into the README.

python benchmarks/readme_demo.py
"""

import shutil
import tempfile
from pathlib import Path

import _common as common

COMMAND = ("ablate", "--feature", "449", "--layer", "14")
FRESH = ("ablate", "--feature", "449", "--layer", "10", "--position", "5", "--data", "stories:confirmation")
"""an edit that does change answers, on problems that selected nothing"""
VERDICTS = ("Accuracy stays", "The intervention")
SHOWN = ("ablate 449", "effect (", *VERDICTS)
"""how the parts of a page begin that the README shows; it leaves out arms, controls, subgroups and how much was run"""


def shown(page: str, parts: tuple[str, ...] = SHOWN) -> str:
    """These parts, without what is noted below the verdict."""
    found = [part.partition("\nNote: ")[0] for part in page.split("\n\n") if part.startswith(parts)]
    return "\n\n".join(found)


def main() -> None:
    readme = common.ROOT / "README.md"
    with tempfile.TemporaryDirectory(dir=common.ROOT) as name:
        folder = Path(name)
        common.fill_page(readme, "demo", shown(common.run_command(*COMMAND, "--out", str(folder / "run"))))
        common.fill_page(
            readme, "fresh", f"$ codi-int {' '.join(FRESH)}\n...\n{shown(common.run_command(*FRESH), VERDICTS)}"
        )
        common.run_command("figures", str(folder / "run"), "--out", str(folder / "figures"))
        shutil.copyfile(folder / "figures" / "effect.svg", common.IMAGES / "ablate-449.svg")


if __name__ == "__main__":
    main()
