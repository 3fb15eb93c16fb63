"""`codi-int train-codi`: train a CODI model on stories."""

from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli._console import begin, quieten, tell
from codi_int.cli._job import command_line
from codi_int.files import prepare_folder
from codi_int.run_folder import hold_folder


def train_codi(
    recipe: Annotated[
        str, o.what(metavar="FILE", help="A recipe's JSON file, or the name of a shipped one.")
    ] = "codi-mini",
    workers: Annotated[
        int,
        o.what(parser=o.whole("--workers", least=1), metavar="N", help="Processes; each takes its share of a batch."),
    ] = 2,
    minutes: Annotated[
        float | None,
        o.what(
            parser=o.number("--minutes", least=0.0),
            metavar="X",
            help="Stop with a checkpoint after so long.  [default: at the recipe's end]",
        ),
    ] = None,
    name: Annotated[str, o.output(metavar="NAME", help="What the model is called.")] = "codi-mini",
    out: Annotated[Path, o.output(metavar="FOLDER", help="Folder of checkpoint, curve.csv and model.")] = Path(
        "runs/codi-mini"
    ),
) -> None:
    """Train a CODI model on stories; the same command goes on where a stopped run stands.

    Example: codi-int train-codi --recipe codi-mini --out runs/codi-mini --minutes 30
    """
    with begin():
        from codi_int.training.recipe import Recipe
        from codi_int.training.trainer import RunOptions, export, is_exported, train

        loaded, model = Recipe.load(recipe), out / "model"
        quieten()
    tell(f"{loaded.total_batches:,} batches into {out}; processes are starting: {workers}")
    limit = float("inf") if minutes is None else 60 * minutes
    # two runs of one folder would write each other's checkpoints over
    with hold_folder(prepare_folder(out), command_line()):
        progress = train(loaded, RunOptions(out, workers=workers, stop_after_seconds=limit, verbose=True))
        done, total = progress.batch, loaded.total_batches
        if done < total:
            tell(f"Stopped after {done} of {total} batches; the same command goes on from there.")
        else:
            tell(f"All {total} batches of the recipe are done.")
        # a run may have been stopped between its last checkpoint and this, or its model thrown away since
        if not is_exported(out, loaded, model, name):
            export(out, loaded, model, name)
    so_far = "The model so far" if done < total else "The model"
    typer.echo(f"{so_far} is in {model}: codi-int eval --model {model}")
