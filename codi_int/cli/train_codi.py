"""`codi-int train-codi`: train a CODI model on stories."""

from pathlib import Path
from typing import Annotated

import typer


def train_codi(
    recipe: Annotated[str, typer.Option(help="A recipe's JSON file, or the name of a shipped one.")] = "codi-mini",
    out: Annotated[Path, typer.Option(help="Folder of checkpoint, curve.csv and model.")] = Path("runs/codi-mini"),
    name: Annotated[str, typer.Option(help="What the model is called.")] = "codi-mini",
    workers: Annotated[int, typer.Option(min=1, help="Processes; each takes its share of every batch.")] = 2,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop with a checkpoint after so long.")] = None,
) -> None:
    """Train a CODI model on stories; the same command goes on where a stopped run stands."""
    from codi_int.training.recipe import Recipe
    from codi_int.training.trainer import RunOptions, export, is_exported, train

    loaded, model = Recipe.load(recipe), out / "model"
    limit = float("inf") if minutes is None else 60 * minutes
    progress = train(loaded, RunOptions(out, workers=workers, stop_after_seconds=limit, verbose=True))
    done, total = progress.batch, loaded.total_batches
    if done < total:
        typer.echo(f"Stopped after {done} of {total} batches; the same command goes on from there.", err=True)
    else:
        typer.echo(f"All {total} batches of the recipe are done.", err=True)
    # a run may have been stopped between its last checkpoint and this, or its model thrown away since
    if not is_exported(out, loaded, model, name):
        export(out, loaded, model, name)
    so_far = "The model so far" if done < total else "The model"
    typer.echo(f"{so_far} is in {model}: codi-int eval --model {model}")
