"""Training TopK SAEs on a CPU: ours beside SAELens, dictionary-learning and a plain torch loop.

    python benchmarks/sae_train_cpu.py                     # the published configuration: d_sae 512, K 100
    python benchmarks/sae_train_cpu.py --grid              # the published grid of 12, one by one and as one grid

Every trainer gets the same rows in the same order, the same optimizer settings (Adam 1e-3, batch 256, 25 epochs)
and its own defaults for everything else (initial weights, decoder norm). Repeats are interleaved and medians
reported; quality is measured on held-out rows by one function for all. dictionary-learning is optional
(`pip install --no-deps dictionary-learning`); without it its rows say "not measured".

The rows are synthetic, 7,473 x 2048, with the spectrum of the published activations as far as it is known: a
power law whose exponent gives about the published explained variances (0.70 at K = 5, 0.88 at K = 100).
"""

import argparse
import importlib.util
import json
import statistics
import sys
import time
import types
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from codi_int.sae import SAEConfig, SAETrainingConfig, TopKSAE, measure
from codi_int.sae.many import SAEJob, train_many

N_TRAIN, N_HELD_OUT, D_IN = 5978, 1495, 2048
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    trainer: str
    """who trained"""
    d_sae: int
    """features"""
    k: int
    """features kept"""
    seconds: float
    """wall clock, median over the repeats"""
    cpu_seconds: float
    """processor time of all threads, median over the repeats; what to look at on a machine with other work"""
    explained_variance: float
    """on held-out rows"""
    dead_share: float
    """on training rows"""


