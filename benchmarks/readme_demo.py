"""Put the demo's real output and its picture into the README.

    python benchmarks/readme_demo.py

Runs the default command twice, for the table and as JSON, and draws docs/images/ablate-449.svg from the latter.
"""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
CODI = Path(sys.executable).with_name("codi-int")
COMMAND = ["ablate", "--feature", "449", "--layer", "14"]


def run(*extra: str) -> str:
    """Standard output of the default command."""
    return subprocess.run([str(CODI), *COMMAND, *extra], check=True, capture_output=True, text=True).stdout


def draw(result: dict, path: Path) -> None:
    """The effect with its interval, and the effects of the random features beside it."""
    effect = result["effect"]
    controls = [100 * e for e in result["controls"]["random_features"]["estimates"]]
    fig, ax = plt.subplots(figsize=(7, 2.0))
    ax.axvline(0, color="0.8", lw=1, zorder=0)
    heights = random.Random(0).choices([y / 10 for y in range(-4, 5)], k=len(controls))  # many lie on one spot
    ax.scatter(controls, heights, s=36, facecolors="none", edgecolors="tab:gray",
               label=f"{len(controls)} random features that fire about as often")  # fmt: skip
    low, high, x = (100 * effect[key] for key in ("low", "high", "estimate"))
    ax.errorbar([x], [1], xerr=[[x - low], [high - x]], fmt="o", color="tab:red", capsize=4,
                label="feature 449, 95% interval")  # fmt: skip
    ax.set(yticks=[], ylim=(-0.8, 1.8), xlabel="change of accuracy when ablated, percentage points")
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.35), ncols=2, frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, bbox_inches="tight", metadata={"Date": None})


def main() -> None:
    table = "\n".join(line.rstrip() for line in run().rstrip().splitlines())
    readme = ROOT / "README.md"
    block = f"<!-- demo: begin -->\n```\n{table}\n```\n<!-- demo: end -->"
    text = re.sub(r"<!-- demo: begin -->.*<!-- demo: end -->", lambda _: block, readme.read_text(), flags=re.DOTALL)
    readme.write_text(text)
    draw(json.loads(run("--json")), ROOT / "docs" / "images" / "ablate-449.svg")
    print(table)


if __name__ == "__main__":
    main()
