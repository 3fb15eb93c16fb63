"""Our own folder format: what plain `transformers` loads as the language model, plus the projection and settings."""

import copy
from pathlib import Path
from typing import Any

import torch

from codi_int.errors import CheckpointError, OutputError
from codi_int.model.building import build_hf, build_projection, load_tokenizer, read_hf_config
from codi_int.model.codi import CodiConfig, Projection
from codi_int.model.hooked import CodiModel
from codi_int.model.tensors import read_checkpoint, read_file

SETTINGS = "codi.json"
PROJECTION = "projection.safetensors"


def save_model(folder: Path | str, hf_model: Any, projection: Projection, config: CodiConfig, tokenizer: Any) -> None:
    """Write a model to `folder`: config.json, model.safetensors, tokenizer, codi.json and projection.safetensors.

    Raises:
        OutputError: the folder cannot be written to.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        hf_model.save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in projection.state_dict().items()}
        save_file(state, folder / PROJECTION)
        config.save(folder / SETTINGS)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written to: {error}.", "Choose another folder.") from error


def is_own_format(folder: Path) -> bool:
    """Whether `folder` was written by `save_model`."""
    return (folder / SETTINGS).is_file()


def read_settings(folder: Path) -> CodiConfig:
    """The settings in a folder that `save_model` wrote; CheckpointError where they cannot be read."""
    try:
        return CodiConfig.from_json((folder / SETTINGS).read_text())
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / SETTINGS} cannot be read: {error}.", "Save the model again.") from error


def load_own(folder: Path, device: torch.device, dtype: torch.dtype) -> CodiModel:
    """The model that `save_model` wrote to `folder`."""
    config = read_settings(folder)
    hf_config = copy.deepcopy(read_hf_config(folder))
    hf = build_hf(hf_config, read_checkpoint(folder).tensors, dtype, folder)
    projection = build_projection(read_file(folder / PROJECTION), hf_config.hidden_size, dtype, folder / PROJECTION)
    vocab_size = hf_config.vocab_size
    special = {"pad_id": config.pad_id, "bot_id": config.bot_id, "eot_id": config.eot_id, "eos_id": config.eos_id}
    for name, token in special.items():
        if token is not None and not 0 <= token < vocab_size:
            raise CheckpointError(f"{folder / SETTINGS}: {name} is {token}; the model has ids 0 to {vocab_size - 1}.")
    return CodiModel(hf.to(device), projection.to(device), config, load_tokenizer(folder, vocab_size))
