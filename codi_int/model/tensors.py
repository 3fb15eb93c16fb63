"""Reading the tensors of a checkpoint folder, whatever files it keeps them in; never running code from it."""

import pickle
import re
import zipfile
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
        raise CheckpointError(
            f"Shards and {index.name} disagree on {len(odd)} tensors, such as {odd[0]}.",
            "Download all of its files again.",
        )
    return TensorFiles(tensors, paths)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"{path} is no whole safetensors file: {_brief(error)}.", "Download it again.") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    stored = _check_zip(path)
    try:
        # mapped, so that no storage takes memory before what the pickle says of it was held against the file
        data = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors; pickles are never loaded with code execution allowed.",
            "Convert it to safetensors where you trust it, and load that.",
        ) from error
    except Exception as error:  # torch raises a dozen kinds for broken files
        raise CheckpointError(f"{path} cannot be read: {_brief(error)}.", "Download it again.") from error
    if not isinstance(data, dict) or not all(isinstance(value, Tensor) for value in data.values()):
        raise CheckpointError(f"{path} must hold one flat dictionary of tensors.", "Save the model's state dict alone.")
    for name, tensor in data.items():
        _check_tensor(name, tensor, path)
    # a mapped storage begins where its member does, and would run on into the next one where that is too short
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in data.values()}
    if sum(storages.values()) > stored:
        raise CheckpointError(f"{path} cannot be read: its tensors are cut short.", "Download it again.")
    return dict(data)


def _check_zip(path: Path) -> int:
    """The bytes of all storages in a file of `torch.save`, which is a zip whose members are stored as they are.

    CheckpointError where it is laid out in another way. A compressed member would be a bomb or, mapped, noise. The
    layout before torch 1.6 is no zip; its reader takes memory for whatever size the pickle claims before it looks at
    the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            f"{path} cannot be read: it is no zip file of torch.save; others are never loaded with code execution.",
            "Download it again; where it is of a torch before 1.6, save it again with a newer one.",
        ) from error
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointError(f"{path} cannot be read: it holds compressed members.", "Save it with torch.save.")
    return sum(member.file_size for member in members if "/data/" in member.filename)


def _check_tensor(name: object, tensor: Tensor, path: Path) -> None:
    """CheckpointError where a tensor is no plain one, or claims more elements than the file holds for it."""
    if not isinstance(name, str) or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        raise CheckpointError(f"{path}: {name!r:.80} is no plain tensor.", "Save the model's state dict alone.")
    # Strides of 0 make a storage of four bytes look like gigabytes, and the first cast would allocate them. The storage
    # itself is a part of the mapped file, so it is no larger than that.
    needed = (tensor.storage_offset() + tensor.numel()) * tensor.element_size()
    if tensor.device.type != "cpu" or tensor.untyped_storage().nbytes() < needed:
        raise CheckpointError(f"{path}: {name} stores less than its shape says.", "Download it again.")


def _brief(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
