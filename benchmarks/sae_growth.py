"""How time and memory of SAE training grow with d_sae, k, rows and the number of SAEs trained in one call.

    python benchmarks/sae_growth.py

Ours (`train_many`, float32 and bfloat16 products) and a plain torch loop with fused Adam, on the synthetic rows of
sae_train_cpu.py (d_in 2048, batch 256, Adam 1e-3, two epochs; twelve times as long for the published 25 is a fair
guess, for no epoch differs from another). Every point is a process of its own. Memory is how far the process's peak
rises above what it held before it trained.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import _common as common
import torch
from sae_train_cpu import plain, spectrum_rows
from torch import Tensor

from codi_int.report.growth import growth_figure
from codi_int.sae import SAETrainingConfig
from codi_int.sae.many import SAEJob, train_many

ROWS = common.QUICK / "sae_growth_rows.pt"
PEERS = ("codi-int", "codi-int, bfloat16 products", "plain torch")
BASE = {"d_sae": 512, "k": 20, "rows": 2048, "saes": 1}
"""what stays as it is while another size varies"""
POINTS = {
    "d_sae": (128, 512, 1024, 2048, 4096),
    "k": (5, 20, 50, 100, 256),
    "rows": (512, 1024, 2048, 4096),
    "saes": (1, 2, 4, 8),
}
QUICK_POINTS = {"d_sae": (64, 128), "saes": (1, 2)}
EPOCHS = 2


def train(peer: str, x: Tensor, configs: Sequence[SAETrainingConfig]) -> None:
    """Train one SAE per recipe."""
    if peer == "plain torch":
        for config in configs:
            plain(x, config)
        return
    products = "bfloat16" if "bfloat16" in peer else "float32"
    train_many([SAEJob(x, replace(config, products=products)) for config in configs])


def point(peer: str, d_sae: int, k: int, rows: int, saes: int) -> dict[str, Any]:
    """One measurement in this process alone, after a step of a small SAE to warm up."""
    x = torch.load(ROWS, mmap=True)[:rows].clone()
    config = SAETrainingConfig(d_sae=d_sae, k=k, epochs=EPOCHS)
    train(peer, x[:256], [replace(config, d_sae=16, k=4, epochs=1)])
    before = common.forget_peak()
    started = time.perf_counter()
    train(peer, x, [replace(config, seed=seed) for seed in range(saes)])
    seconds = time.perf_counter() - started
    return {
        "d_sae": d_sae,
        "k": k,
        "rows": rows,
        "saes": saes,
        "seconds": seconds,
        "memory_mib": common.peak_mib() - before,
    }


def points(varied: dict[str, Sequence[int]]) -> list[dict[str, Any]]:
    """All measurements, one size varied at a time."""
    out = []
    for name, sizes in varied.items():
        for size in sizes:
            for peer in PEERS:
                options = [f"--{key}={value}" for key, value in {**BASE, name: size}.items()]
                out.append({"peer": peer, "varies": name, **common.part(__file__, peer, *options)})
    return out


def save_rows(path: Path) -> None:
    """The synthetic rows, where the single measurements find them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(spectrum_rows()[0], path)


def main() -> None:
    """All points, the table, the JSON and the picture."""
    parser = common.arguments(__doc__)
    parser.add_argument("--part", choices=PEERS, help=argparse.SUPPRESS)
    for name in BASE:
        parser.add_argument(f"--{name}", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(point(given.part, given.d_sae, given.k, given.rows, given.saes)))
        return
    save_rows(ROWS)
    varied = QUICK_POINTS if given.quick else POINTS
    rows = points(varied)
    ROWS.unlink()
    columns = {
        "varies": "varies",
        "peer": "trainer",
        "d_sae": "d_sae",
        "k": "k",
        "rows": "rows",
        "saes": "SAEs",
        "seconds": "seconds",
        "memory_mib": "memory MiB",
    }
    common.show(rows, columns)
    path = common.write("sae_growth", {"base": BASE, "epochs": EPOCHS, "rows": rows}, given.quick)
    fixed = ", ".join(f"{name} {size:,}" for name, size in BASE.items())
    caption = f"d_in 2048, {EPOCHS} epochs; sizes that do not vary: {fixed}"
    growth_figure(rows, list(varied), ["seconds", "memory_mib"], path.parent, "sae_growth", caption=caption)


if __name__ == "__main__":
    main()
