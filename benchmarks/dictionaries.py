"""Is it the dictionary? Other seeds, and dictionaries that cannot find anything, for docs/results/dictionaries.md.

    python benchmarks/dictionaries.py                # everything; a stopped run goes on where it was
    python benchmarks/dictionaries.py --site L14.P3  # one site; the page keeps what it has of the others
    python benchmarks/dictionaries.py --limit 100    # a quick look; the page is left alone
    python benchmarks/dictionaries.py --time         # `screen --seeds 0-2` at one site, training included, in seconds

Runs one command for each site, puts what its page says of other dictionaries between the markers of the page in docs,
and keeps the tables of all features beside it. `--time` writes benchmarks/results/screen_seeds.json.
"""

import argparse
import io
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import _common as common
from rich.console import Console, RenderableType

from codi_int.cli._dictionary_pages import against_section, seeds_section
from codi_int.cli._fitting import Page
from codi_int.interventions.kept import load_result, table_of

PAGE = common.DOCS_RESULTS / "dictionaries.md"
TABLES = common.DOCS_RESULTS / "dictionaries"
RUNS = Path("runs") / "dictionaries"
SITES = {"L14.P3": ("--layer", "14", "--position", "3"), "L10.P5": ("--layer", "10", "--position", "5")}
SEEDS, AGAINST = "0-2", "frozen,random"
TOP, WIDTH = 6, 120
LIMIT_S = 180.0
"""seconds that `screen --seeds 0-2` may take on two cores"""
CODI = Path(sys.executable).with_name("codi-int")


def printed(parts: Sequence[RenderableType]) -> str:
    """A part of a page as text."""
    console = Console(file=io.StringIO(), width=WIDTH, no_color=True, highlight=False, markup=False, emoji=False)
    console.print(Page(*parts))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().strip().splitlines())


def do(site: str, folder: Path, limit: int | None) -> None:
    """Run a site's command, or go on with it."""
    words = ["screen", *SITES[site], "--seeds", SEEDS, "--against", AGAINST, "--out", str(folder / site)]
    common.run_command(*words, *([] if limit is None else ["--limit", str(limit)]))


def publish(folder: Path) -> None:
    """Fill the page with what was found at every site that has been run; of others it keeps what it has."""
    sections, before = [], sections_of(PAGE.read_text())
    for site in SITES:
        kept = common.ROOT / folder / site
        if not (kept / "seeds.json").is_file():
            sections += [before[site]] if site in before else []
            continue
        seeds, against = (load_result(kept / f"{name}.json") for name in ("seeds", "against"))
        parts = {
            "seeds": seeds_section(seeds, TOP),
            "controls that must show nothing": against_section(against),
        }
        sections += [f"## {site}: {name}\n\n```\n{printed(part)}\n```\n" for name, part in parts.items()]
        common.write_table(table_of(seeds), TABLES / f"{site}.csv")
        sections.append(f"Every feature beside its partners: [{site}.csv](dictionaries/{site}.csv).\n")
    common.fill_page(PAGE, "sites", "\n".join(sections), code=False)


def sections_of(page: str) -> dict[str, str]:
    """What a page has between its markers, by site."""
    inside = page.partition("<!-- sites: begin -->\n")[2].partition("<!-- sites: end -->")[0]
    parts = re.split(r"^(?=## (L\d+\.P\d+): seeds$)", inside, flags=re.MULTILINE)
    return {site: text.strip() + "\n" for site, text in zip(parts[1::2], parts[2::2], strict=True)}


def measure() -> None:
    """How long one site takes, in a process and a folder of its own: by the clock, and in processor time."""
    words = ["screen", *SITES["L10.P5"], "--seeds", SEEDS]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        subprocess.run([str(CODI), *words, "--out", folder], check=True, capture_output=True)
        seconds = time.perf_counter() - started
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = spent.ru_utime + spent.ru_stime
    beside = f"{processor:.1f} s of processor time, load {load:.1f} when it began"
    print(f"codi-int {' '.join(words)}: {seconds:.1f} s ({beside}; at most {LIMIT_S:.0f} s on two quiet cores)")
    found = {
        "command": " ".join(words),
        "seconds": round(seconds, 1),
        "processor_s": round(processor, 1),
        "load_at_start": round(load, 1),
        "limit_s": LIMIT_S,
    }
    common.write("screen_seeds", found, False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, help="only so many problems; fills no page")
    parser.add_argument("--site", choices=tuple(SITES), help="one site alone")
    parser.add_argument("--time", action="store_true", help="time one site, and no more")
    given = parser.parse_args()
    if given.time:
        measure()
        return
    folder = RUNS if given.limit is None else RUNS.with_name(f"dictionaries-{given.limit}")
    for site in SITES if given.site is None else (given.site,):
        do(site, folder, given.limit)
        if given.limit is None:
            publish(folder)
    if given.limit is not None:
        shutil.rmtree(common.ROOT / folder)


if __name__ == "__main__":
    main()
