"""Export to TransformerLens."""

import copy as copying
from typing import Any

from codi_int.model.building import CLASSES


def to_bridge(hf: Any, tokenizer: Any, copy: bool = True) -> Any:
    """A `TransformerBridge` of a language model with merged weights.

    The bridge takes float inputs, so a thought is fed as `bridge(thought[:, None], past_key_values=cache)`. Its
    `to_tokens(question)` are those of `CodiModel.encode_question` without the ids that lead into the thoughts.

    Read everywhere, the activations equal ours. Changed, they do not at one name: on TransformerLens 3.9's bridge an
    edit of `hook_resid_mid` reaches the MLP and misses the skip path beside it (logits off by 1.8 to 5.4); here, and in
    TransformerLens' own `HookedTransformer`, it reaches both.

    Args:
        copy: wrap a copy. Wrapping renames the module's parameters in place, after which it is of no use to a
            `CodiModel` any more; False saves the memory of the copy where the model is not needed again.
    """
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    module = copying.deepcopy(hf) if copy else hf
    own = copying.deepcopy(tokenizer)
    # TransformerLens would fetch a tokenizer again by name to have it prepend <bos>; this one is complete as it stands
    own.init_kwargs |= {"add_bos_token": True, "name_or_path": own.init_kwargs.get("name_or_path", "")}
    bridge = build_bridge_from_module(module, CLASSES[hf.config.model_type], hf_config=module.config, tokenizer=own)
    # By default TransformerLens puts a <bos> before every text. Tokenizers that write none (GPT-2's, Qwen2's) would get
    # the end of a text there instead, and every position would move by one.
    bridge.cfg.default_prepend_bos = bridge.cfg.tokenizer_prepends_bos
    bridge.cfg.tokenizer_appends_eos = False  # else an <eos> that a tokenizer writes behind a text would be cut off
    return bridge
