"""`codi-int train-codi`: train a CODI model on stories, or make one of a pretrained model."""

from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli._console import begin, quieten, tell
from codi_int.cli._job import command_line
from codi_int.cli._train_base import train_from_base
from codi_int.errors import ConfigError
from codi_int.files import prepare_folder
from codi_int.run_folder import hold_folder


def train_codi(
    recipe: Annotated[
        str | None, o.what(metavar="FILE", help="A recipe's JSON file, or a shipped one's name.  [default: codi-mini]")
    ] = None,
    base: Annotated[
        Path | None,
        o.what(metavar="FOLDER", help="A pretrained Llama-shaped model in Hugging Face's format, instead of a recipe."),
    ] = None,
    data: Annotated[
        str, o.what(metavar="DATA", help="With --base: problems with written steps, a name or a file.")
    ] = "gsm8k:train",
    tune: Annotated[str, o.what(metavar="lora|full", help="With --base: what is trained.")] = "lora",
    batches: Annotated[
        int, o.what(parser=o.whole("--batches", least=1), metavar="N", help="With --base: optimizer steps.")
    ] = 1000,
    batch_size: Annotated[
        int, o.what(parser=o.whole("--batch-size", least=1), metavar="N", help="With --base: problems of each.")
    ] = 32,
    device: Annotated[str, o.where(metavar="DEVICE", help="With --base: cpu or cuda.")] = "cpu",
    dtype: Annotated[str, o.where(metavar="DTYPE", help="With --base: of products, float32 or bfloat16.")] = "float32",
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
    name: Annotated[
        str | None, o.output(metavar="NAME", help="What the model is called.  [default: codi-mini, or as the base]")
    ] = None,
    out: Annotated[
        Path | None, o.output(metavar="FOLDER", help="Folder of checkpoint, curve.csv, model.  [default: runs/NAME]")
    ] = None,
) -> None:
    """Train a CODI model on stories, or one of a pretrained model; the same command goes on where a run stopped.

    Example: codi-int train-codi --recipe codi-mini --out runs/codi-mini --minutes 30

    Example: codi-int train-codi --base models/llama --data train.jsonl --tune lora --device cuda
    """
    if base is not None:
        if recipe is not None:
            raise ConfigError("--base and --recipe are two ways of training.", "Leave one of them out.")
        settings = {"data": data, "tune": tune, "batches": batches, "batch_size": batch_size, "dtype": dtype}
        train_from_base(base, settings, device=device, minutes=minutes, name=name, out=out)
        return
    recipe, name = recipe or "codi-mini", name or "codi-mini"
    out = out or Path("runs") / name
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
