"""A model in which it is known where the answer is: at two places of one layer that can stand in for each other.

Coordinate 0 of the residual is the answer's sign. Nothing writes it but the hooks of `telling`, which put it at
thoughts 3 and 4 of layer 0; the last layer reads the mean over all tokens, and the final norm keeps no more than its
sign. So one of the two places is enough for the right answer, and without both there is none.
"""

from collections.abc import Mapping
from typing import Any

import torch

from codi_int.data.stories import load_stories
from codi_int.interventions.edits.basic import Ablate
from codi_int.model.hooked import CodiModel
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.types import Problem, Site
from tests.interventions.conftest import make_model

PLACE, STAND_IN = Site(0, 3), Site(0, 4)
SILENCE = Ablate((0, 1))
"""takes the sign out"""


def planted_model() -> CodiModel:
    """Two layers of random weights around the readout."""
    model = make_model("llama", n_layers=2)
    below, above = model.hf.model.layers
    number = model.tokenizer.convert_tokens_to_ids
    with torch.no_grad():
        model.hf.model.embed_tokens.weight[:, 0] = 0.0
        model.projection.ln.weight[0] = model.projection.ln.bias[0] = 0.0  # type: ignore[index, union-attr]
        for weight in (below.self_attn.o_proj.weight, below.mlp.down_proj.weight):
            weight[0] = 0.0
        # a query of zero reads all tokens alike
        for weight in (above.self_attn.q_proj.weight, above.self_attn.v_proj.weight, above.self_attn.o_proj.weight):
            weight.zero_()
        above.mlp.down_proj.weight.zero_()
        above.self_attn.v_proj.weight[0, 0] = 1.0
        above.self_attn.o_proj.weight[0, 0] = 50.0
        model.hf.lm_head.weight.zero_()
        model.hf.lm_head.weight[number("5"), 0], model.hf.lm_head.weight[number("7"), 0] = 10.0, -10.0
    return model


def planted_problems(n: int = 20) -> tuple[Problem, ...]:
    """As many with the answer 5 as with 7."""
    (story,) = load_stories("validation", limit=1)
    return tuple(Problem(f"p{i}", story.question, (5, 7)[i % 2], ()) for i in range(n))


def telling(*sites: Site) -> Mapping[Any, Any]:
    """Hooks that put the answer's sign at some sites: by default at the place and at its stand-in."""

    def tell(x: torch.Tensor, context: Any) -> torch.Tensor:
        out = x.clone()
        out[:, 0] = torch.tensor([3.0 - 6.0 * (int(name[1:]) % 2) for name in context.problem_ids])
        return out

    return dict.fromkeys(sites or (PLACE, STAND_IN), tell)


def sign_sae(model: CodiModel, site: Site = PLACE) -> TopKSAE:
    """Feature 0 fires where the answer is 5, feature 1 where it is 7, feature 2 never."""
    sae = TopKSAE(SAEConfig(d_in=model.d_model, d_sae=4, k=2, rule="relu"))
    with torch.no_grad():
        for weight in (sae.W_enc, sae.W_dec, sae.b_enc, sae.b_dec):
            weight.zero_()
        sae.W_enc[0, 0] = sae.W_dec[0, 0] = 1.0
        sae.W_enc[0, 1] = sae.W_dec[1, 0] = -1.0
        # feature 3 reads another coordinate, which nothing reads
        sae.W_enc[1, 3] = sae.W_dec[3, 1] = 1.0
    sae.annotate(model=model.name, model_sha256=model.sha256, site=site)
    return sae
