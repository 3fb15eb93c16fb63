"""What a training run leaves in its folder, and how a stopped run finds its place again."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from codi_int.errors import ConfigError, DataError
from codi_int.files import read_text, write_text
from codi_int.training.recipe import Recipe

CHECKPOINT = "checkpoint.pt"
CURVE = "curve.csv"
PARTS = frozenset({"recipe", "model", "projection", "optimizers", "progress", "waiting", "recent"})
SHOWN = 3
"""how many differing values an error names before it counts the rest"""


@dataclass
class TrainingState:
    """How far a run has come."""

    batch: int = 0
    """optimizer steps done"""
    next_story: int = 0
    """index of the training story that is drawn next: stories are a function of their index, so this is the whole
    state of their generator"""
    seconds: float = 0.0
    """time spent"""


def read_checkpoint(folder: Path, recipe: Recipe) -> dict[str, Any] | None:
    """The parts of a run's checkpoint, see `PARTS`; None where the folder holds none.

    Raises:
        DataError: the file is damaged or of an earlier version.
        ConfigError: it belongs to another recipe; names the values that differ.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        state = torch.load(path, weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for broken files
        raise DataError(f"{path} cannot be read ({type(error).__name__}).", "Train into another folder.") from error
    if not isinstance(state, dict) or PARTS - set(state):
        raise DataError(
            f"{path} is no checkpoint that can be gone on from exactly; an earlier version may have written it.",
            "Train into another folder.",
        )
    if odd := list(differences(state["recipe"], recipe.to_dict())):
        rest = f" and {len(odd) - SHOWN} more" if len(odd) > SHOWN else ""
        raise ConfigError(
            f"{folder} holds a run of another recipe: {'; '.join(odd[:SHOWN])}{rest}.",
            "Give the recipe that it was begun with, or another folder (--out).",
        )
    return state


def differences(saved: Any, given: Any, name: str = "") -> Iterator[str]:
    """Every value of a recipe that is not the same in another one, such as `stages[1].batches is 400 there, 500 here`.

    Args:
        saved: the recipe of a folder, in JSON types.
        given: the one that it is compared with.
        name: the name of the value, where it is not the whole recipe.
    """
    if isinstance(saved, dict) and isinstance(given, dict):
        for key in {**saved, **given}:
            yield from differences(saved.get(key), given.get(key), f"{name}.{key}" if name else str(key))
    elif isinstance(saved, list | tuple) and isinstance(given, list | tuple) and len(saved) == len(given):
        for i, (one, other) in enumerate(zip(saved, given, strict=True)):
            yield from differences(one, other, f"{name}[{i}]")
    elif saved != given:
        yield f"{name} is {_brief(saved)} there, {_brief(given)} here"


def _brief(value: Any) -> str:
    return f"{len(value)} entries" if isinstance(value, list | tuple) else str(value)


def trim_curve(path: Path, batch: int) -> None:
    """Drop the rows of a curve that lie behind a checkpoint: a run that goes on from there writes them again."""
    # no file, or one that is no regular file, such as a device that a test or a user put there
    if not path.is_file():
        return
    text = read_text(path)
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = list(reader.fieldnames or ())
    # a kill in the middle of a row leaves it short or its batch cut, so only whole rows are kept
    rows = [row for row in reader if None not in row.values() and _number(row.get("batch")) <= batch]
    kept = io.StringIO(newline="")
    if columns:
        writer = csv.DictWriter(kept, columns)
        writer.writeheader()
        writer.writerows(rows)
    if kept.getvalue() != text:
        write_text(path, kept.getvalue())


def _number(text: str | None) -> float:
    return float(text) if text and text.isdecimal() else float("inf")
