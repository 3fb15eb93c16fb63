"""Features as Neuronpedia takes them: the batches that its client's `Source.upload_batch` would send.

Neuronpedia shows the tokens of a text with one value each. An SAE of a thought reads one position, so a problem is its
question's tokens and `<bot>`, then `<thought 1>`, `<thought 2>` and on, with the latent at the SAE's own position and 0
at all others, which it does not read. What ablating a feature did, and what the tested rule calls it, have no field
there: they go out in words, as explanations whose method says where they come from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.errors import ConfigError, DataError
from codi_int.features.dashboard import FeatureCard, feature_cards
from codi_int.features.profiles import Profiles
from codi_int.features.rule_table import RuleComparison
from codi_int.model.hooked import CodiModel
from codi_int.types import Site

MOST_FEATURES = 128
"""of one batch; its client refuses more"""
TEXTS, LOGITS = 20, 10
"""problems of a feature, and tokens of either end of its logits"""
ABLATION, SPECIALIZATION = "codi-int ablation", "codi-int specialization (tested)"
"""methods of explanations"""
_AT_ONCE = 1024
"""decoder rows whose logits are held at once"""


@dataclass(frozen=True)
class NeuronpediaSource:
    """Where the features of an SAE go."""

    model_id: str
    """the model's name there"""
    source_id: str
    """the SAE's: the layer's number, a hyphen and the name of the set, as its client looks sources up"""

    def __post_init__(self) -> None:
        for name, value in (("model_id", self.model_id), ("source_id", self.source_id)):
            # both are parts of an address there: /model/source/feature
            if not value or not value.replace("-", "").replace("_", "").replace(".", "").isalnum():
                raise ConfigError(
                    f"{name} {value!r} is no name on Neuronpedia.", "Take letters, digits, hyphens, dots, underscores."
                )


def default_source(profiles: Profiles) -> NeuronpediaSource:
    """The model's name, and the site: `14-p3` for L14.P3, `14-p3-mlp-out` for another tensor,
    `thought-p3` where it has no layer.

    Raises:
        DataError: profiles of bare activations.
    """
    model, site = _known(profiles)
    place = f"p{site.position}"
    if site.layer is None:
        source = f"{site.component}-{place}"
    else:
        source = f"{site.layer}-{place}" if site.component == "resid_post" else f"{site.layer}-{place}-{site.component}"
    return NeuronpediaSource(_plain(model.name.split("/")[-1]), _plain(source))


def neuronpedia_batches(
    profiles: Profiles, rules: RuleComparison | None = None, source: NeuronpediaSource | None = None
) -> Iterator[dict[str, Any]]:
    """The alive features, the most frequent first, as bodies of `POST /api/feature/upload-batch`.

    Args:
        profiles: of the SAE's features, with what a screen found where one was attached.
        rules: what the rules of specialization make of them; None where that is unknown.
        source: where they go; None for `default_source`.

    Raises:
        DataError: profiles of bare activations.
    """
    model, site = _known(profiles)
    place = source or default_source(profiles)
    cards = feature_cards(profiles, rules, TEXTS)
    tokens = {problem.id: tokens_of(model, problem) for problem in profiles.problems}
    for start in range(0, len(cards), MOST_FEATURES):
        batch = cards[start : start + MOST_FEATURES]
        ends = _logit_ends(model, profiles.sae.W_dec[[card.profile.feature for card in batch]])
        yield {
            "modelId": place.model_id,
            "source": place.source_id,
            "features": [
                {
                    "index": card.profile.feature,
                    "density": card.profile.firing_rate,
                    "activations": [
                        _activation(tokens[one.problem_id], one.activation, site, model.n_thoughts) for one in card.top
                    ],
                    "explanations": [*_explanations(card, site, profiles)],
                    "topLogits": top,
                    "bottomLogits": bottom,
                }
                for card, (top, bottom) in zip(batch, ends, strict=True)
            ],
        }


def tokens_of(model: CodiModel, problem: Any) -> list[str]:
    """The question's tokens up to and with `<bot>`, then one for each thought."""
    decode = model.running_tokenizer.decode
    ids = model.encode_question(problem)
    return [decode([token]) for token in ids] + [f"<thought {n + 1}>" for n in range(model.n_thoughts)]


def _known(profiles: Profiles) -> tuple[CodiModel, Site]:
    if profiles.model is None or profiles.site is None or not profiles.problems:
        raise DataError(
            "The profiles are of bare activations: there is no text to show.",
            "Profile the SAE with model and problems.",
        )
    return profiles.model, profiles.site


def _activation(tokens: Sequence[str], latent: float, site: Site, n_thoughts: int) -> dict[str, Any]:
    values = [0.0] * len(tokens)
    values[len(tokens) - 1 - n_thoughts + site.position] = latent
    return {
        "tokens": list(tokens),
        "values": values,
        "quantileMax": None,
        "quantileMin": None,
        "quantileFraction": None,
    }


@torch.no_grad()
def _logit_ends(
    model: CodiModel, directions: Float[Tensor, "n d_model"]
) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """The tokens of the largest and of the smallest logits of each direction, read as if it were the whole residual."""
    decode, count = model.running_tokenizer.decode, min(LOGITS, model.stack.vocab_size)
    for part in directions.detach().to(model.device, model.dtype).split(_AT_ONCE):
        logits = model.stack.unembed(model.stack.final_norm(part)).float()
        ends = [logits.topk(count, largest=largest) for largest in (True, False)]
        for row in range(len(part)):
            top, bottom = (
                [
                    {"token": decode([token]), "value": value}
                    for token, value in zip(found.indices[row].tolist(), found.values[row].tolist(), strict=True)
                ]
                for found in ends
            )
            yield top, bottom


def _explanations(card: FeatureCard, site: Site, profiles: Profiles) -> Iterator[dict[str, Any]]:
    row, causal = card.rules.get("tested"), card.profile.causal
    if row is not None and row.specialized:
        text = f"{row.label}: tested on {profiles.n_problems:,} problems of {profiles.data}, {row.n_active:,} fire it"
        yield _explanation(text, SPECIALIZATION)
    if causal is None:
        return
    p = "not tested" if causal.p_adjusted is None else f"p {causal.p_adjusted:.3g}, corrected over the screen"
    again = {None: "not selected", True: "confirmed", False: "not confirmed"}[causal.confirmed]
    yield _explanation(
        f"ablated at {site}: accuracy {100 * causal.accuracy:+.2f} points ({p}), log-probability of the clean answer "
        f"{causal.logprob:+.4f} nats; {causal.conclusion or 'not concluded'}, {again}; screened on {causal.screen}",
        ABLATION,
    )


def _explanation(text: str, method: str) -> dict[str, Any]:
    return {"text": text, "methodName": method, "modelName": None}


def _plain(name: str) -> str:
    """A name with nothing but what an address takes: `attn.head:1` becomes `attn-head-1`."""
    words = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)
    return "-".join(filter(None, words.split("-"))) or "model"
