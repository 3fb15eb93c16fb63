"""What can be read where, and what its removal does: docs/results/probes.md.

    python benchmarks/probes.py                        # every part, and the page
    python benchmarks/probes.py --only operation-1     # one part; the page is filled with what has been run
    python benchmarks/probes.py --seconds              # the speed goal: all 112 sites, one target of four classes

Runs the commands that the page names and puts what they print between its markers.
"""

import time
from pathlib import Path

import _common as common

PAGE = common.DOCS_RESULTS / "probes.md"
RUNS = Path("runs") / "probes"
WHERE = ("--layer", "2,6,10,14", "--position", "0-6", "--limit", "400", "--controls", "2")
"""of the page: a layer of each quarter, every position"""
PARTS = {f"{name}-{step}": f"{name}:{step}" for name, step in (("operation", 1), *(("result", s) for s in (1, 2, 3)))}
SPEED = ("probe", "--target", "operation:1", "--confirm", "none", "--directions", "0")


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--only", choices=list(PARTS), help="run this part alone")
    parser.add_argument("--seconds", action="store_true", help="time the map of all sites")
    options = parser.parse_args()
    quick = ("--limit", "150", "--directions", "2") if options.quick else ()
    if options.seconds:
        started = time.perf_counter()
        common.run_command(*SPEED, *quick)
        common.write("probes", {"command": " ".join(SPEED), "seconds": time.perf_counter() - started}, options.quick)
        return
    for name in [options.only] if options.only else list(PARTS):
        words = ("probe", "--target", PARTS[name], *WHERE, *quick)
        out = f"{RUNS}{'-quick' if options.quick else ''}/{name}"
        text = common.run_command(*words, "--out", out)
        (common.ROOT / out / "page.txt").write_text(f"$ codi-int {' '.join(words)}\n{text}\n")
        if options.quick:
            continue
        common.fill_page(PAGE, name, (common.ROOT / out / "page.txt").read_text().rstrip())
        (common.IMAGES / f"probe-{name}.svg").write_bytes((common.ROOT / out / "probe.svg").read_bytes())


if __name__ == "__main__":
    main()
