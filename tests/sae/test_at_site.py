"""From problems to a saved SAE: what is captured, trained on, measured and kept."""

import pytest
import torch
from torch.testing import assert_close

from codi_int.data.stories import load_stories
from codi_int.errors import SiteError
from codi_int.model.codi import CodiConfig, Projection
from codi_int.model.hooked import CodiModel
from codi_int.sae.at_site import TrainingData, train_at_site
from codi_int.sae.recipe import SAETrainingConfig
from codi_int.sae.store import load_sae
from codi_int.types import Site


@pytest.fixture(scope="module")
def model():
    from transformers import LlamaConfig, LlamaForCausalLM

    from codi_int.data.story_tokenizer import build_tokenizer

    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    hf = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=128,
        )
    )
    config = CodiConfig(pad_id=0, bot_id=4, eot_id=5, eos_id=3, prj_dim=16, max_new_tokens=3, name="random")
    return CodiModel(hf.eval().requires_grad_(False), Projection(16, 16).requires_grad_(False), config, tokenizer)


def test_the_saved_sae_knows_where_it_comes_from_and_what_it_measured(model, tmp_path):
    site, problems = Site(1, 3), load_stories("sae", 64)
    heard = []
    config = SAETrainingConfig(d_sae=24, k=4, epochs=2, batch_size=32, seed=5)
    found = train_at_site(
        model,
        site,
        TrainingData(problems, load_stories("validation", 32), name="stories:sae"),
        config=config,
        folder=tmp_path / "sae",
        progress=lambda *stage: heard.append(stage),
    )
    sae = load_sae(tmp_path / "sae")
    known = sae.config.provenance
    assert (known.site, known.model, known.model_sha256) == (site, "random", model.sha256)
    assert (known.training_data, known.seed) == ("stories:sae", 5)
    assert known.measures["explained_variance"] == pytest.approx(found.metrics.explained_variance)
    x = model.think(load_stories("validation", 32), capture=[site]).at(site).values
    residual = x - sae.decode(sae.encode(x))
    assert_close(torch.tensor(found.metrics.explained_variance), 1 - residual.var() / x.var(), atol=1e-4, rtol=1e-4)
    assert ("epochs", 2, 2) in heard
    assert ("held-out thoughts", 32, 32) in heard


def test_a_site_that_does_not_exist_is_refused_before_anything_runs(model, tmp_path):
    problems = load_stories("sae", 4)
    with pytest.raises(SiteError, match="Layer 2 does not exist"):
        train_at_site(
            model,
            Site(2, 3),
            TrainingData(problems, problems),
            config=SAETrainingConfig(d_sae=24, k=4),
            folder=tmp_path / "sae",
        )
    assert not (tmp_path / "sae").exists()
