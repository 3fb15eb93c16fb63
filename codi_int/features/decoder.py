"""What decoder rows say by themselves: the words that the logit lens reads off them, and which other rows are alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.model.hooked import CodiModel
from codi_int.model.lens import read_residuals

_AT_ONCE = 4096
"""decoder rows whose logits, or cosines with all others, are held at once"""


@dataclass(frozen=True)
class DirectionToken:
    """A token that the logit lens reads off a direction."""

    text: str
    """as the tokenizer writes it, with its leading space"""
    id: int
    """its id"""
    probability: float
    """softmax over the vocabulary, of the direction alone behind the final norm"""


@dataclass(frozen=True)
class Neighbour:
    """A feature whose decoder row is like another's."""

    feature: int | None
    """its index; None where the SAE has no other feature"""
    cosine: float | None
    """cosine of the two decoder rows"""


def read_directions(
    model: CodiModel, directions: Float[Tensor, "n d_model"], top: int
) -> list[tuple[DirectionToken, ...]]:
    """The likeliest tokens of each direction, as if it were the whole residual: final norm, then unembedding.

    A norm divides by the length, so the scale of a direction does not matter; its sign does. A vocabulary smaller than
    `top` is read whole.
    """
    top = min(top, model.stack.vocab_size)
    decode, out = model.running_tokenizer.decode, []
    for part in directions.detach().to(model.device, model.dtype).split(_AT_ONCE):
        # one layer and one position of a residual [n, n_layers, positions, d_model]
        found = read_residuals(model, part[:, None, None], top)
        for ids, probabilities in zip(found.ids[:, 0, 0].tolist(), found.probabilities[:, 0, 0].tolist(), strict=True):
            pairs = zip(ids, probabilities, strict=True)
            out.append(tuple(DirectionToken(decode([at]), at, probability) for at, probability in pairs))
    return out


@torch.no_grad()
def nearest_features(
    W_dec: Float[Tensor, "d_sae d_model"], features: Sequence[int], top: int
) -> list[tuple[Neighbour, ...]]:
    """The features whose decoder rows have the largest cosine with each of `features`, itself left out.

    One empty `Neighbour` where the SAE has a single feature. A row of length 0 has cosine 0 with all others.
    """
    unit = torch.nn.functional.normalize(W_dec.detach().float().cpu(), dim=1)
    top, chosen, out = min(top, len(unit) - 1), torch.tensor(list(features), dtype=torch.long), []
    if top < 1:
        return [(Neighbour(None, None),) for _ in features]
    for part in chosen.split(_AT_ONCE):
        cosines = unit[part] @ unit.T
        cosines[torch.arange(len(part)), part] = -torch.inf
        best = cosines.topk(top)
        for others, values in zip(best.indices.tolist(), best.values.tolist(), strict=True):
            out.append(tuple(Neighbour(other, value) for other, value in zip(others, values, strict=True)))
    return out
