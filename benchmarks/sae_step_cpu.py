"""The parts of a training step on a CPU, each way of doing them beside the other.

    python benchmarks/sae_step_cpu.py

Three tables, batch 256, d_in 2048, random rows and weights, medians of interleaved repeats:

  selection   `torch.topk` with its ties repaired (`eager.select`) against sorted blocks (`eager.kept`)
  gradients   whole products (`dense`) against sums over kept rows (`sparse`), all gradients multiplied out
  adam        gradients of all weights made and applied in one go, against a piece at a time

They are what the thresholds in codi_int/sae/gradients.py and the size of pieces in codi_int/sae/adam.py rest on.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import _common as common
import torch
from torch import Tensor

from codi_int.sae.adam import Adam
from codi_int.sae.gradients import Weights, dense, sparse
from codi_int.sae.kernels import eager

BATCH, D_IN = 256, 2048
SHAPES = tuple((d_sae, k) for d_sae in (512, 1024, 2048) for k in (5, 10, 20, 100, 256))


def milliseconds(ways: Mapping[str, Callable[[int], object]], repeats: int) -> dict[str, float]:
    """Median time of each way, called with the number of the repeat."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 3):
        for name, way in ways.items():
            started = time.perf_counter()
            way(repeat)
            spent[name].append((time.perf_counter() - started) * 1e3)
    return {name: statistics.median(times[3:]) for name, times in spent.items()}


def weights(d_sae: int) -> Weights:
    """Random weights of one SAE."""
    return Weights(
        torch.randn(d_sae, D_IN) * 0.02, torch.zeros(d_sae), torch.randn(d_sae, D_IN) * 0.02, torch.zeros(D_IN)
    )


def selection(d_sae: int, k: int, repeats: int) -> dict[str, Any]:
    """The k largest of each row; other rows in every repeat, so that no branch is foreseen."""
    keys = [torch.randn(BATCH, d_sae).abs() for _ in range(8)]
    ways = {"topk": lambda i: eager.select(keys[i % 8], k), "sorted blocks": lambda i: eager.kept(keys[i % 8], k)}
    return {"d_sae": d_sae, "k": k, **milliseconds(ways, repeats)}


@torch.no_grad()
def gradients(d_sae: int, k: int, dtype: torch.dtype, repeats: int) -> dict[str, Any]:
    """Loss and all gradients of one batch."""
    w, x = weights(d_sae), torch.randn(BATCH, D_IN)
    narrow = w._replace(E=w.E.to(dtype), D=w.D.to(dtype))

    def whole(_: int) -> list[Tensor]:
        step = dense(w, narrow, x=x, k=k, ks=None, rule="abs", subtract=False)
        return [step.grad(name, slice(None)) for name in Weights._fields]

    def kept(_: int) -> list[Tensor]:
        step = sparse(w, narrow, x=x, k=k, rule="abs", subtract=False)
        return [step.grad(name, slice(None)) for name in Weights._fields]

    found = milliseconds({"whole products": whole, "kept rows": kept}, repeats)
    return {"d_sae": d_sae, "k": k, "products": str(dtype).removeprefix("torch."), **found}


@torch.no_grad()
def updates(d_sae: int, k: int, dtype: torch.dtype, repeats: int) -> dict[str, Any]:
    """Gradients of one batch multiplied out and applied, narrow copies written."""
    x = torch.randn(BATCH, D_IN)

    def way(whole: bool) -> Callable[[int], None]:
        stack = Adam(Weights(*(value[None] for value in weights(d_sae))), [1e-3], dtype, whole=whole)
        w, narrow = (Weights(*(value[0] for value in values)) for values in (stack.weights, stack.narrow))
        step = sparse(w, narrow, x=x, k=k, rule="abs", subtract=False)
        return lambda _: stack.step(lambda name, some: step.grad(name, some)[None])

    found = milliseconds({"in one go": way(True), "in pieces": way(False)}, repeats)
    return {"d_sae": d_sae, "k": k, "products": str(dtype).removeprefix("torch."), **found}


def main() -> None:
    """Run, print, and write the rows beside this file."""
    parser = common.arguments(__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    shapes, repeats = (SHAPES[:2], 2) if given.quick else (SHAPES, given.repeats)
    kinds = (torch.float32, torch.bfloat16)
    out = {
        "repeats": repeats,
        "selection": [selection(*shape, repeats) for shape in shapes],
        "gradients": [gradients(*shape, dtype, repeats) for dtype in kinds for shape in shapes],
        "adam": [updates(*shape, dtype, repeats) for dtype in kinds for shape in shapes if shape[1] < 256],
    }
    for name in ("selection", "gradients", "adam"):
        print(f"\n{name}, ms")
        common.show(out[name], {key: key.replace("_", " ") for key in out[name][0]})
    common.write("sae_step_cpu", out, given.quick)


if __name__ == "__main__":
    main()
