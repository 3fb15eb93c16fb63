"""Small random models that write numbers, SAEs that fit them, and codi-mini where it is shipped."""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import codi_int
from codi_int.data.stories import load_stories
from codi_int.data.story_tokenizer import build_tokenizer
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.model.codi import CodiConfig, Projection
from codi_int.model.hooked import CodiModel
from codi_int.model.loading import load_model
from codi_int.sae import SAEConfig, TopKSAE, load_sae
from codi_int.sae.base import SAE
from codi_int.types import Problem, Site

ASSETS = Path(codi_int.__file__).parent / "assets" / "codi-mini"


def make_model(kind: str = "llama", n_layers: int = 4, seed: int = 0) -> CodiModel:
    """A random model whose answers are a few random words, of which the last number counts."""
    tokenizer = build_tokenizer()
    torch.manual_seed(seed)
    if kind == "llama":
        hf = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=24,
                intermediate_size=48,
                num_hidden_layers=n_layers,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=256,
                initializer_range=0.2,
            )
        )
    else:
        hf = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=len(tokenizer),
                n_embd=24,
                n_layer=n_layers,
                n_head=4,
                initializer_range=0.4,
                bos_token_id=None,
                eos_token_id=None,
            )
        )
    ids = tokenizer.convert_tokens_to_ids
    config = CodiConfig(
        pad_id=ids("<pad>"),
        bot_id=ids("<bot>"),
        eot_id=ids("<eot>"),
        eos_id=ids("<eos>"),
        prj_dim=32,
        max_new_tokens=6,
        answer_rule="last",
        name=f"random-{kind}",
    )
    return CodiModel(hf.eval().requires_grad_(False), Projection(24, 32).requires_grad_(False), config, tokenizer)


def make_sae(model: CodiModel, site: Site, problems: Sequence[Problem], d_sae: int = 32, k: int = 12) -> TopKSAE:
    """A random SAE whose encoder reads the site's activations at a scale that matters."""
    generator = torch.Generator().manual_seed(1)
    sae = TopKSAE(SAEConfig(d_in=model.d_model, d_sae=d_sae, k=k, rule="abs"))
    scale = model.think(problems[:8], capture=[site]).at(site).values.std()
    with torch.no_grad():
        sae.W_enc.copy_(torch.randn(model.d_model, d_sae, generator=generator) / model.d_model**0.5)
        sae.W_dec.copy_(sae.W_enc.T)
        sae.b_dec.copy_(scale * torch.randn(model.d_model, generator=generator) / 10)
    sae.annotate(model=model.name, model_sha256=model.sha256, site=site)
    return sae


@pytest.fixture(scope="session")
def sae_at(problems: tuple[Problem, ...]) -> Callable[[CodiModel, Site], TopKSAE]:
    """Makes random SAEs that fit a model and a site."""
    return lambda model, site: make_sae(model, site, problems)


@pytest.fixture(scope="session")
def problems() -> tuple[Problem, ...]:
    """24 stories of three lengths, so that batches hold several."""
    words = build_tokenizer().tokenize
    by_length: dict[int, list[Problem]] = {}
    for problem in load_stories("validation", limit=400):
        by_length.setdefault(len(words(problem.question)), []).append(problem)
    longest = sorted(by_length.values(), key=len)[-3:]
    return tuple(problem for group in zip(*(same[:8] for same in longest), strict=True) for problem in group)


@pytest.fixture(scope="session", autouse=True)
def quick_collection() -> Iterator[None]:
    """statsmodels collects garbage in every call, which takes long with everything loaded."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest) -> CodiModel:
    """Both architectures."""
    return make_model(str(request.param))


@pytest.fixture(scope="session")
def llama() -> CodiModel:
    """One architecture, where the other would show nothing new."""
    return make_model("llama")


@pytest.fixture(scope="session")
def right(llama: CodiModel, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """The problems with the model's own answers as true ones: every answer that changes is a wrong one."""
    answers = llama.answer(problems)
    return tuple(p if a.answer is None else replace(p, answer=a.answer) for p, a in zip(problems, answers, strict=True))


@pytest.fixture(scope="session")
def engine_at(
    llama: CodiModel, sae_at: Callable[[CodiModel, Site], TopKSAE]
) -> Callable[..., FeatureInterventionEngine]:
    """Makes engines with an SAE at each of some sites; feature 31 of the first one never fires."""

    def make(*sites: Site) -> FeatureInterventionEngine:
        saes = {site: sae_at(llama, site) for site in sites}
        saes[sites[0]].W_enc.data[:, 31] = 0.0
        return FeatureInterventionEngine(llama, saes)

    return make


@pytest.fixture(scope="session")
def mini() -> tuple[CodiModel, SAE]:
    """The shipped model with its SAE at L14.P3."""
    if not (ASSETS / "config.json").is_file() or not (ASSETS / "sae" / "L14.P3").is_dir():
        pytest.skip("codi-mini and its SAE are not among the assets")
    return load_model("codi-mini"), load_sae("codi-mini/L14.P3")
