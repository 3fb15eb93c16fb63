"""Loading a model from the native format."""

from dataclasses import replace
from pathlib import Path

import torch

from codi_int.errors import CheckpointError
from codi_int.model.building import build_hf, build_projection, read_config, read_tokenizer
from codi_int.model.hooked import CodiModel
from codi_int.model.store import PROJECTION, SETTINGS, read_settings
from codi_int.model.tensors import read_checkpoint, read_file
from codi_int.model.weights import hash_file_weights


def load_native(folder: Path, device: torch.device, dtype: torch.dtype, n_thoughts: int | None = None) -> CodiModel:
    """The model that `save_model` wrote to `folder`, with its own number of thoughts or another one."""
    config = read_settings(folder)
    if n_thoughts is not None and n_thoughts != config.n_thoughts:
        # the weights, and with them the hash that results name, are the same: the name has to tell the two apart
        config = replace(
            config, n_thoughts=n_thoughts, name=f"{config.name} ({n_thoughts} of {config.n_thoughts} thoughts)"
        )
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
