"""The TopK encoder, a training step and the published sweep on a GPU, beside what else does the same; see `gpu.py`.

Beside the encoder, on the same tensors: `torch.topk(x @ W + b)`, the same under torch.compile, and sparsify's (relu,
then topk). Beside the training step: the same step by autograd through plain torch, and one as sparsify makes it (ReLU
and topk, decoding as an embedding bag), as it is and under torch.compile; all with products in bfloat16 and fused Adam.
Times are medians of CUDA events (of the wall clock elsewhere); every encoder's sets are compared with those of float64
outside a tie band. The sweep is set against the traffic that Adam cannot avoid, at the measured copy bandwidth.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from codi_int.sae import SAETrainingConfig, decode_topk, encode_topk
from codi_int.sae.many import SAEJob, train_many

ADAM_BYTES = 32
"""memory traffic of one weight in one step: gradient written; weight, gradient, two moments read; all but it written"""
H200 = {"products": 790e12, "bandwidth": 4.3e12}
"""bfloat16 operations and bytes per second"""
BATCH, D_IN = 8192, 2048
SHAPES = [(d, k) for d in (32768, 65536, 131072) for k in (32, 100)]
SWEEP_ROWS, SWEEP_D_SAE, SWEEP_K = 5978, (512, 1024, 2048), (5, 10, 20, 100)


@dataclass(frozen=True)
class Row:
    """One measurement."""

    part: str
    """encode, step or sweep"""
    what: str
    """which implementation"""
    d_sae: int
    """features; 0 for the sweep, which mixes them"""
    k: int
    """features kept; 0 for the sweep"""
    milliseconds: float | None
    """median; None: not measured"""
    agreement: float | None = None
    """encode: share of the float64 choices outside the tie band that were kept"""
    share_of_floor: float | None = None
    """sweep: the least time that Adam's memory traffic takes, over the time measured"""


def median_ms(call: Callable[[], object], repeats: int, device: str) -> float:
    """Median time of a call after two to warm up."""
    times = []
    for turn in range(repeats + 2):
        if device == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            torch.cuda.synchronize()
            spent = start.elapsed_time(end)
        else:
            began = time.perf_counter()
            call()
            spent = (time.perf_counter() - began) * 1e3
        if turn >= 2:
            times.append(spent)
    return statistics.median(times)


def wait_for(device: str) -> None:
    """Until everything is done."""
    if device == "cuda":
        torch.cuda.synchronize()


def plain_encoder(x: Tensor, W: Tensor, b: Tensor, k: int) -> Tensor:
    """`torch.topk` of the dense pre-activations."""
    return torch.addmm(b, x, W).topk(k, dim=1).indices


def sparsify_encoder(x: Tensor, W: Tensor, b: Tensor, k: int) -> Tensor:
    """sparsify's forward pass: linear, ReLU, unsorted topk."""
    return nn.functional.linear(x, W.T, b).relu().topk(k, dim=1, sorted=False).indices


def our_encoder(x: Tensor, W: Tensor, b: Tensor, k: int) -> Tensor:
    """The kernels."""
    return encode_topk(x, W, b, k, "relu", impl="triton").indices


def agreement(indices: Tensor, x: Tensor, W: Tensor, b: Tensor, k: int) -> float:
    """Share of the features clearly above the border in float64, on 64 rows, that were kept."""
    exact = torch.addmm(b[None].double(), x[:64].double(), W.double())
    border = exact.topk(k, dim=1).values[:, -1:]
    sure = exact > border + 0.02 * border.abs()
    kept = torch.zeros_like(sure).scatter(1, indices[:64], True)
    return float((kept & sure).sum() / sure.sum().clamp(min=1))


