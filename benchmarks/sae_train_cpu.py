"""Training TopK SAEs on a CPU: ours beside SAELens, dictionary-learning and a plain torch loop.

    python benchmarks/sae_train_cpu.py                     # the published configuration: d_sae 512, K 100
    python benchmarks/sae_train_cpu.py --grid              # the published grid of 12, one by one; fewer epochs

What is compared is the same work. Every trainer starts from the same weights and takes the same rows in the same order,
with Adam 1e-3 and batches of 256, and each runs with the number of threads that serves it best. There are two forms:

  published             k largest magnitudes, no bias subtracted: plain torch (fused Adam), SAELens' own trainer, ours
  dictionary-learning   k largest values, bias subtracted, unit decoder rows, encoder tied at the start, which that
                        package's trainer cannot do without: its TopKTrainer and ours

Within a form, explained variance on held-out rows and dead share show that the result is the same. Repeats are
interleaved, medians reported. dictionary-learning is installed as benchmarks/README.md says, or reported as missing.

The rows are synthetic, 7,473 x 2048: clusters along a power-law spectrum and noise, chosen so that 25 epochs at
d_sae 512 come near the published quality (explained variance 0.88 and no dead feature at K = 100; 0.70 and 86% dead at
K = 5). SAELens and dictionary-learning sum the squared error over the 2,048 columns where the published loop takes the
mean, so Adam's eps weighs less with them; that, and the latter's clipping, is what remains between the qualities.
"""

import importlib.util
import os
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

import _common as common
import torch
from torch import Tensor, nn

from codi_int.sae import SAE, SAEConfig, SAETrainingConfig, TopKSAE, measure
from codi_int.sae.config import Provenance
from codi_int.sae.many import SAEJob, train_many
from codi_int.sae.training_start import initial, order_rows

N_TRAIN, N_HELD_OUT, D_IN = 5978, 1495, 2048
NOISE = 0.125
"""share of the variance that has no structure"""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    form: str
    """which kind of SAE, see above"""
    trainer: str
    """who trained"""
    d_sae: int
    """features"""
    k: int
    """features kept"""
    threads: int
    """with which this trainer was fastest"""
    seconds: float
    """wall clock, median over the repeats"""
    cpu_seconds: float
    """processor time of all threads, median over the repeats; what to look at on a machine with other work"""
    explained_variance: float
    """on held-out rows"""
    dead_share: float
    """on training rows"""


@dataclass(frozen=True)
class Data:
    """What is trained on, and what quality is measured on."""

    train: Tensor
    """[5978, 2048]"""
    held_out: Tensor
    """[1495, 2048]"""


