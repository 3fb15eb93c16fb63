"""`codi-int train-codi`: train a CODI model on stories."""

from pathlib import Path
from typing import Annotated

import typer


def train_codi(
    recipe: Annotated[Path, typer.Option(help="The recipe's JSON file.")] = Path("experiments/codi-mini.json"),
    out: Annotated[Path, typer.Option(help="Folder of checkpoint, curve.csv and model.")] = Path("runs/codi-mini"),
    name: Annotated[str, typer.Option(help="What the model is called.")] = "codi-mini",
    workers: Annotated[int, typer.Option(min=1, help="Processes; each takes its share of every batch.")] = 2,
    minutes: Annotated[float | None, typer.Option(help="Stop with a checkpoint after so long.")] = None,
) -> None:
    """Train a CODI model on stories; the same command goes on where a stopped run stands."""
    from codi_int.training.recipe import Recipe
    from codi_int.training.trainer import RunOptions, export, train

    loaded = Recipe.load(recipe)
    limit = float("inf") if minutes is None else 60 * minutes
    progress = train(loaded, RunOptions(out, workers=workers, stop_after_seconds=limit, verbose=True))
    export(out, loaded, out / "model", name)
    done, total = progress.batch, loaded.total_batches
    if done < total:
        typer.echo(f"Stopped after {done} of {total} batches; the same command goes on from there.", err=True)
    typer.echo(f"The model so far is in {out / 'model'}: codi-int eval --model {out / 'model'}")
