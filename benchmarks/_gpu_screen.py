"""The exact screen on a GPU: one cell of 512 x 1,495 on a model of LLaMA-3.2-1B's shape, see `gpu.py`.

Random weights, an abs-TopK SAE with K = 100 of 512 at L14.P3, 7 answer tokens, questions of 60 tokens or of GSM8K's
lengths (gsm8k_lengths.json). A random model hesitates between its words where a trained one does not, and what is too
close to call is run again; so two words of the vocabulary get large output rows of opposite direction, and one of
them is nearly always a clear choice. How many rows were too close all the same is in the result. With a decoder of
1/1,000 the length hardly an answer changes, so hardly one is written again. The hooked re-run of the whole model is
timed on a sample of features and extrapolated.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import _common as common
import torch
from screen_speed import SITE, naive, sample_of, suffix_flops
from torch import nn

import codi_int as ci
from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.engine.suffix import SuffixRunner
from codi_int.interventions.screens.screen import run_screen
from codi_int.interventions.screens.sides import SelectionPlan
from codi_int.model.codi import CodiConfig, Projection
from codi_int.model.hooked import CodiModel
from codi_int.model.light import LightConfig, LightLlama
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.types import Problem

LENGTHS = Path(__file__).parent / "gsm8k_lengths.json"


@dataclass(frozen=True)
class Shape:
    """Sizes of a cell."""

    model: dict[str, int]
    """sizes of the model"""
    d_sae: int
    """features"""
    k: int
    """features kept"""
    problems: int
    """how many"""
    question: int
    """tokens of a question, <bot> included, where all have as many"""
    answer: int
    """tokens of an answer"""
    batch_sizes: tuple[int, ...]
    """tried by the hooked re-run"""


LLAMA_1B = {
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 8192,
    "vocab_size": 128259,
    "head_dim": 64,
}
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 64,
    "vocab_size": 67,
    "head_dim": 16,
}
SHAPES = {
    "llama-1b": Shape(
        model=LLAMA_1B,
        d_sae=512,
        k=100,
        problems=1495,
        question=60,
        answer=7,
        batch_sizes=(128, 512, 1495),
    ),
    "tiny": Shape(model=TINY, d_sae=64, k=8, problems=24, question=12, answer=3, batch_sizes=(24,)),
}
CLEAR = 1000.0
"""standard deviation of the two large logits"""


class Numbers:
    """A tokenizer whose text is the ids themselves, and for which every answer is its last id."""

    unk_token_id = None

    def __len__(self) -> int:
        return 0

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [int(word) for word in text.split()]}

    def batch_decode(self, rows: list[list[int]], skip_special_tokens: bool = True) -> list[str]:
        """Answers as codi-mini writes them."""
        return [f"The answer is: {row[-1]}" for row in rows]


def build_model(shape: Shape, device: str, dtype: torch.dtype) -> CodiModel:
    """A CODI model with random weights; needs no transformers."""
    torch.manual_seed(0)
    config = LightConfig(
        **shape.model,
        max_position_embeddings=2048,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        rope_theta=500000.0,
        stored={
            **shape.model,
            "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        },
        folder=Path(),
    )
    width = shape.model["hidden_size"]
    with torch.device(device):
        hf: Any = LightLlama(config)
        for parameter in hf.parameters():
            # as Hugging Face draws them; norms are ones
            nn.init.normal_(parameter, std=0.02) if parameter.ndim > 1 else nn.init.ones_(parameter)
        projection = Projection(width, width)
    hf = hf.to(dtype).eval().requires_grad_(False)
    projection = projection.to(dtype).eval().requires_grad_(False)
    word = torch.randn(width, generator=torch.Generator().manual_seed(3)) * (CLEAR / width**0.5)
    hf.lm_head.weight[3:5] = torch.stack([word, -word]).to(hf.lm_head.weight)
    last = shape.model["vocab_size"]
    settings = CodiConfig(
        pad_id=last - 3, bot_id=last - 2, eot_id=last - 1, prj_dim=width, max_new_tokens=shape.answer, name="random"
    )
    return CodiModel(hf, projection, settings, Numbers())


def build_sae(shape: Shape, device: str, dtype: torch.dtype, scale: float = 1.0) -> TopKSAE:
    """An abs-TopK SAE with random decoder rows of norm `scale` and an encoder along the same directions."""
    width = shape.model["hidden_size"]
    name = str(dtype).removeprefix("torch.")
    sae = TopKSAE(SAEConfig(width, shape.d_sae, shape.k, "abs", dtype=name))
    rows = nn.functional.normalize(torch.randn(shape.d_sae, width, generator=torch.Generator().manual_seed(1)), dim=1)
    sae.load_state_dict({**sae.state_dict(), "W_dec": scale * rows, "W_enc": rows.T})
    return sae.to(device).requires_grad_(False)


def build_problems(shape: Shape, gsm8k: bool = False) -> tuple[Problem, ...]:
    """Questions of random tokens, all of one length or of GSM8K's."""
    generator = torch.Generator().manual_seed(2)
    lengths = [shape.question - 1] * shape.problems
    if gsm8k:
        known = json.loads(LENGTHS.read_text())["lengths"]
        # <bos> besides; evenly spread where fewer problems are wanted
        lengths = [known[i * len(known) // shape.problems] + 1 for i in range(shape.problems)]
    rows = [torch.randint(3, shape.model["vocab_size"] - 3, (n,), generator=generator).tolist() for n in lengths]
    return tuple(Problem(f"p{i}", " ".join(map(str, row)), 0, ()) for i, row in enumerate(rows))


def screened(engine: FeatureInterventionEngine, problems: Sequence[Problem], rate: float) -> dict[str, Any]:
    """A screen of all features, timed by parts, and its share of what the arithmetic alone would take."""
    watch, chunks = common.Stopwatch(), []
    touched, changed = torch.zeros(2, len(problems), dtype=torch.long)
    score, start = engine.score, SuffixRunner._start_of

    def scored(context: SiteContext, plans: Sequence[ArmPlan], *rest: Any) -> list[ArmScores]:
        out = score(context, plans, *rest)
        for plan, scores in zip(plans, out, strict=True):
            touched[plan.rows] += 1
            changed[plan.rows] += scores.changed.long()
        return out

    def started_chunk(runner: SuffixRunner, chunk: Any) -> Any:
        chunks.append(len(chunk.pairs))
        return start(runner, chunk)

    started = time.perf_counter()
    with watch.at("clean pass"):
        context = engine.site_context(problems)
    again = watch.around("rows written again", SuffixRunner._write_again)
    timed = watch.around("suffix", scored)
    with (
        patch.object(SuffixRunner, "_write_again", again),
        patch.object(SuffixRunner, "_start_of", started_chunk),
        patch.object(engine, "score", timed),
    ):
        screen = run_screen(engine, problems, selection=SelectionPlan(confirm="none"))
    total = time.perf_counter() - started
    parts = dict(watch.seconds)
    parts["suffix"] -= parts.get("rows written again", 0.0)
    flops = suffix_flops(engine.model, context, touched, changed)
    counts = asdict(screen.counts)
    return {
        "seconds": total,
        "parts_s": parts,
        "counts": counts,
        "rows_per_chunk": sum(chunks) / len(chunks),
        "share_close": counts["rerun"] / counts["suffix_rows"],
        "floor_s": flops / rate,
        "share_of_floor": flops / rate / parts["suffix"],
    }


def rerun(engine: FeatureInterventionEngine, problems: Sequence[Problem], shape: Shape, sample: int) -> dict[str, Any]:
    """Seconds of a whole screen by the hooked re-run, and how many (feature, problem) pairs it does in a second."""
    model, context = engine.model, engine.site_context(problems)
    everyone = range(len(problems))
    features = sample_of(context, sample)
    tried = {b: naive(model, context, [(features[0], i) for i in everyone], b)[0] for b in shape.batch_sizes}
    best = min(tried, key=lambda b: tried[b])
    spent = [naive(model, context, [(f, i) for i in everyone], best)[0] for f in features]
    each = sum(spent) / len(spent)
    return {"seconds": each * shape.d_sae, "batch_size": best, "pairs_per_s": len(problems) / each}


CASES = tuple((lengths, scale) for lengths in ("equal", "gsm8k") for scale in (1.0, 1e-3))
"""lengths of the questions, and of the decoder rows: at the second hardly an answer changes"""


def describe(lengths: str, scale: float) -> str:
    """A case in words."""
    return f"screen, {lengths} lengths, {'whole' if scale == 1.0 else '1/1,000 of the'} edits"


def measure(device: str, quick: bool, sample: int) -> list[dict[str, Any]]:
    """The screen in all cases, and the hooked re-run beside it; with `quick` on toy sizes."""
    shape, dtype = SHAPES["tiny" if quick else "llama-1b"], torch.bfloat16
    model, rows = build_model(shape, device, dtype), []
    rate = common.matmul_rate(8192 if device == "cuda" else 128, device, dtype)
    for lengths, scale in CASES:
        problems, sae = build_problems(shape, lengths == "gsm8k"), build_sae(shape, device, dtype, scale)
        FeatureInterventionEngine(model, {SITE: sae}).run(ci.Ablate(0), problems[:16], controls=0)  # warm up
        engine = FeatureInterventionEngine(model, {SITE: sae})
        rows.append({"how": describe(lengths, scale), **screened(engine, problems, rate)})
        if scale == 1.0:
            found = rerun(engine, problems, shape, sample)
            rows.append({"how": f"hooked re-run, {lengths} lengths, extrapolated", **found})
        del engine
    return rows


def unmeasured() -> list[dict[str, Any]]:
    """All rows of a run with a GPU, empty."""
    rows = []
    for lengths, scale in CASES:
        rows.append({"how": describe(lengths, scale), "seconds": None})
        if scale == 1.0:
            rows.append({"how": f"hooked re-run, {lengths} lengths, extrapolated", "seconds": None})
    return rows
