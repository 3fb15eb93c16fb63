"""The grid of TopK SAEs on codi-mini's L14.P3, and the page docs/sae-laboratory.md that shows it.

    python benchmarks/sae_laboratory.py                          # the full grid
    python benchmarks/sae_laboratory.py --limit 300 --epochs 2   # a quick look; the page is left alone

Runs the commands that the page names, puts what they print between the page's markers, and copies the figures to
docs/images. A stopped run goes on where it was.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODI = Path(sys.executable).with_name("codi-int")
PAGE = ROOT / "docs" / "sae-laboratory.md"
RUNS = Path("runs") / "sae-laboratory"
FIGURES = ("heatmaps", "pareto", "k-curve", "frequencies")

CAPTURES = ("--captures", str(RUNS / "activations"))
SWEEP = ("sae", "sweep", "--k", "1,2,3,5,10,20,100", "--features", "512,1024,2048", "--splice", *CAPTURES)
RESEED = ("sae", "sweep", "--k", "5,20", "--features", "512", "--seed", "0,1", *CAPTURES)
NESTED = ("sae", "train", "--architecture", "matryoshka", "--k", "20", "--features", "512", *CAPTURES)


def run(*words: str) -> str:
    """What a command prints, run from the checkout's root so that paths in it are short."""
    print("codi-int", *words, flush=True)
    done = subprocess.run([str(CODI), *words], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return "\n".join(line.rstrip() for line in done.stdout.rstrip().splitlines())


def fill(marker: str, command: tuple[str, ...], output: str) -> None:
    """Put a command and its output between two markers of the page."""
    block = f"<!-- {marker}: begin -->\n```\n$ codi-int {' '.join(command)}\n{output}\n```\n<!-- {marker}: end -->"
    pattern = f"<!-- {marker}: begin -->.*<!-- {marker}: end -->"
    PAGE.write_text(re.sub(pattern, lambda _: block, PAGE.read_text(), count=1, flags=re.DOTALL))


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
    compare = ("sae", "eval", str(folder / "matryoshka"), str(folder / "reseed"), "--captures",
               str(folder / "activations"), *limit)  # fmt: skip
    table = run(*sweep)
    run(*reseed)
    run(*nested)
    compared = run(*compare)
    if quick:
        print(table, compared, sep="\n\n")
        return
    fill("sweep", sweep, table)
    fill("eval", compare, compared)
    images = ROOT / "docs" / "images"
    images.mkdir(exist_ok=True)
    for name in FIGURES:
        shutil.copyfile(ROOT / folder / "grid" / f"{name}.svg", images / f"sae-{name}.svg")


if __name__ == "__main__":
    main()
