"""Reading the tensors of a checkpoint folder, whatever files it keeps them in; never running code from it."""

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codi_int.errors import CheckpointError
from codi_int.files import read_json_object

SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")
INDEX_FILES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class TensorFiles:
    """All tensors of a checkpoint."""

    tensors: dict[str, Tensor]
    """by name, on the CPU"""
    files: tuple[Path, ...]
    """what was read"""


def read_checkpoint(folder: Path) -> TensorFiles:
    """The tensors of `folder`, from one file or from shards; CheckpointError where they cannot be read whole."""
    for name in INDEX_FILES:
        if (folder / name).is_file():
            return _read_shards(folder, folder / name)
    for name in SINGLE_FILES:
        if (folder / name).is_file():
            return TensorFiles(read_file(folder / name), (folder / name,))
    raise CheckpointError(
        f"{folder} holds no weights: none of {', '.join(SINGLE_FILES + INDEX_FILES)}.",
        "Point to the folder that the checkpoint's files were downloaded to.",
    )


def read_file(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file or pickle; CheckpointError where it is corrupt or holds anything else."""
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist.", "Download the checkpoint again, all of its files.")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; CheckpointError where the file is none."""
    # Infinity stands in some configurations on the hub, and transformers reads them
    return read_json_object(path, error=CheckpointError, remedy="Download the file again.", finite=False)


def _read_shards(folder: Path, index: Path) -> TensorFiles:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, Mapping) or not weight_map:
        raise CheckpointError(f"{index} names no shards: its weight_map is missing or empty.", "Download it again.")
    names = list(weight_map.values())
    # an index is a stranger's text: a shard lies beside it, and nowhere else on this disk
    if odd_names := [
        name for name in names if not isinstance(name, str) or name in ("", ".", "..") or re.search(r"[/\\:\0]", name)
    ]:
        raise CheckpointError(f"{index} names a shard outside its folder: {odd_names[0]!r}.", "Download it again.")
    paths = tuple(folder / name for name in sorted(set(names)))
    if missing := [path.name for path in paths if not path.is_file()]:
        raise CheckpointError(
            f"{len(missing)} of {len(paths)} shards are missing in {folder}: {', '.join(missing)}.",
            "Download the missing files into the same folder.",
        )
    tensors: dict[str, Tensor] = {}
    for path in paths:
        tensors |= read_file(path)
    if odd := sorted(set(weight_map) ^ set(tensors)):
        raise CheckpointError(f"Shards and {index.name} disagree on {len(odd)} tensors, such as {odd[0]}.")
    return TensorFiles(tensors, paths)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"{path} is no whole safetensors file: {_brief(error)}.", "Download it again.") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors; pickles are never loaded with code execution allowed.",
            "Convert it to safetensors where you trust it, and load that.",
        ) from error
    except Exception as error:  # torch raises a dozen kinds for broken files
        raise CheckpointError(f"{path} cannot be read: {_brief(error)}.", "Download it again.") from error
    if not isinstance(data, dict) or not all(isinstance(value, Tensor) for value in data.values()):
        raise CheckpointError(f"{path} must hold one flat dictionary of tensors.", "Save the model's state dict alone.")
    return dict(data)


def _brief(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
