"""The published experiments run again, for docs/results/published-experiments.md.

    python benchmarks/reproductions.py                       # every experiment; a stopped one goes on where it was
    python benchmarks/reproductions.py k50-specialization    # only these
    python benchmarks/reproductions.py --kept                # runs nothing: fills the page from the runs that are kept

Each is `codi-int reproduce NAME --out runs/reproduce/NAME` on codi-mini. The page gets what it prints, and
docs/results/reproductions the table with every digit. An experiment that has not been run stands on the page as that.
"""

import argparse
import io
import json
import shutil
from pathlib import Path

import _common as common
from rich.console import Console

from codi_int.cli.reproduce import reproduction_page
from codi_int.runs.published import experiments
from codi_int.runs.reproduction import Honest, Line, Reproduction

PAGE = common.DOCS_RESULTS / "published-experiments.md"
TABLES = common.DOCS_RESULTS / "reproductions"
RUNS = Path("runs") / "reproduce"
WIDTH = 120


def read_kept(folder: Path) -> Reproduction:
    """A kept reproduction."""
    document = json.loads((folder / "reproduction.json").read_text(encoding="utf-8"))
    document.pop("schema")
    lines = tuple(
        Line(**{**line, "honest": Honest(**line["honest"]) if line["honest"] else None})
        for line in document.pop("lines")
    )
    return Reproduction(**{**document, "settings": tuple(document["settings"]), "lines": lines})


def printed(found: Reproduction) -> str:
    """Its page as text."""
    file = io.StringIO()
    console = Console(file=file, width=WIDTH, no_color=True, highlight=False, markup=False, emoji=False)
    console.print(reproduction_page(found))
    return "\n".join(line.rstrip() for line in file.getvalue().strip().splitlines())


def publish(name: str, kept: Path) -> str:
    """The section of one experiment; its table goes beside the page."""
    command = f"codi-int reproduce {name} --out {RUNS / name}"
    if not (kept / "reproduction.json").is_file():
        return f"### {name}\n\nNot run yet: `{command}`.\n"
    TABLES.mkdir(exist_ok=True)
    shutil.copy(kept / "reproduction.csv", TABLES / f"{name}.csv")
    text = f"$ {command}\n{printed(read_kept(kept))}"
    return f"### {name}\n\n```\n{text}\n```\n\nEvery digit: [{name}.csv](reproductions/{name}.csv).\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="experiments to run; all of them by default")
    parser.add_argument("--kept", action="store_true", help="run nothing")
    given = parser.parse_args()
    if not given.kept:
        for name in given.names or experiments():
            common.run_command("reproduce", name, "--out", str(RUNS / name))
    sections = [publish(name, common.ROOT / RUNS / name) for name in experiments()]
    common.fill_page(PAGE, "reproductions", "\n".join(sections), code=False)


if __name__ == "__main__":
    main()
