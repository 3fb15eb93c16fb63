"""The causal map of codi-mini's continuous thoughts, and the page docs/results/causal-map.md that shows it.

    python benchmarks/causal_map.py                # everything; a stopped run goes on with the command it was at
    python benchmarks/causal_map.py --limit 40     # a quick look; the page is left alone
    python benchmarks/causal_map.py --only site    # some of the commands; the rest of the page stays as it is
    python benchmarks/causal_map.py --contexts     # the section on contexts alone: alone, later silent, only this one

Everything runs on all 1,495 problems but the contexts, which run on 500: half a point of accuracy cannot be ruled out
on fewer than 598. What is finished is not run again. The sentences of the page that name numbers are to be read against
the new ones.

Runs the commands that the page names, puts what they print between the page's markers, copies the figures to
docs/results/images and the tables of all features to docs/results/causal-map/.
"""

import argparse
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import _common as common

from codi_int.interventions.screens.screen_records import ScreenRow
from codi_int.interventions.screens.thought_map import MapCell
from codi_int.types import Site

PAGE = common.DOCS_RESULTS / "causal-map.md"
TABLES = common.DOCS_RESULTS / "causal-map"
RUNS = Path("runs") / "causal-map"
SITE = "L10.P1"
"""the site of the pairs; with L10.P5 it is where the map shows large losses"""
PAIRED = 8
"""the strongest features of a site, all pairs of which are ablated together"""
LEFT_OUT = (
    *("note", "flips", "folds", "bound", "share_of_largest", "p_equivalence", "probability_p", "confirmation_n"),
    *("largest_possible", "largest_in_population", "confirmation_p", "confirmation_logprob_p", "confirmation_fold"),
    *("confirmation_p_equivalence", "confirmation_power", "confirmation_logprob_low", "confirmation_logprob_high"),
)
"""columns of a row that the tables in the docs do not have, besides those of the margin and of fresh problems"""


def columns_of(record: type[ScreenRow] | type[MapCell]) -> tuple[str, ...]:
    """The columns of the docs' tables: those of the record itself, but for `LEFT_OUT`."""
    return tuple(name for name in record.columns if name not in LEFT_OUT and not name.startswith(("margin", "fresh_")))


@dataclass(frozen=True)
class Part:
    """One command of the page."""

    name: str
    """marker of the page, and folder of the run"""
    words: tuple[str, ...]
    """the command without --out"""
    figures: tuple[str, ...] = ()
    """which of its figures the page shows"""
    limit: int | None = None
    """problems, where not all of them run"""


MAPS = (
    Part("map", ("map", "--later", "free"), ("map",)),
    Part("cumulative", ("map", "--cumulative", "--layer", "3,7,11,14", "--thoughts"), ("map",)),
    Part("paths", ("map", "--propagate", "split", "--layer", "3,11", "--position", "1-6"), ("map-logprob",)),
)
CONTEXTS = tuple(Part(f"contexts-{layer}", ("map", "--layer", str(layer)), limit=500) for layer in (3, 7, 11, 14))
"""the three conditions side by side, layer by layer: each layer is a family of its own"""
PUBLISHED = (
    Part("site", ("map", "--layer", "14", "--position", "3")),
    Part("screen", ("screen", "--layer", "14", "--order", "attribution"), ("firing", "effects", "ranks")),
    Part("curve", ("curve", "--layer", "14"), ("curve",)),
)
ELSEWHERE = (
    Part(
        "screen-elsewhere",
        ("screen", "--layer", "10", "--position", "1,5", "--order", "attribution"),
        ("firing-accuracy", "firing-logprob", "effects"),
    ),
    Part("curve-elsewhere", ("curve", "--layer", "10", "--position", "1"), ("curve",)),
)


