"""Everything that is to be known of a GPU, in one command: encoder, training step, sweep, and a LLaMA-1B-shaped screen.

    python benchmarks/gpu.py            # without a GPU every row is "not measured"
    python benchmarks/gpu.py --quick    # the same on toy sizes, on any device

Needs torch with CUDA, triton, this checkout on PYTHONPATH and its plain dependencies; no network, no sae-lens, no
transformer-lens, no transformers. The parts: `_gpu_kernels.py` and `_gpu_screen.py`. With an H200 the goals are: encode
at 65,536 features within 1.3 times its product, a step within 1.3 times its floor, the sweep in 45 s, a cell in 10 s.
"""

import sys
from dataclasses import asdict

import _common as common

try:
    import _gpu_kernels as kernels
    import _gpu_screen as screen
    import torch
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is not installed.\nInstall it, or run inside the environment of `make test`.")

COLUMNS = {
    "how": "how",
    "seconds": "seconds",
    "share_of_floor": "share of the floor",
    "share_close": "share of close rows",
    "rows_per_chunk": "rows per chunk",
    "pairs_per_s": "pairs per second",
}


def main() -> None:
    """Measure what this machine can measure, print all rows, and keep them."""
    parser = common.arguments(__doc__)
    parser.add_argument("--repeats", type=int, default=20, help="of each encoder and step (default 20)")
    parser.add_argument("--sites", type=int, default=96, help="layers x positions of the sweep (default 96)")
    parser.add_argument("--sample", type=int, default=3, help="features that are re-run with hooks (default 3)")
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    measured = given.quick or device == "cuda"
    rows = kernels.measure(device, given.quick, given.repeats, given.sites) if measured else kernels.unmeasured()
    for name, spent in kernels.floors(given.sites).items():
        print(f"floor of an H200: {name:32} {spent:10.2f} ms")
    cells = screen.measure(device, given.quick, 1 if given.quick else given.sample) if measured else screen.unmeasured()
    print()
    # what a row does not have is no measurement that is missing
    blank = dict.fromkeys(COLUMNS, "") if measured else dict.fromkeys(COLUMNS)
    common.show([{**blank, **cell} for cell in cells], COLUMNS)
    document = {
        "floors_h200_ms": kernels.floors(given.sites),
        "kernels": [asdict(row) for row in rows],
        "screen": cells,
    }
    common.write("gpu", document, given.quick)


if __name__ == "__main__":
    main()
