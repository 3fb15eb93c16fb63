"""`codi-int train-codi --base`: a CODI model made of a pretrained one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from codi_int.cli._console import begin, quieten, tell
from codi_int.cli._job import command_line
from codi_int.files import prepare_folder
from codi_int.run_folder import hold_folder


def train_from_base(
    base: Path, settings: Mapping[str, Any], device: str, minutes: float | None, name: str | None, out: Path | None
) -> None:
    """Train, and leave the model in the native format.

    Args:
        base: folder of the pretrained model.
        settings: of a `BaseRecipe`, besides the base.
        device: where it is trained.
        minutes: stop with a checkpoint after so long; None at the end.
        name: what the model is called; None for `codi-` and the base's folder.
        out: folder of checkpoint, curve.csv and model; None for `runs/NAME`.

    Raises:
        CheckpointError, ConfigError, DataError: base, settings or problems do not do.
    """
    name = name or f"codi-{base.name}"
    out = out or Path("runs") / name
    with begin():
        from codi_int.training.base_recipe import BaseRecipe
        from codi_int.training.base_trainer import BaseTrainer, train_base

        quieten()
        trainer = BaseTrainer(BaseRecipe(base=str(base), **settings), device)
    recipe = trainer.recipe
    tell(f"{len(trainer.problems.problems):,} problems; {recipe.batches:,} batches of {recipe.batch_size} into {out}")
    limit = float("inf") if minutes is None else 60 * minutes
    with hold_folder(prepare_folder(out), command_line()):
        trainer.resume(out)
        done = train_base(trainer, out, stop_after_seconds=limit, tell=tell)
        trainer.export(out / "model", name)
    if done < recipe.batches:
        tell(f"Stopped after {done} of {recipe.batches} batches; the same command goes on from there.")
    typer.echo(f"The model is in {out / 'model'}: codi-int eval --model {out / 'model'}")