def encoders(n: int, d_in: int, shapes: list[tuple[int, int]], device: str, repeats: int) -> list[Row]:
    """Every encoder on every shape, in bfloat16."""
    rows = []
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d_in, generator=generator).to(device, torch.bfloat16)
    calls = {"codi-int": our_encoder, "torch.topk": plain_encoder, "sparsify": sparsify_encoder}
    if device == "cuda":
        calls["torch.compile"] = torch.compile(plain_encoder)
    for d_sae, k in shapes:
        W = (torch.randn(d_in, d_sae, generator=generator) / d_in**0.5).to(device, torch.bfloat16)
        b = torch.zeros(d_sae, device=device, dtype=torch.bfloat16)
        for name, call in calls.items():
            share = agreement(call(x, W, b, k), x, W, b, k)
            spent = median_ms(lambda call=call, W=W, b=b, k=k: call(x, W, b, k), repeats, device)  # type: ignore[misc]
            rows.append(report(Row(part="encode", what=name, d_sae=d_sae, k=k, milliseconds=spent, agreement=share)))
    return rows


def train_step(encode_decode: Callable[[Tensor, list[Tensor]], Tensor], x: Tensor, d_sae: int) -> Callable[[], None]:
    """A training step with fused Adam around an encode-decode function of (x, [W_enc, b_enc, W_dec, b_dec])."""
    d_in = x.shape[1]
    shapes = ((d_in, d_sae), (d_sae,), (d_sae, d_in), (d_in,))
    weights = [(torch.randn(*shape, device=x.device) / d_in**0.5).requires_grad_() for shape in shapes]
    adam = torch.optim.Adam(weights, lr=1e-3, fused=True)

    def step() -> None:
        loss = (encode_decode(x, weights) - x).float().square().mean()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()

    return step


def our_step(k: int, impl: str) -> Callable[[Tensor, list[Tensor]], Tensor]:
    """Encode and decode through the entry point."""

    def run(x: Tensor, weights: list[Tensor]) -> Tensor:
        W_enc, b_enc, W_dec, b_dec = (weight.to(x.dtype) for weight in weights)
        kept = encode_topk(x, W_enc, b_enc, k, "relu", impl=impl)
        return decode_topk(kept.values, kept.indices, W_dec, b_dec, impl=impl)

    return run


def sparsify_like(k: int) -> Callable[[Tensor, list[Tensor]], Tensor]:
    """As sparsify does it: linear, ReLU, unsorted topk; the decoder is an embedding bag."""

    def run(x: Tensor, weights: list[Tensor]) -> Tensor:
        W_enc, b_enc, W_dec, b_dec = (weight.to(x.dtype) for weight in weights)
        best = torch.addmm(b_enc, x, W_enc).relu().topk(k, dim=1, sorted=False)
        return nn.functional.embedding_bag(best.indices, W_dec, per_sample_weights=best.values, mode="sum") + b_dec

    return run


def steps(n: int, d_in: int, shapes: list[tuple[int, int]], device: str, repeats: int) -> list[Row]:
    """Every training step on every shape."""
    x = torch.randn(n, d_in, generator=torch.Generator().manual_seed(0)).to(device, torch.bfloat16)
    rows = []
    for d_sae, k in shapes:
        made = {
            "codi-int": our_step(k, "triton"),
            "plain torch": our_step(k, "eager"),
            "sparsify-like": sparsify_like(k),
        }
        if device == "cuda":
            made["torch.compile"] = torch.compile(sparsify_like(k))
        for name, encode_decode in made.items():
            spent = median_ms(train_step(encode_decode, x, d_sae), repeats, device)
            rows.append(report(Row("step", name, d_sae, k, spent)))
    return rows


