"""The grid of TopK SAEs on codi-mini's L14.P3, and the page docs/results/sae-grid.md that shows it.

    python benchmarks/sae_laboratory.py                          # the full grid
    python benchmarks/sae_laboratory.py --limit 300 --epochs 2   # a quick look; the page is left alone

Runs the commands that the page names, puts what they print between the page's markers, and copies the figures to
docs/results/images. A stopped run goes on where it was.
"""

import argparse
import shutil
from pathlib import Path

import _common as common

ROOT = common.ROOT
PAGE = common.DOCS_RESULTS / "sae-grid.md"
RUNS = Path("runs") / "sae-laboratory"
FIGURES = ("heatmaps", "pareto", "k-curve", "frequencies")

CAPTURES = ("--captures", str(RUNS / "activations"))
SWEEP = ("sae", "sweep", "--k", "1,2,3,5,10,20,100", "--features", "512,1024,2048", "--splice", *CAPTURES)
RESEED = ("sae", "sweep", "--k", "5,20", "--features", "512", "--seed", "0,1", *CAPTURES)
NESTED = ("sae", "train", "--architecture", "matryoshka", "--k", "20", "--features", "512", *CAPTURES)


def shown(command: tuple[str, ...], output: str) -> str:
    """A command and what it printed."""
    return f"$ codi-int {' '.join(command)}\n{output}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit")
    parser.add_argument("--epochs")
    chosen = {key: value for key, value in vars(parser.parse_args()).items() if value is not None}
    quick = tuple(word for key, value in chosen.items() for word in (f"--{key}", value))
    folder = RUNS if not quick else RUNS.with_name("sae-laboratory-quick")
    limit = ("--limit", chosen["limit"]) if "limit" in chosen else ()

    def at(command: tuple[str, ...], name: str) -> tuple[str, ...]:
        moved = tuple(word.replace(str(RUNS), str(folder)) for word in command)
        return (*moved, *quick, "--out", str(folder / name))

    sweep, reseed, nested = at(SWEEP, "grid"), at(RESEED, "reseed"), at(NESTED, "matryoshka")
    compare = (
        "sae",
        "eval",
        str(folder / "matryoshka"),
        str(folder / "reseed"),
        "--captures",
        str(folder / "activations"),
        *limit,
    )
    table = common.run_command(*sweep)
    common.run_command(*reseed)
    common.run_command(*nested)
    compared = common.run_command(*compare)
    if quick:
        print(table, compared, sep="\n\n")
        return
    common.fill_page(PAGE, "sweep", shown(sweep, table))
    common.fill_page(PAGE, "eval", shown(compare, compared))
    for name in FIGURES:
        shutil.copyfile(ROOT / folder / "grid" / f"{name}.svg", common.IMAGES / f"sae-{name}.svg")


if __name__ == "__main__":
    main()
