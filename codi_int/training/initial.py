"""The language model that training starts from."""

import math

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from codi_int.data import story_tokenizer as st
from codi_int.data.story_numbers import MAX_NUMBER
from codi_int.training.recipe import MAX_POSITIONS, Recipe

EMBEDDING_STD = 0.1


def build_model(recipe: Recipe) -> LlamaForCausalLM:
    """A fresh model; number tokens start out with periodic features of their value."""
    torch.manual_seed(recipe.seed)
    bos, eos, pad = st.encode_special(st.BOS, st.EOS, st.PAD)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(st.vocabulary()),
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
        first = st.encode_words("0")[0]
        numbers = _number_features(recipe.d_model) * EMBEDDING_STD + torch.randn(MAX_NUMBER + 1, recipe.d_model) * 0.05
        embedding[first : first + MAX_NUMBER + 1] = numbers
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.normal_(0, residual_std)
            elif "proj.weight" in name:
                weight.normal_(0, 0.5 / math.sqrt(recipe.d_model))
    return model


def _number_features(d_model: int) -> Tensor:
    """Sines and cosines of each number's value and of its logarithm, [100, d_model], about unit variance."""
    n = torch.arange(MAX_NUMBER + 1, dtype=torch.float32)
    log = torch.log2(n + 1)
    waves = [2 * math.pi * n / period for period in (2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 25, 50, 100, 200)]
    waves += [2 * math.pi * log / period for period in (0.5, 1.0, 2.0, 4.0, 8.0, 14.0)]
    features = torch.stack([f(wave) for wave in waves for f in (torch.sin, torch.cos)], dim=1)
    out = torch.zeros(MAX_NUMBER + 1, d_model)
    width = min(d_model, features.shape[1])
    out[:, :width] = features[:, :width]
    return out * 1.2
