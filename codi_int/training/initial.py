"""The language model that training starts from."""

import math

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from codi_int.catalog import ASSETS
from codi_int.data import story_tokenizer as st
from codi_int.data.story_kinds import LONG
from codi_int.errors import ConfigError
from codi_int.model.codi import Projection
from codi_int.model.store import PROJECTION
from codi_int.training.recipe import MAX_POSITIONS, Recipe

EMBEDDING_STD = 0.1


def build_model(recipe: Recipe) -> LlamaForCausalLM:
    """A fresh model; number tokens start out with periodic features of their value.

    Where the recipe names a model to begin with, its weights take the place of those that were drawn; tokens that it
    lacks keep theirs.

    Raises:
        ConfigError: the model to begin with has another shape.
    """
    torch.manual_seed(recipe.seed)
    bos, eos, pad = st.encode_special(st.BOS, st.EOS, st.PAD)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(st.vocabulary(recipe.kind.max_number)),
            hidden_size=recipe.d_model,
            intermediate_size=recipe.d_mlp,
            num_hidden_layers=recipe.n_layers,
            num_attention_heads=recipe.n_heads,
            num_key_value_heads=recipe.n_heads,
            max_position_embeddings=MAX_POSITIONS,
            tie_word_embeddings=True,
            bos_token_id=bos,
            eos_token_id=eos,
            pad_token_id=pad,
        )
    )
    # what is added to the stream 2 n_layers times is made smaller, so that the stream keeps its size (GPT-2)
    residual_std = 0.5 / math.sqrt(recipe.d_model * 2 * recipe.n_layers)
    with torch.no_grad():
        embedding = model.model.embed_tokens.weight.normal_(0, EMBEDDING_STD)
        # 0 to 99 have ids in a row; neighbours and multiples begin close together, which saves learning to count
        first, count = st.encode_words("0")[0], st.MAX_NUMBER + 1
        numbers = _number_features(recipe.d_model, torch.arange(count)) * EMBEDDING_STD
        embedding[first : first + count] = numbers + torch.randn(count, recipe.d_model) * 0.05
        if recipe.kind.max_number > st.MAX_NUMBER:
            _embed_pieces(embedding, recipe.d_model)
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.normal_(0, residual_std)
            elif "proj.weight" in name:
                weight.normal_(0, 0.5 / math.sqrt(recipe.d_model))
    if recipe.start:
        _take_over(recipe.start, model)
    return model


def build_projection(recipe: Recipe) -> Projection:
    """A fresh projection, or that of the model to begin with; ConfigError where its shape is another."""
    projection = Projection(recipe.d_model, recipe.prj_dim)
    nn.init.constant_(projection.get_parameter("ln.weight"), EMBEDDING_STD * 2)
    if recipe.start:
        _copy(load_file(ASSETS / recipe.start / PROJECTION), projection, recipe.start)
    return projection


def _embed_pieces(embedding: Tensor, d_model: int) -> None:
    """Begin the hundreds and the rests of numbers above 99 with the features of what they stand for."""
    words = st.vocabulary(LONG.max_number)
    narrow = len(st.vocabulary())
    values = torch.tensor([st.number_tokens()[word] for word in words[narrow:]])
    features = _number_features(d_model, values) * EMBEDDING_STD
    embedding[narrow:] = features + torch.randn(len(values), d_model) * 0.05


def _take_over(name: str, model: LlamaForCausalLM) -> None:
    """Put a shipped model's weights into a fresh one, whose vocabulary may have more tokens behind."""
    given = load_file(ASSETS / name / "model.safetensors")
    embedding, drawn = given["model.embed_tokens.weight"], model.model.embed_tokens.weight
    if embedding.shape[1:] == drawn.shape[1:]:
        given["model.embed_tokens.weight"] = torch.cat((embedding, drawn.detach()[len(embedding) :]))
    _copy(given, model, name)


@torch.no_grad()
def _copy(given: dict[str, Tensor], module: nn.Module, name: str) -> None:
    for key, weight in module.named_parameters():
        if key not in given or given[key].shape != weight.shape:
            raise ConfigError(
                f"start is {name}, whose {key} has another shape than the recipe's.",
                "Give the recipe the shape of the model that it begins with, or leave start out.",
            )
        weight.copy_(given[key])


def _number_features(d_model: int, values: Tensor) -> Tensor:
    """Sines and cosines of each number's value and of its logarithm, [values, d_model], about unit variance."""
    n = values.float()
    log = torch.log2(n + 1)
    waves = [2 * math.pi * n / period for period in (2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 25, 50, 100, 200)]
    waves += [2 * math.pi * log / period for period in (0.5, 1.0, 2.0, 4.0, 8.0, 14.0)]
    features = torch.stack([f(wave) for wave in waves for f in (torch.sin, torch.cos)], dim=1)
    out = torch.zeros(len(n), d_model)
    width = min(d_model, features.shape[1])
    out[:, :width] = features[:, :width]
    return out * 1.2
