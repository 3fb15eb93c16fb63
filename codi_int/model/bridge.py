"""Export to TransformerLens."""

import copy as copying
from typing import Any

from codi_int.model.building import CLASSES


def to_bridge(hf: Any, tokenizer: Any, copy: bool = True) -> Any:
    """A `TransformerBridge` of a language model with merged weights.

    The bridge takes float inputs, so a thought is fed as `bridge(thought[:, None], past_key_values=cache)`.

    Args:
        copy: wrap a copy. Wrapping renames the module's parameters in place, after which it is of no use to a
            `CodiModel` any more; False saves the memory of the copy where the model is not needed again.
    """
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    module = copying.deepcopy(hf) if copy else hf
    own = copying.deepcopy(tokenizer)
    # TransformerLens would fetch a tokenizer again by name to have it prepend <bos>; this one is complete as it stands
    own.init_kwargs |= {"add_bos_token": True, "name_or_path": own.init_kwargs.get("name_or_path", "")}
    return build_bridge_from_module(module, CLASSES[hf.config.model_type], hf_config=module.config, tokenizer=own)
