"""The exact screen on a GPU: one cell of 512 features x 1,495 problems on a model of LLaMA-3.2-1B's shape, in bfloat16.

    python benchmarks/screen_gpu.py                   # without a GPU every row is "not measured"
    python benchmarks/screen_gpu.py --shape tiny      # a smoke run of the same path on toy sizes, on any device

Random weights, an abs-TopK SAE with K = 100 of 512 at L14.P3, questions of 60 tokens, 7 answer tokens. A random model
hesitates between its words where a trained one does not, and what is too close to call is run again slowly; so two
words of the vocabulary get large output rows of opposite direction, and one of them is nearly always a clear choice.
How many rows were too close all the same is in the result. The hooked re-run of the whole model, on all problems and on
those where the feature fires, is timed on a sample of features and extrapolated.
"""

import time
from dataclasses import dataclass
from typing import Any

import _common as common
import torch
from screen_speed import SITE, naive, sample_of, timed_screen
from torch import nn

import codi_int as ci
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.model.codi import CodiConfig, Projection
from codi_int.model.hooked import CodiModel
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.types import Problem


@dataclass(frozen=True)
class Shape:
    """Sizes of a cell."""

    model: dict[str, int]
    """arguments of LlamaConfig"""
    d_sae: int
    """features"""
    k: int
    """features kept"""
    problems: int
    """how many"""
    question: int
    """tokens of a question, <bot> included"""
    answer: int
    """tokens of an answer"""
    max_rows: int
    """rows that run together"""
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
        max_rows=1024,
        batch_sizes=(128, 512, 1495),
    ),
    "tiny": Shape(model=TINY, d_sae=64, k=8, problems=24, question=12, answer=3, max_rows=64, batch_sizes=(24,)),
}
CLEAR = 1000.0
"""standard deviation of the two large logits"""


class Numbers:
    """A tokenizer whose text is the ids themselves, and for which every answer is its last id."""

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [int(word) for word in text.split()]}

    def batch_decode(self, rows: list[list[int]], skip_special_tokens: bool = True) -> list[str]:
        """Answers as codi-mini writes them."""
        return [f"The answer is: {row[-1]}" for row in rows]


def build_model(shape: Shape, device: str, dtype: torch.dtype) -> CodiModel:
    """A CODI model with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**shape.model, tie_word_embeddings=False, max_position_embeddings=2048)
    with torch.device(device):
        hf = LlamaForCausalLM(config).to(dtype).eval().requires_grad_(False)
        width = shape.model["hidden_size"]
        projection = Projection(width, width).to(dtype).eval().requires_grad_(False)
    word = torch.randn(width, generator=torch.Generator().manual_seed(3)) * (CLEAR / width**0.5)
    hf.lm_head.weight[3:5] = torch.stack([word, -word]).to(hf.lm_head.weight)
    last = shape.model["vocab_size"]
    settings = CodiConfig(
        pad_id=last - 3, bot_id=last - 2, eot_id=last - 1, prj_dim=width, max_new_tokens=shape.answer, name="random"
    )
    return CodiModel(hf, projection, settings, Numbers())


def build_sae(shape: Shape, device: str, dtype: torch.dtype) -> TopKSAE:
    """An abs-TopK SAE with random decoder rows of unit norm and the encoder that is their transpose."""
    width = shape.model["hidden_size"]
    name = str(dtype).removeprefix("torch.")
    sae = TopKSAE(SAEConfig(width, shape.d_sae, shape.k, "abs", dtype=name))
    rows = nn.functional.normalize(torch.randn(shape.d_sae, width, generator=torch.Generator().manual_seed(1)), dim=1)
    sae.load_state_dict({**sae.state_dict(), "W_dec": rows, "W_enc": rows.T})
    return sae.to(device).requires_grad_(False)


def build_problems(shape: Shape) -> tuple[Problem, ...]:
    """Questions of random tokens."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(3, shape.model["vocab_size"] - 3, (shape.problems, shape.question - 1), generator=generator)
    return tuple(Problem(f"p{i}", " ".join(map(str, row)), 0, ()) for i, row in enumerate(ids.tolist()))


def measure(shape: Shape, device: str, dtype: torch.dtype, sample: int) -> list[dict[str, Any]]:
    """The screen, and the hooked re-run beside it."""
    model, sae, problems = build_model(shape, device, dtype), build_sae(shape, device, dtype), build_problems(shape)
    engine = FeatureInterventionEngine(model, {SITE: sae}, memory_budget=16 * 2**30, max_rows=shape.max_rows)
    FeatureInterventionEngine(model, {SITE: sae}).run(ci.Ablate(0), problems[:16], controls=0)  # warm up
    found = timed_screen(engine, problems, common.matmul_rate(8192 if device == "cuda" else 512, device, dtype))
    memory = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else common.peak_mib()
    context = engine.site_context(problems)
    features = sample_of(context, sample)
    everyone = [(features[0], i) for i in range(len(problems))]
    tried = {size: naive(model, context, everyone, size)[0] for size in shape.batch_sizes}
    best = min(tried, key=lambda size: tried[size])
    all_s = [naive(model, context, [(f, i) for i in range(len(problems))], best)[0] for f in features]
    firing = {f: engine.plan(context, ci.Ablate(f)).rows.tolist() for f in features}
    firing_s = [naive(model, context, [(f, i) for i in firing[f]], best)[0] for f in features]
    per_row = sum(firing_s) / sum(map(len, firing.values()))
    whole = {
        "hooked re-run, all problems": sum(all_s) / len(all_s) * shape.d_sae,
        "hooked re-run, firing problems": per_row * int((context.latents != 0).sum()),
    }
    rows: list[dict[str, Any]] = [{"how": "codi-int screen", **found, "peak_mib": memory}]
    return rows + [{"how": how, "seconds": seconds, "batch_size": best} for how, seconds in whole.items()]


def main() -> None:
    """Run what this machine can run."""
    parser = common.arguments(__doc__)
    parser.add_argument("--shape", choices=tuple(SHAPES), default="llama-1b")
    parser.add_argument("--sample", type=int, default=3, help="features that are re-run (default 3)")
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    toy = given.quick or given.shape == "tiny"
    if toy or device == "cuda":
        shape = SHAPES["tiny" if toy else given.shape]
        started = time.perf_counter()
        rows = measure(shape, device, torch.bfloat16, given.sample)
        print(f"all in {time.perf_counter() - started:.0f} s\n")
    else:
        names = ("codi-int screen", "hooked re-run, all problems", "hooked re-run, firing problems")
        rows = [{"how": name, "seconds": None} for name in names]
    shown = [{**row, **row.get("counts", {})} for row in rows]
    columns = {"how": "how", "seconds": "seconds", "share_of_floor": "share of the floor", "rerun": "rows re-run"}
    common.show([{**dict.fromkeys(columns, "" if toy else None), **row} for row in shown], columns)
    common.write("screen_gpu", {"shape": "tiny" if toy else given.shape, "rows": rows}, toy)


if __name__ == "__main__":
    main()