def pairs(folder: Path, site: str) -> Part:
    """All pairs of a site's strongest features, by the log-probability, on stories that did not pick them."""
    rows = json.loads((common.ROOT / folder / "screen-elsewhere" / "screen.json").read_text())["rows"]
    strongest = sorted((row for row in rows if row["site"] == site), key=lambda row: -abs(row["logprob"]))[:PAIRED]
    features = sorted(row["feature"] for row in strongest)
    file = folder / f"pairs-{site}.csv"
    lines = (f"{a},{b}" for i, a in enumerate(features) for b in features[i + 1 :])
    (common.ROOT / file).write_text("\n".join(lines) + "\n")
    layer, position = site[1:].split(".P")
    words = ("screen", "--layer", layer, "--position", position, "--pairs", str(file))
    return Part("pairs", (*words, "--data", "stories:confirmation"), ("pairs",))


def strongest(folder: Path) -> Part:
    """The feature that changes accuracy most surely, with every control there is, on stories that selected nothing."""
    rows = json.loads((common.ROOT / folder / "screen-elsewhere" / "screen.json").read_text())["rows"]
    row = min((row for row in rows if row["p_value"] is not None), key=lambda row: row["p_value"])
    layer, position = row["site"][1:].split(".P")
    words = ("ablate", "--feature", str(row["feature"]), "--layer", layer, "--position", position)
    return Part("strongest", (*words, "--directions", "20", "--neurons", "20", "--data", "stories:confirmation"))


def do(part: Part, folder: Path, limit: int | None) -> None:
    """Run one command, unless that is done, and keep what it prints beside its folder."""
    printed = common.ROOT / folder / f"{part.name}.txt"
    if printed.exists():
        return
    least = min((n for n in (part.limit, limit) if n is not None), default=None)
    some = () if least is None else ("--limit", str(least))
    words = (*part.words, *some, "--out", str(folder / part.name))
    started = time.perf_counter()
    output = common.run_command(*words)
    print(f"{part.name}: {time.perf_counter() - started:.0f} s", flush=True)
    printed.parent.mkdir(parents=True, exist_ok=True)
    printed.write_text(f"$ codi-int {' '.join(words)}\n{output}\n")


def publish(part: Part, folder: Path) -> None:
    """Put what a command printed, and its figures, into the docs."""
    common.fill_page(PAGE, part.name, (common.ROOT / folder / f"{part.name}.txt").read_text().rstrip())
    for figure in part.figures:
        shutil.copyfile(common.ROOT / folder / part.name / f"{figure}.svg", common.IMAGES / f"{part.name}-{figure}.svg")


def write_features(folder: Path, part: str) -> None:
    """Every feature of a screen as a table."""
    rows = json.loads((common.ROOT / folder / part / "screen.json").read_text())["rows"]
    common.write_table([{key: row[key] for key in columns_of(ScreenRow)} for row in rows], TABLES / f"{part}.csv")


def write_cells(folder: Path, part: str) -> None:
    """Every cell of a map that has a path to the answer as a table."""
    rows = json.loads((common.ROOT / folder / part / "map.json").read_text())["cells"]
    open_rows = [row | {"site": str(Site(**row["site"]))} for row in rows if row["estimate"] is not None]
    common.write_table([{key: row[key] for key in columns_of(MapCell)} for row in open_rows], TABLES / f"{part}.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--limit", type=int, help="only so many problems; the page is left alone")
    parser.add_argument("--only", nargs="+", help="some commands, by their markers on the page")
    which.add_argument("--contexts", action="store_true", help="the section on contexts, and no more")
    given = parser.parse_args()
    limit, folder = given.limit, RUNS
    if given.contexts:
        for part in CONTEXTS:
            do(part, folder, limit=None)
            publish(part, folder)
        return
    if limit is not None:
        folder = RUNS.with_name("causal-map-quick")
    parts = [*MAPS, *PUBLISHED, *ELSEWHERE]
    if given.only:
        for part in (part for part in parts if part.name in given.only):
            do(part, folder, limit)
            if limit is None:
                publish(part, folder)
        return
    for part in parts:
        do(part, folder, limit)
    for part in (strongest(folder), pairs(folder, SITE)):
        parts.append(part)
        do(part, folder, limit)
    if limit is not None:
        return
    for part in parts:
        publish(part, folder)
    for name in ("screen", "screen-elsewhere"):
        write_features(folder, name)
    for part in MAPS:
        write_cells(folder, part.name)


if __name__ == "__main__":
    main()
