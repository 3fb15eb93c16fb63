"""After how many thoughts the answer is there: docs/results/stop.md, its picture, and the seconds it takes.

    python benchmarks/stop.py

Runs `codi-int stop --thoughts 12` on stories:validation and `codi-int stop` on stories:confirmation (timed as a whole,
with its start), fills in the page from what they print, copies the figures and the table, and writes stop.json.
"""

import json
import resource
import shutil
import time
from collections.abc import Iterator
from typing import Any

import _common as common

PAGE = common.DOCS_RESULTS / "stop.md"
RUN = "runs/stop"
MOST = "12"
AGAIN = ("stop", "--data", "stories:confirmation")


def main() -> None:
    arguments = common.arguments(__doc__).parse_args()
    limit = ("--limit", "40") if arguments.quick else ()
    out = f"{RUN}-quick" if arguments.quick else RUN
    words = ("stop", "--thoughts", MOST, *limit)
    page = common.run_command(*words, "--out", out, "--force")
    started, spent = time.perf_counter(), processor_seconds()
    again = common.run_command(*AGAIN, *limit)
    seconds, spent = time.perf_counter() - started, processor_seconds() - spent
    found = json.loads((common.ROOT / out / "stop.json").read_text())
    times = {"seconds": seconds, "processor_seconds": spent, "command": " ".join(AGAIN)}
    common.write("stop", {**times, "overall": found["overall"]}, arguments.quick)
    if arguments.quick:
        return
    common.fill_page(PAGE, "stop", f"$ codi-int {' '.join(words)}\n{page}")
    common.fill_page(PAGE, "again", f"$ codi-int {' '.join(AGAIN)}\n{again}")
    common.fill_page(PAGE, "conclusions", "\n".join(conclusions(found)), code=False)
    machine = json.loads((common.RESULTS / "stop.json").read_text())["machine"]
    text = f"The second command took {seconds:.1f} s, start included, on {machine['cores']} cores with a load of "
    text += (
        f"{machine['load_at_start']}; it needed {spent:.1f} s of processor, which other work on the machine does not "
    )
    text += "change much."
    common.fill_page(PAGE, "seconds", text, code=False)
    common.write_table([*found["overall"], *found["rows"], *found["by_operation"]], common.DOCS_RESULTS / "stop.csv")
    for name in ("stop", "stop-logprob"):
        shutil.copy(common.ROOT / out / f"{name}.svg", common.IMAGES / f"{name}.svg")


def processor_seconds() -> float:
    """Of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def conclusions(found: dict[str, Any]) -> Iterator[str]:
    """What the numbers say, in sentences that hold them."""
    own, overall = found["n_thoughts"], found["overall"]
    changes = [one for one in found["changes"] if one["steps"] is not None and one["thoughts"] <= own]
    for number, (steps, rows) in enumerate(by_steps(found), 1):
        mine = [one for one in changes if one["steps"] == steps and one["p_adjusted"] < 0.05]
        gains = ", ".join(f"{100 * one['estimate']:+.1f} points by thought {one['thoughts']}" for one in mine)
        first, last = (f"{100 * rows[k]['accuracy']:.1f} %" for k in (0, own))
        name, shown = f"{steps} step{'s' * (steps != 1)}", gains or "no single thought is shown to change that"
        yield f"{number}. {name}: {first} right without a thought, {last} after {own}; {shown}."
    lost = overall[own]["n_lost"]
    ever = lost + overall[own]["n_correct"]
    yield f"\nOf {ever:,} problems that are answered rightly after some number of thoughts up to {own}, {lost:,} end"
    yield f"wrong after {own}."
    best = max(overall, key=lambda row: row["accuracy"])
    after = overall[-1]
    yield (
        f"Most answers are right after {best['thoughts']} thoughts ({100 * best['accuracy']:.2f} %); after "
        f"{after['thoughts']}, twice as many as it was trained with, {100 * after['accuracy']:.2f} %."
    )


def by_steps(found: dict[str, Any]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The rows of each number of steps, by number of thoughts."""
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in found["rows"]:
        groups.setdefault(row["steps"], []).append(row)
    yield from groups.items()


if __name__ == "__main__":
    main()
