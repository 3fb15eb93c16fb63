"""What a loaded model is, as a record for people who want to check it before they trust it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codi_int.model.hooked import CodiModel

TYPICAL_TOKENS = 100
"""length of question, thoughts and answer for which memory is estimated"""


@dataclass(frozen=True)
class ModelDescription:
    """Sizes, settings, hashes and assumptions of one model."""

    name: str
    """what was loaded"""
    architecture: str
    """Hugging Face's model type"""
    layout: str
    """`own` or `official`"""
    n_layers: int
    """number of blocks"""
    d_model: int
    """width of the residual stream"""
    n_heads: int
    """query heads"""
    n_kv_heads: int
    """key and value heads"""
    vocab_size: int
    """number of tokens"""
    max_positions: int
    """longest text"""
    tied_embeddings: bool
    """whether one table serves input and output"""
    n_parameters: int
    """distinct weights of language model and projection"""
    projection: str
    """the projection's shape in words"""
    n_thoughts: int
    """number of thoughts"""
    special_ids: Mapping[str, int | None]
    """ids of padding, <bot>, <eot> and the end token"""
    remove_eos: bool
    """False where an eos stands before <bot> and after <eot>"""
    dtype: str
    """type of the weights"""
    device: str
    """where they live"""
    weight_bytes: int
    """memory of the weights"""
    cache_bytes_per_problem: int
    """memory of keys and values of one problem of `TYPICAL_TOKENS` tokens"""
    sha256: str
    """hash of all weights"""
    found: Mapping[str, Any]
    """what the files or the caller told, such as lora_r"""
    assumed: Mapping[str, Any]
    """what no file told and nobody said, and the value that was taken"""


def describe_model(model: CodiModel) -> ModelDescription:
    """Everything that a model's user may want to check."""
    stack, config = model.stack, model.config
    weights = [*model.stack.hf.parameters(), *model.projection.parameters()]
    provenance = dict(config.provenance)
    names = provenance.pop("assumed", [])
    values = {"lora_alpha": provenance.get("lora_alpha"), "remove_eos": config.remove_eos}
    values["n_thoughts"] = config.n_thoughts
    per_slot = 2 * stack.n_layers * stack.n_kv_heads * stack.head_dim * weights[0].element_size()
    norm = "" if config.prj_no_ln else ", LayerNorm"
    return ModelDescription(
        name=model.name,
        architecture=model.stack.hf.config.model_type,
        layout=str(provenance.pop("layout", "own")),
        n_layers=model.n_layers,
        d_model=model.d_model,
        n_heads=stack.n_heads,
        n_kv_heads=stack.n_kv_heads,
        vocab_size=stack.vocab_size,
        max_positions=stack.max_positions,
        tied_embeddings=bool(model.stack.hf.config.tie_word_embeddings),
        n_parameters=sum(weight.numel() for weight in weights),
        projection=f"{model.d_model} -> {config.prj_dim} -> {model.d_model}{norm}",
        n_thoughts=config.n_thoughts,
        special_ids={"pad": config.pad_id, "bot": config.bot_id, "eot": config.eot_id, "eos": config.eos_id},
        remove_eos=config.remove_eos,
        dtype=str(model.dtype).removeprefix("torch."),
        device=str(model.device),
        weight_bytes=sum(weight.numel() * weight.element_size() for weight in weights),
        cache_bytes_per_problem=per_slot * TYPICAL_TOKENS,
        sha256=model.sha256,
        found=provenance,
        assumed={name: values[name] for name in names},
    )
