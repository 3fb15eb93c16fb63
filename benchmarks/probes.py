"""What can be read where, and what its removal does: docs/results/probes.md.

    python benchmarks/probes.py                        # every part, and the page
    python benchmarks/probes.py --only operation-1     # one part
    python benchmarks/probes.py --page                 # none: the page again, from what has been run
    python benchmarks/probes.py --seconds              # the speed goal: all 112 sites, one target of four classes

Runs the commands that the page names and puts what they print between its markers.
"""

import json
import resource
import time
from pathlib import Path
from typing import Any

import _common as common

from codi_int.types import Site

PAGE = common.DOCS_RESULTS / "probes.md"
RUNS = Path("runs") / "probes"
WHERE = ("--layer", "2,6,10,14", "--position", "0-6", "--limit", "400", "--controls", "2")
"""of the page: a layer of each quarter, every position"""
PARTS = {f"{name}-{step}": f"{name}:{step}" for name, step in (("operation", 1), *(("result", s) for s in (1, 2, 3)))}
SPEED = ("probe", "--target", "operation:1", "--confirm", "none", "--directions", "0")


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--only", choices=list(PARTS), help="run this part alone")
    parser.add_argument("--page", action="store_true", help="fill the page from kept runs")
    parser.add_argument("--seconds", action="store_true", help="time the map of all sites")
    options = parser.parse_args()
    quick = ("--limit", "150", "--directions", "2") if options.quick else ()
    if options.seconds:
        started = time.perf_counter()
        common.run_command(*SPEED, *quick)
        took = {"seconds": time.perf_counter() - started}
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        took["processor_seconds"] = used.ru_utime + used.ru_stime
        common.write("probes", {"command": " ".join(SPEED), **took}, options.quick)
        return
    root = common.ROOT / f"{RUNS}{'-quick' if options.quick else ''}"
    for name in [] if options.page else [options.only] if options.only else list(PARTS):
        words = ("probe", "--target", PARTS[name], *WHERE, *quick)
        text = common.run_command(*words, "--out", str((root / name).relative_to(common.ROOT)))
        (root / name / "page.txt").write_text(f"$ codi-int {' '.join(words)}\n{text}\n")
    if not options.quick:
        fill(root)


def fill(root: Path) -> None:
    """The page, from the runs that are there."""
    said = []
    for name in PARTS:
        if not (root / name / "page.txt").is_file():
            continue
        common.fill_page(PAGE, name, (root / name / "page.txt").read_text().rstrip())
        (common.IMAGES / f"probe-{name}.svg").write_bytes((root / name / "probe.svg").read_bytes())
        said.append(conclusion(json.loads((root / name / "probe.json").read_text())))
    common.fill_page(PAGE, "conclusions", "\n".join(f"{i}. {one}" for i, one in enumerate(said, 1)), code=False)


def conclusion(found: dict[str, Any]) -> str:
    """What one part came to, in a sentence that holds its numbers."""
    rows, words = found["rows"], found["baselines"][1]["score"]
    beyond = sum(row["over_words_low"] > 0 for row in rows)
    out = f"**{found['target']}**: the words of the question alone give {words:.2f} ({found['measure']}); {beyond} of "
    out += f"{len(rows)} sites give more, with the interval of the difference above 0."
    if (best := found["confirmed"]) is not None:
        site = Site(**best["site"])
        out += f" The most selective one, {site}, gives {best['score']:.2f} on other calculations, "
        interval = f"({best['selectivity_low']:+.2f} to {best['selectivity_high']:+.2f})"
        out += f"{best['selectivity']:+.2f} {interval} more than its control task."
    if (causal := found["causal"]) is not None:
        change, other = causal["probability"]["estimate"], causal["beyond_probability"]
        out += f" Without its directions the probability of the clean answer changes by {100 * change:+.2f} points, "
        interval = f"({100 * other['low']:+.2f} to {100 * other['high']:+.2f})"
        out += f"{100 * other['estimate']:+.2f} {interval} against random ones: "
        shown = "more is lost than by these." if other["high"] < 0 else "that answers need them is not shown."
        out += shown
    return out


if __name__ == "__main__":
    main()