def spectrum_rows(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Training and held-out rows: clusters along a power-law spectrum in a random basis, and plain noise."""
    generator = torch.Generator().manual_seed(seed)
    n = N_TRAIN + N_HELD_OUT
    scale = torch.arange(1, D_IN + 1).float() ** -0.75
    centres = torch.randn(400, D_IN, generator=generator)
    of_row = torch.randint(400, (n,), generator=generator)
    z = 0.85 * centres[of_row] + 0.53 * torch.randn(n, D_IN, generator=generator)
    basis = torch.linalg.qr(torch.randn(D_IN, D_IN, generator=generator)).Q
    x = (z * scale) @ basis * 8 + torch.randn(D_IN, generator=generator) * 0.2
    x += torch.randn(n, D_IN, generator=generator) * (NOISE * float(x.var(0).mean()) / (1 - NOISE)) ** 0.5
    return x[:N_TRAIN].contiguous(), x[N_TRAIN:].contiguous()


def start(x: Tensor, config: SAETrainingConfig) -> tuple[SAE, Iterator[Tensor]]:
    """What every trainer gets: the weights to start from, and the batches of all epochs."""
    generator = torch.Generator().manual_seed(config.seed)
    sae = initial(x, config, Provenance(), generator).sae

    def batches() -> Iterator[Tensor]:
        for _ in range(config.epochs):
            for rows in order_rows(len(x), generator).split(config.batch_size):
                yield x[rows]

    return sae.requires_grad_(False), batches()


@torch.no_grad()
def put(layer: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    """Start a layer from these."""
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)


class Published(nn.Module):
    """The published module: two nn.Linear, the k largest magnitudes with their sign."""

    def __init__(self, sae: SAE) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(sae.d_in, sae.d_sae), nn.Linear(sae.d_sae, sae.d_in)
        self.k = sae.config.k
        put(self.encoder, sae.W_enc.T, sae.get_parameter("b_enc"))
        put(self.decoder, sae.W_dec.T, sae.b_dec)

    def forward(self, x: Tensor) -> Tensor:
        pre = self.encoder(x)
        kept = pre.abs().topk(self.k, dim=-1).indices
        return self.decoder(torch.zeros_like(pre).scatter_(-1, kept, pre.gather(-1, kept)))


def plain(x: Tensor, config: SAETrainingConfig) -> TopKSAE:
    """The published loop without its host syncs, with fused Adam."""
    sae, batches = start(x, config)
    module = Published(sae)
    adam = torch.optim.Adam(module.parameters(), lr=config.learning_rate, fused=True)
    for batch in batches:
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

    first, batches = start(x, config)
    module, module_config = get_sae_training_class("abstopk")
    sae = module(
        module_config(
            d_in=x.shape[1],
            d_sae=config.d_sae,
            k=config.k,
            rescale_acts_by_decoder_norm=False,
            apply_b_dec_to_input=False,
        )
    )
    sae.load_state_dict(first.state_dict())
    settings = SAETrainerConfig(
        total_training_samples=config.epochs * len(x),
        train_batch_size_samples=config.batch_size,
        lr=config.learning_rate,
        lr_end=config.learning_rate,
    )
    SAETrainer(settings, sae, batches).fit()
    return as_ours(config, dict(sae.named_parameters()), "abs", False)


def dictionary_learning(x: Tensor, config: SAETrainingConfig) -> TopKSAE:
    """dictionary-learning's TopKTrainer, without its auxiliary loss."""
    if importlib.util.find_spec("nnsight") is None:  # its package imports it, its trainer does not use it
        sys.modules.setdefault("nnsight", types.SimpleNamespace(LanguageModel=None))  # type: ignore[arg-type]
    from dictionary_learning.trainers.top_k import TopKTrainer

    first, batches = start(x, config)
    steps = config.epochs * -(-len(x) // config.batch_size)
    trainer = TopKTrainer(
        steps=steps,
        activation_dim=x.shape[1],
        dict_size=config.d_sae,
        k=config.k,
        layer=14,
        lm_name="codi",
        lr=config.learning_rate,
        auxk_alpha=0.0,
        warmup_steps=1,
        seed=config.seed,
        device="cpu",
    )
    ae = trainer.ae
    put(ae.encoder, first.W_enc.T, first.get_parameter("b_enc"))
    with torch.no_grad():
        ae.decoder.weight.copy_(first.W_dec.T)
    for step, batch in enumerate(batches):
        trainer.update(step, batch)
    weights = {"W_enc": ae.encoder.weight.T, "b_enc": ae.encoder.bias}
    return as_ours(config, {**weights, "W_dec": ae.decoder.weight.T, "b_dec": ae.b_dec}, "relu", True)


def in_its_form(config: SAETrainingConfig) -> SAETrainingConfig:
    """The recipe in dictionary-learning's form."""
    options = {"rule": "relu", "apply_b_dec_to_input": True, "decoder_norm": "unit", "bias_init": "mean"}
    return replace(config, tied_init=True, **options)  # type: ignore[arg-type]


def ours(products: str) -> Callable[[Tensor, SAETrainingConfig], TopKSAE]:
    """Our trainer with this kind of products."""

    def train(x: Tensor, config: SAETrainingConfig) -> TopKSAE:
        return train_many([SAEJob(x, replace(config, products=products))])[0].sae

    return train


def as_ours(config: SAETrainingConfig, weights: dict[str, Tensor], rule: str, subtract: bool) -> TopKSAE:
    """Another trainer's weights in our module, so that one function measures all."""
    sae = TopKSAE(SAEConfig(D_IN, config.d_sae, config.k, rule, apply_b_dec_to_input=subtract))
    sae.load_state_dict({name: weights[name].detach() for name in sae.state_dict()})
    return sae.requires_grad_(False)


TRAINERS: dict[str, dict[str, Callable[[Tensor, SAETrainingConfig], TopKSAE]]] = {
    "published": {
        "plain torch": plain,
        "sae-lens": sae_lens,
        "codi-int, float32": ours("float32"),
        "codi-int, bfloat16 products": ours("bfloat16"),
    },
    "dictionary-learning": {
        "dictionary-learning": dictionary_learning,
        "codi-int, float32": ours("float32"),
        "codi-int, bfloat16 products": ours("bfloat16"),
    },
}
"""form -> trainer -> how to train; the first ones of each form are the peers"""


def trainers(form: str) -> list[str]:
    """Trainers of a form that can run here."""
    missing = form == "dictionary-learning" and importlib.util.find_spec("dictionary_learning") is None
    return [] if missing else list(TRAINERS[form])


def best_threads(form: str, name: str, x: Tensor) -> int:
    """The number of threads with which this trainer is fastest, over two short epochs."""
    config = recipe(form, SAETrainingConfig(d_sae=512, k=100, epochs=2))
    cores = os.cpu_count() or 1
    spent = {}
    for threads in sorted({1, cores // 2 or 1, cores}):
        torch.set_num_threads(threads)
        started = time.perf_counter()
        TRAINERS[form][name](x[:2048], config)
        spent[threads] = time.perf_counter() - started
    return min(spent, key=lambda threads: spent[threads])


def recipe(form: str, config: SAETrainingConfig) -> SAETrainingConfig:
    """The recipe in a form."""
    return config if form == "published" else in_its_form(config)


def one_shape(form: str, config: SAETrainingConfig, threads: dict[str, int], repeats: int, data: Data) -> list[Row]:
    """Every trainer of a form on one shape, repeats interleaved."""
    wall: dict[str, list[float]] = {name: [] for name in threads}
    busy: dict[str, list[float]] = {name: [] for name in threads}
    saes: dict[str, TopKSAE] = {}
    for _ in range(repeats):
        for name in threads:
            torch.set_num_threads(threads[name])
            start, busy_start = time.perf_counter(), time.process_time()
            saes[name] = TRAINERS[form][name](data.train, recipe(form, config))
            wall[name].append(time.perf_counter() - start)
            busy[name].append(time.process_time() - busy_start)
    rows = []
    for name in threads:
        held, seen = measure(saes[name], data.held_out), measure(saes[name], data.train)
        medians = statistics.median(wall[name]), statistics.median(busy[name])
        quality = held.explained_variance, seen.dead_share
        rows.append(Row(form, name, config.d_sae, config.k or 0, threads[name], *medians, *quality))
        print(
            f"{form:20} {name:28} d_sae {config.d_sae:5} k {config.k:4} {medians[0]:7.2f} s "
            f"({medians[1]:.2f} s of processor, {threads[name]} threads)  EV {quality[0]:.4f}  dead {quality[1]:.3f}",
            flush=True,
        )
    return rows


def summary(rows: list[Row]) -> list[dict[str, object]]:
    """For each form and trainer: seconds over all shapes, ratio to the fastest peer, largest difference of quality."""
    out: list[dict[str, object]] = []
    for form in TRAINERS:
        mine = [row for row in rows if row.form == form]
        names = list(dict.fromkeys(row.trainer for row in mine))
        total = {name: sum(row.seconds for row in mine if row.trainer == name) for name in names}
        peers = {name: seconds for name, seconds in total.items() if not name.startswith("codi-int")}
        first = [row for row in mine if row.trainer == names[0]]
        for name in names:
            pairs = list(zip([row for row in mine if row.trainer == name], first, strict=True))
            out.append(
                {
                    "form": form,
                    "trainer": name,
                    "seconds": total[name],
                    "times_faster_than_the_fastest_peer": min(peers.values()) / total[name],
                    "ev_differs_by": max(abs(a.explained_variance - b.explained_variance) for a, b in pairs),
                    "dead_share_differs_by": max(abs(a.dead_share - b.dead_share) for a, b in pairs),
                }
            )
    return out


def dense_gflop(shapes: list[tuple[int, int]], epochs: int, n: int) -> float:
    """Arithmetic of training with whole matrices: five products, two forward and three backward."""
    return sum(5 * 2 * n * D_IN * d_sae for d_sae, _ in shapes) * epochs / 1e9


def main() -> None:
    """Run, print, and write the rows beside this file."""
    parser = common.arguments(__doc__)
    parser.add_argument("--grid", action="store_true", help="the 12 SAEs of the published grid")
    parser.add_argument("--epochs", type=int, help="default 25, for the grid 4")
    parser.add_argument("--repeats", type=int, help="default 3, for the grid 1")
    parser.add_argument("--forms", nargs="*", choices=tuple(TRAINERS), default=list(TRAINERS))
    parser.add_argument("--peers-from", help="folder that holds dictionary-learning, where it is not installed")
    given = parser.parse_args()
    if given.peers_from:
        sys.path.append(given.peers_from)
    shapes = [(d, k) for d in (512, 1024, 2048) for k in (5, 10, 20, 100)] if given.grid else [(512, 100)]
    epochs, repeats = given.epochs or (4 if given.grid else 25), given.repeats or (1 if given.grid else 3)
    if given.quick:
        shapes, epochs, repeats = shapes[:1], 1, 1
    torch.set_num_threads(os.cpu_count() or 1)
    floor = dense_gflop(shapes, epochs, N_TRAIN) / (common.matmul_rate() / 1e9)
    data = Data(*spectrum_rows())
    rows: list[Row] = []
    for form in given.forms:
        threads = {name: best_threads(form, name, data.train) for name in trainers(form)}
        if not threads:
            print(f"{form}: not installed")
            continue
        for d_sae, k in shapes:
            rows += one_shape(form, SAETrainingConfig(d_sae=d_sae, k=k, epochs=epochs), threads, repeats, data)
    totals = summary(rows)
    print()
    common.show(totals, {key: key.replace("_", " ") for key in totals[0]})
    print(f"\nthe dense float32 products alone take {floor:.1f} s here")
    torch.set_num_threads(os.cpu_count() or 1)
    out = {"epochs": epochs, "repeats": repeats, "dense_float32_floor_s": floor, "rows": [asdict(row) for row in rows]}
    name = "sae_train_cpu_grid" if given.grid else "sae_train_cpu"
    common.write(name, {**out, "summary": totals}, given.quick)


if __name__ == "__main__":
    main()
