"""How far the training on longer stories is: the curve in docs/guides/longer-stories.md and its picture.

    python benchmarks/training_curve.py [FOLDER]

Takes curve.csv of a run of `codi-int train-codi --recipe codi-mini-6` (FOLDER), keeps it in experiments/, puts what the
model that training begins with can do before it, and fills in the page. Without FOLDER the kept curve is drawn again.
"""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import _common as common

NAME = "codi-mini-6"
CURVE = common.ROOT / "experiments" / f"{NAME}-curve.csv"
PAGE = common.ROOT / "docs" / "guides" / "longer-stories.md"
PICTURE = common.IMAGES / f"{NAME}-curve.svg"
GOAL = 0.9
"""share of held-out stories that must be right before the model ships"""
STEPS = range(1, 7)
STORIES, QUICK_STORIES = 256, 32
"""held-out stories that the run of the page looked at, and the model that it begins with"""
ROWS = 12
"""rows of the page's table; the file has all"""


def main() -> None:
    """Fill the page from a run's curve."""
    parser = common.arguments(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="folder of the run")
    options = parser.parse_args()
    start = beginning(QUICK_STORIES if options.quick else STORIES)
    curve = options.folder / "curve.csv" if options.folder else CURVE
    rows = list(csv.DictReader(curve.open())) if curve.is_file() else []
    common.write(
        "training_curve", {"beginning": start, "rows": len(rows), "last": rows[-1] if rows else None}, options.quick
    )
    if options.quick:
        return
    if curve != CURVE and rows:
        shutil.copy(curve, CURVE)
    common.fill_page(PAGE, "curve", table(start, rows), code=False)
    common.fill_page(PAGE, "state", state(rows), code=False)
    draw(start, rows)


def beginning(stories: int) -> dict[str, Any]:
    """What the model with which training begins does with as many thoughts as it is to learn."""
    from codi_int.training.recipe import Recipe
    from codi_int.training.trainer import RunOptions, Trainer

    recipe = Recipe.load(NAME)
    found = Trainer(recipe, RunOptions(Path(), workers=1, evaluate_stories=stories), 0, 1).evaluate()
    return {
        "stage": f"before ({recipe.start})",
        "batch": 0,
        "stories": 0,
        "held_out_latent": found.latent,
        "held_out_written": found.written,
        **{f"held_out_latent_{k}": share for k, share in zip(STEPS, found.latent_by_steps, strict=True)},
    }


def table(start: dict[str, Any], rows: list[dict[str, str]]) -> str:
    """The curve as Markdown: its beginning, some rows of it and the last."""
    heads = ["stage", "batch", "stories seen", "through thoughts", "in writing", *(f"{k} steps" for k in STEPS)]
    lines = [f"| {' | '.join(heads).replace('1 steps', '1 step')} |", "|" + "---|" * len(heads)]
    every = max(1, len(rows) // ROWS)
    for row in [start, *(row for i, row in enumerate(rows, 1) if i % every == 0 or i == len(rows))]:
        shares = ["held_out_latent", "held_out_written", *(f"held_out_latent_{k}" for k in STEPS)]
        counts = [str(row["stage"]), *(f"{int(row[name]):,}" for name in ("batch", "stories"))]
        lines.append(f"| {' | '.join([*counts, *(f'{100 * float(row[name]):.1f} %' for name in shares)])} |")
    return "\n".join(lines)


def state(rows: list[dict[str, str]]) -> str:
    """How far the run is, in a sentence."""
    from codi_int.training.recipe import Recipe

    total = Recipe.load(NAME).total_batches
    if not rows:
        return f"Not measured: no run of the recipe's {total:,} batches has come to its first look at held-out stories."
    last = rows[-1]
    share = float(last["held_out_latent"])
    reached = "which is enough to ship it" if share >= GOAL else f"of the {100 * GOAL:.0f} % with which it would ship"
    hours = int(last["seconds"]) / 3600
    return (
        f"After {int(last['batch']):,} of {total:,} batches, {hours:.1f} hours on cores that were also used for other "
        f"work, {100 * share:.1f} % of {STORIES} held-out stories are right through thoughts, {reached}."
    )


def draw(start: dict[str, Any], rows: list[dict[str, str]]) -> None:
    """Right answers against batches, through thoughts and in writing, and the goal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    ax = figure.subplots()
    points: list[dict[str, Any]] = [start, *rows]
    batches = [int(row["batch"]) for row in points]
    for name, label in (("held_out_latent", "through thoughts"), ("held_out_written", "in writing")):
        ax.plot(batches, [100 * float(row[name]) for row in points], marker="o", markersize=3, label=label)
    ax.axhline(100 * GOAL, color="0.6", linestyle="--", linewidth=1, label=f"goal, {100 * GOAL:.0f} %")
    ax.set(xlabel="batches of 128 stories (or lines of a drill)", ylabel="% right, held-out stories", ylim=(0, 100))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    figure.savefig(PICTURE)
    print(f"-> {PICTURE.relative_to(common.ROOT)}", json.dumps({"rows": len(rows)}))


if __name__ == "__main__":
    main()