def spectrum_rows(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Training and held-out rows: clusters along a power-law spectrum, turned into a random basis."""
    generator = torch.Generator().manual_seed(seed)
    n = N_TRAIN + N_HELD_OUT
    scale = torch.arange(1, D_IN + 1).float() ** -0.75
    centres = torch.randn(400, D_IN, generator=generator)
    of_row = torch.randint(400, (n,), generator=generator)
    z = 0.85 * centres[of_row] + 0.53 * torch.randn(n, D_IN, generator=generator)
    basis = torch.linalg.qr(torch.randn(D_IN, D_IN, generator=generator)).Q
    x = (z * scale) @ basis * 8 + torch.randn(D_IN, generator=generator) * 0.2
    return x[:N_TRAIN].contiguous(), x[N_TRAIN:].contiguous()


def batches(x: Tensor, config: SAETrainingConfig):
    """The rows in the order that our trainer takes them, epoch after epoch."""
    generator = torch.Generator().manual_seed(config.seed)
    for _ in range(config.epochs):
        for rows in torch.randperm(len(x), generator=generator).split(config.batch_size):
            yield x[rows]


class Published(nn.Module):
    """The published module: two nn.Linear, the k largest magnitudes with their sign."""

    def __init__(self, config: SAETrainingConfig) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(D_IN, config.d_sae), nn.Linear(config.d_sae, D_IN)
        self.k = config.k
        with torch.no_grad():
            self.decoder.weight.copy_(nn.functional.normalize(self.decoder.weight, dim=0))

    def forward(self, x: Tensor) -> Tensor:
        pre = self.encoder(x)
        kept = pre.abs().topk(self.k, dim=-1).indices
        return self.decoder(torch.zeros_like(pre).scatter_(-1, kept, pre.gather(-1, kept)))


def plain(x: Tensor, config: SAETrainingConfig) -> TopKSAE:
    """The published loop without its host syncs, with fused Adam."""
    torch.manual_seed(config.seed)
    module = Published(config)
    adam = torch.optim.Adam(module.parameters(), lr=config.learning_rate, fused=True)
    for batch in batches(x, config):
        loss = nn.functional.mse_loss(module(batch), batch)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
    weights = {"W_enc": module.encoder.weight.T, "b_enc": module.encoder.bias}
    return as_ours(config, {**weights, "W_dec": module.decoder.weight.T, "b_dec": module.decoder.bias}, "abs", False)


def sae_lens(x: Tensor, config: SAETrainingConfig) -> TopKSAE:
    """SAELens' own trainer with its AbsTopK SAE."""
    from sae_lens.config import SAETrainerConfig
    from sae_lens.registry import get_sae_training_class
    from sae_lens.training.sae_trainer import SAETrainer

    torch.manual_seed(config.seed)
    module, module_config = get_sae_training_class("abstopk")
    sae = module(module_config(d_in=D_IN, d_sae=config.d_sae, k=config.k, rescale_acts_by_decoder_norm=False))
    settings = SAETrainerConfig(
        total_training_samples=config.epochs * len(x),
        train_batch_size_samples=config.batch_size,
        lr=config.learning_rate,
        lr_end=config.learning_rate,
    )
    SAETrainer(settings, sae, batches(x, config)).fit()
    return as_ours(config, dict(sae.named_parameters()), "abs", True)


def dictionary_learning(x: Tensor, config: SAETrainingConfig) -> TopKSAE:
    """dictionary-learning's TopKTrainer, without its auxiliary loss."""
    if importlib.util.find_spec("nnsight") is None:  # its package imports it, its trainer does not use it
        sys.modules.setdefault("nnsight", types.SimpleNamespace(LanguageModel=None))  # type: ignore[arg-type]
    from dictionary_learning.trainers.top_k import TopKTrainer

    steps = config.epochs * -(-len(x) // config.batch_size)
    trainer = TopKTrainer(
        steps, D_IN, config.d_sae, config.k, 14, "codi", lr=config.learning_rate, auxk_alpha=0.0,
        warmup_steps=1, seed=config.seed, device="cpu",
    )  # fmt: skip
    for step, batch in enumerate(batches(x, config)):
        trainer.update(step, batch)
    ae = trainer.ae
    weights = {"W_enc": ae.encoder.weight.T, "b_enc": ae.encoder.bias}
    return as_ours(config, {**weights, "W_dec": ae.decoder.weight.T, "b_dec": ae.b_dec}, "relu", True)


def ours(products: str) -> Callable[[Tensor, SAETrainingConfig], TopKSAE]:
    """Our trainer with this kind of products."""

    def train(x: Tensor, config: SAETrainingConfig) -> TopKSAE:
        return train_many([SAEJob(x, config)], products=products)[0].sae

    return train


def as_ours(config: SAETrainingConfig, weights: dict[str, Tensor], rule: str, subtract: bool) -> TopKSAE:
    """Another trainer's weights in our module, so that one function measures all."""
    sae = TopKSAE(SAEConfig(D_IN, config.d_sae, config.k, rule, apply_b_dec_to_input=subtract))
    sae.load_state_dict({name: weights[name].detach() for name in sae.state_dict()})
    return sae.requires_grad_(False)


TRAINERS = {
    "plain torch": plain,
    "sae-lens": sae_lens,
    "dictionary-learning": dictionary_learning,
    "codi-int, float32": ours("float32"),
    "codi-int, bfloat16 products": ours("bfloat16"),
}


def available() -> list[str]:
    """Trainers that can run here."""
    missing = importlib.util.find_spec("dictionary_learning") is None
    return [name for name in TRAINERS if not (missing and name == "dictionary-learning")]


def run(shapes: list[tuple[int, int]], names: list[str], epochs: int, repeats: int) -> list[Row]:
    """Every trainer on every shape, repeats interleaved."""
    train, held_out = spectrum_rows()
    rows = []
    for d_sae, k in shapes:
        config = SAETrainingConfig(d_sae=d_sae, k=k, epochs=epochs)
        wall: dict[str, list[float]] = {name: [] for name in names}
        busy: dict[str, list[float]] = {name: [] for name in names}
        saes: dict[str, TopKSAE] = {}
        for _ in range(repeats):
            for name in names:
                start, busy_start = time.perf_counter(), time.process_time()
                saes[name] = TRAINERS[name](train, config)
                wall[name].append(time.perf_counter() - start)
                busy[name].append(time.process_time() - busy_start)
        for name in names:
            held, seen = measure(saes[name], held_out), measure(saes[name], train)
            medians = statistics.median(wall[name]), statistics.median(busy[name])
            rows.append(Row(name, d_sae, k, *medians, held.explained_variance, seen.dead_share))
            print(f"{name:28} d_sae {d_sae:5} k {k:4} {medians[0]:7.2f} s  ({medians[1]:.2f} s of processor)  "
                  f"EV {held.explained_variance:.4f}  dead {seen.dead_share:.3f}", flush=True)  # fmt: skip
    return rows


def main() -> None:
    """Run, print, and write the rows beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", action="store_true", help="the 12 SAEs of the published grid")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="names of trainers")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shapes = [(d, k) for d in (512, 1024, 2048) for k in (5, 10, 20, 100)] if arguments.grid else [(512, 100)]
    rows = run(shapes, arguments.only or available(), arguments.epochs, arguments.repeats)
    totals = {name: [sum(getattr(row, kind) for row in rows if row.trainer == name)
                     for kind in ("seconds", "cpu_seconds")] for name in TRAINERS}  # fmt: skip
    for name, (wall, busy) in totals.items():
        print(f"{name:28} {wall:8.2f} s in all ({busy:.2f} s of processor)" if wall else f"{name:28} not measured")
    RESULTS.mkdir(exist_ok=True)
    settings = {"epochs": arguments.epochs, "repeats": arguments.repeats, "threads": torch.get_num_threads()}
    out = {**settings, "torch": torch.__version__, "rows": [asdict(row) for row in rows], "totals": totals}
    name = "sae_train_cpu_grid.json" if arguments.grid else "sae_train_cpu.json"
    (RESULTS / name).write_text(json.dumps(out, indent=2) + "\n")


if __name__ == "__main__":
    main()
