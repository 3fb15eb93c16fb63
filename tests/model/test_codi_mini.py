"""The model that is shipped: plain transformers loads it, it fits, and it answers."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import codi_int as ci

ASSETS = Path(ci.__file__).parent / "assets" / "codi-mini"


@pytest.fixture(scope="module")
def model():
    return ci.load_model("codi-mini")


def test_plain_transformers_loads_it_as_a_llama(model):
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    plain, tokenizer = AutoModelForCausalLM.from_pretrained(ASSETS), AutoTokenizer.from_pretrained(ASSETS)
    assert isinstance(plain, LlamaForCausalLM)
    problem = ci.load_problems("stories:validation", limit=1)[0]
    ids = tokenizer(problem.question, return_tensors="pt").input_ids
    assert (*ids[0].tolist(), model.config.bot_id) == model.encode_question(problem)
    state = model.prefill(torch.tensor([model.encode_question(problem)]))
    bot = torch.cat((ids, torch.tensor([[model.config.bot_id]])), dim=1)
    assert_close(state.hidden, plain(bot, output_hidden_states=True).hidden_states[-1][:, -1], atol=1e-4, rtol=1e-4)


def test_it_has_a_layer_14_and_it_and_its_saes_fit_into_25_mb_each(model):
    assert (model.n_layers, model.n_thoughts) == (16, 6)
    assert sum(path.stat().st_size for path in ASSETS.iterdir() if path.is_file()) < 25_000_000
    assert sum(path.stat().st_size for path in (ASSETS / "sae").rglob("*") if path.is_file()) < 25_000_000


def test_it_answers_through_thoughts_and_in_writing(model):
    problems = ci.load_problems("stories:validation", limit=150)
    for completions in (model.answer(problems), model.write_chain(problems)):
        right = sum(c.answer == p.answer for c, p in zip(completions, problems, strict=True))
        assert right >= 0.9 * len(problems)


def test_its_sae_was_made_for_it_and_feature_449_lives(model):
    site = ci.Site(14, 3)
    sae = ci.load_sae("codi-mini/L14.P3")
    assert sae.config.provenance.model_sha256 == model.sha256
    x = model.think(ci.load_problems("stories:validation", limit=300), capture=[site]).at(site).values
    latents = sae.encode(x)
    fires = (latents.dense()[:, 449] != 0).float().mean()
    assert fires > 0.15  # 0.205 on the whole split
    assert 1 - (x - sae.decode(latents)).var() / x.var() > 0.8
