"""A control in which nothing was learned: the same architecture and tokenizer, all weights drawn anew."""

from dataclasses import replace
from typing import Any

import torch

from codi_int.errors import ConfigError
from codi_int.model.codi import Projection
from codi_int.model.hooked import CodiModel
from codi_int.numeric import as_whole

MOST_SEED = 2**63 - 1


def check_seed(seed: Any) -> int:
    """A seed that torch takes; ConfigError for anything else."""
    whole = as_whole("reinitialize", seed)
    if not 0 <= whole <= MOST_SEED:
        raise ConfigError(
            f"reinitialize is {whole}; a seed lies between 0 and 2**63 - 1.",
            "Give a seed such as 0 (--reinitialize 0).",
        )
    return whole


@torch.no_grad()
def reinitialize(model: CodiModel, seed: int) -> CodiModel:
    """Draw every weight of `model` anew, in place: embeddings, blocks, norms, head and projection.

    They are what the classes' own constructors draw: Hugging Face's for the language model, torch's for the
    projection. Tied embeddings stay tied. The random state of the process is left as it was.

    Raises:
        ConfigError: for a seed that is none.
    """
    whole = check_seed(seed)
    # of the real class: a light model has no initialisation of its own
    hf, projection = model.hf, model.projection
    # on the CPU whatever the device, for one seed is to give one model
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(whole)
        fresh = type(hf)(hf.config)
        thoughts = Projection(model.d_model, model.config.prj_dim, model.config.prj_no_ln)
    # copied into the tensors that run, which casts them to their dtype and device
    hf.load_state_dict(fresh.state_dict(), strict=True)
    projection.load_state_dict(thoughts.state_dict(), strict=True)
    model.name = f"{model.name} (reinitialized, seed {whole})"
    known = {**model.config.provenance, "reinitialized": whole}
    model.config = replace(model.config, name=model.name, provenance=known)
    return model
