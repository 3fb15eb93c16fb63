"""Loading a model from the native format."""

from pathlib import Path

import torch

from codi_int.errors import CheckpointError
from codi_int.model.building import build_hf, build_projection, read_config, read_tokenizer
from codi_int.model.hooked import CodiModel
from codi_int.model.store import PROJECTION, SETTINGS, read_settings
from codi_int.model.tensors import read_checkpoint, read_file
from codi_int.model.weights import hash_file_weights


def load_native(folder: Path, device: torch.device, dtype: torch.dtype) -> CodiModel:
    """The model that `save_model` wrote to `folder`."""
    config = read_settings(folder)
    hf_config = read_config(folder)
    state = read_checkpoint(folder).tensors
    hf = build_hf(hf_config, state, dtype, folder)
    thoughts = read_file(folder / PROJECTION)
    projection = build_projection(thoughts, hf_config.hidden_size, dtype, folder / PROJECTION)
    vocab_size = hf_config.vocab_size
    special = {"pad_id": config.pad_id, "bot_id": config.bot_id, "eot_id": config.eot_id, "eos_id": config.eos_id}
    for name, token in special.items():
        if token is not None and not (type(token) is int and 0 <= token < vocab_size):
            raise CheckpointError(
                f"{folder / SETTINGS}: {name} is {token!r}; the model has ids 0 to {vocab_size - 1}.",
                "Correct it, or save the model again.",
            )
    known = None if dtype == torch.float32 else hash_file_weights(state, thoughts)
    return CodiModel(hf.to(device), projection.to(device), config, read_tokenizer(folder, vocab_size), known)
