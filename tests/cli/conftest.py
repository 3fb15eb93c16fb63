"""A tiny model with its SAE on disk, and a way to run the command line in this process."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from codi_int.cli.main import main
from codi_int.data.problems import write_jsonl
from codi_int.data.stories import load_stories
from codi_int.data.story_tokenizer import build_tokenizer
from codi_int.model.codi import CodiConfig, Projection
from codi_int.model.loading import load_model
from codi_int.model.store import save_model
from codi_int.sae import SAEConfig, TopKSAE, save_sae
from codi_int.types import Site


@dataclass(frozen=True)
class Shelf:
    """Files that commands can be given."""

    model: str
    """folder of a random 4-layer model"""
    sae: str
    """folder of an SAE with 32 features for its L2.P3"""
    data: str
    """a file with 12 problems"""
    living: int
    """a feature that fires on some of them"""
    dead: int
    """one that fires on none"""


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    """exit code"""
    out: str
    """standard output"""
    err: str
    """standard error"""

    @property
    def page(self) -> str:
        """Standard output without its line breaks, which depend on how long the paths in it are."""
        return " ".join(self.out.split())


TIMES = ("second", "seconds", "started", "ended", "load_at_start")


def without_times(value: Any) -> Any:
    """A document but for what the clock says."""
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if not key.endswith(TIMES)}
    return [without_times(one) for one in value] if isinstance(value, list) else value


@pytest.fixture(autouse=True)
def no_line_for_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine must not add a line to what the tests read."""
    monkeypatch.setattr("codi_int.cli._progress.SILENCE", 3600.0)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("shelf")
    problems = sorted(load_stories("validation", limit=200), key=lambda p: len(p.question.split()))[90:102]
    write_jsonl(problems, folder / "problems.jsonl")
    _save_random_model(folder / "model")
    model = load_model(folder / "model")
    resid = model.think(problems, capture=[Site(2, 3)]).at(Site(2, 3)).values
    sae = _random_sae(resid)
    fires = (sae.encode(resid).dense() != 0).float().mean(0)
    sae.annotate(site=Site(2, 3), model=model.name, model_sha256=model.sha256)
    save_sae(sae, folder / "model" / "sae" / "L2.P3")
    living = int(torch.where((fires > 0) & (fires < 1), fires, 0.0).argmax())
    paths = (folder / "model", folder / "model" / "sae" / "L2.P3", folder / "problems.jsonl")
    return Shelf(*map(str, paths), living=living, dead=31)


def _save_random_model(folder: Path) -> None:
    tokenizer = build_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    torch.manual_seed(0)
    hf = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=24,
            intermediate_size=48,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            initializer_range=0.2,
        )
    )
    config = CodiConfig(
        pad_id=ids("<pad>"),
        bot_id=ids("<bot>"),
        eot_id=ids("<eot>"),
        eos_id=ids("<eos>"),
        prj_dim=32,
        max_new_tokens=6,
        answer_rule="last",
        name="random",
    )
    save_model(folder, hf, Projection(24, 32), config, tokenizer)


def _random_sae(resid: torch.Tensor) -> TopKSAE:
    sae = TopKSAE(SAEConfig(d_in=24, d_sae=32, k=10, rule="abs"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        sae.W_enc.copy_(torch.randn(24, 32, generator=generator))
        sae.W_enc[:, 31] = 0.0
        sae.W_dec.copy_(sae.W_enc.T / 24)
        sae.b_enc.copy_(-(resid.mean(0) @ sae.W_enc))
    return sae


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs `codi-int` with some words."""

    def run_words(*words: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["codi-int", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        code = stop.value.code
        return Ran(code if isinstance(code, int) else 1, out, err)

    return run_words