def copy_bandwidth(device: str) -> float:
    """Bytes per second, read and written, of copying a tensor."""
    source = torch.empty(2**28 if device == "cuda" else 2**22, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / (median_ms(lambda: target.copy_(source), 10, device) / 1e3)


def sweep_weights(d_in: int, d_saes: tuple[int, ...], sites: int) -> int:
    """Weights of all SAEs of the sweep."""
    return sites * len(SWEEP_K) * sum(d_sae * (2 * d_in + 1) + d_in for d_sae in d_saes)


def floors(sites: int = 96, epochs: int = 25) -> dict[str, float]:
    """Milliseconds that an H200 needs at least: products or Adam's memory traffic."""
    out = {}
    for d_sae in sorted({d for d, _ in SHAPES}):
        out[f"encode, d_sae {d_sae}"] = 2 * BATCH * D_IN * d_sae / H200["products"] * 1e3
    adam = ADAM_BYTES * 65536 * (2 * D_IN + 1) / H200["bandwidth"] * 1e3
    out["step, d_sae 65536"] = out["encode, d_sae 65536"] + adam
    weights, steps = sweep_weights(D_IN, SWEEP_D_SAE, sites), epochs * -(-SWEEP_ROWS // 256)
    out["sweep, Adam"] = ADAM_BYTES * weights * steps / H200["bandwidth"] * 1e3
    out["sweep, dense products"] = 5 * weights * SWEEP_ROWS * epochs / H200["products"] * 1e3
    return out


def sweep(n: int, d_in: int, d_saes: tuple[int, ...], sites: int, device: str, epochs: int) -> list[Row]:
    """The published sweep: sites x d_sae x four k, 25 epochs; once in float32 and once with bfloat16 products."""
    rows = []
    data = [torch.randn(n, d_in, device=device) for _ in range(sites)]
    recipes = [SAETrainingConfig(d_sae=d, k=min(k, d), epochs=epochs) for d in d_saes for k in SWEEP_K]
    n_steps = epochs * -(-n // recipes[0].batch_size)
    floor = ADAM_BYTES * sweep_weights(d_in, d_saes, sites) * n_steps / copy_bandwidth(device) * 1e3
    for products in ("float32", "bfloat16"):
        began = time.perf_counter()
        grid = [replace(recipe, products=products) for recipe in recipes]
        train_many([SAEJob(x, recipe) for x in data for recipe in grid])  # drawing the initial weights included
        wait_for(device)
        spent = (time.perf_counter() - began) * 1e3
        name = f"codi-int, {products}, {sites * len(recipes)} SAEs"
        rows.append(report(Row("sweep", name, 0, 0, spent, share_of_floor=floor / spent)))
    return rows


def report(row: Row) -> Row:
    """Print a row as soon as it is there."""
    spent = "not measured" if row.milliseconds is None else f"{row.milliseconds:10.3f} ms"
    share = "" if row.agreement is None else f"  agreement {row.agreement:.4f}"
    share += "" if row.share_of_floor is None else f"  share of the floor {row.share_of_floor:.2f}"
    print(f"{row.part:7} {row.what:36} d_sae {row.d_sae:7} k {row.k:4} {spent}{share}", flush=True)
    return row


def unmeasured() -> list[Row]:
    """All rows of a run with a GPU, empty."""
    names = ("codi-int", "torch.topk", "sparsify", "torch.compile")
    rows = [report(Row("encode", name, d, k, None)) for d, k in SHAPES for name in names]
    names = ("codi-int", "plain torch", "sparsify-like", "torch.compile")
    rows += [report(Row("step", name, 65536, k, None)) for k in (32, 100) for name in names]
    return rows + [report(Row("sweep", f"codi-int, {kind}", 0, 0, None)) for kind in ("float32", "bfloat16")]


def measure(device: str, quick: bool, repeats: int, sites: int) -> list[Row]:
    """All three parts, with `quick` on toy sizes."""
    if quick:
        rows = encoders(4, 32, [(300, 4)], device, 1) + steps(4, 32, [(40, 4)], device, 1)
        return rows + sweep(256, 16, d_saes=(32,), sites=2, device=device, epochs=1)
    rows = encoders(BATCH, D_IN, SHAPES, device, repeats)
    rows += steps(BATCH, D_IN, [(65536, 32), (65536, 100)], device, repeats)
    return rows + sweep(SWEEP_ROWS, D_IN, d_saes=SWEEP_D_SAE, sites=sites, device=device, epochs=25)
