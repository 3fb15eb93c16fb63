"""Every kernel compiled for an H100 or H200 (sm_90) on a machine without a GPU, and what the compiler made of it.

    python benchmarks/compile_kernels.py                 # with the Triton that is installed
    python benchmarks/compile_kernels.py --triton 3.6.0  # with another one, which goes into a folder of its own
    python benchmarks/compile_kernels.py --quick         # what the test suite compiles

Those of SAEs and those of a Llama block: the real entry points are called with fake tensors that claim to lie on a
GPU; each launch becomes a compilation. A kernel's registers, spills, shared memory and instructions are read off what
ptxas made (cuobjdump and nvdisasm come with Triton). Nothing is run, so nothing is said about speed.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "compile_kernels.json"
SHARED_MEMORY = 227 * 1024
"""bytes that a block may use on an H100"""
ROWS, WIDTH = 4096, 2048
"""rows and d_in of the activations"""
SIZES = (512, 1024, 2048, 4096, 16_384, 65_536, 131_072)
KS = (5, 32, 100)
DTYPES = ("bfloat16", "float32")
RULES = ("abs", "relu")
ALL = tuple((dtype, d_sae, k, rule) for dtype in DTYPES for d_sae in SIZES for k in KS for rule in RULES)
"""dtype, d_sae, k and rule"""
QUICK = (
    ("bfloat16", 512, 5, "relu"),
    ("bfloat16", 512, 100, "abs"),
    ("bfloat16", 131_072, 100, "abs"),
    ("bfloat16", 131_072, 5, "relu"),
    ("float32", 512, 100, "relu"),
    ("float32", 131_072, 100, "abs"),
)
"""rows that fit into registers and rows that do not, the smallest and the largest k, each with both dtypes and rules"""


@dataclass(frozen=True)
class Compiled:
    """One kernel as it would run."""

    kernel: str
    """its name"""
    dtype: str
    """of the activations that it was first compiled for"""
    constants: dict[str, Any]
    """its compile-time arguments"""
    registers: int
    """per thread"""
    spills: int
    """instructions that move registers to local memory or back"""
    shared: int
    """bytes of shared memory per block"""
    wgmma: int
    """warp-group matrix instructions (HGMMA)"""
    products: int
    """all matrix instructions"""
    instructions: int
    """all"""
    flushes: int
    """arithmetic that flushes denormals to zero"""


class _Target:
    """A driver without a device behind it."""

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int = 0) -> int:
        return 0

    def get_device_capability(self, device: int = 0) -> tuple[int, int]:
        return 9, 0


def compile_all(cases: tuple[tuple[str, int, int, str], ...] = ALL) -> list[Compiled]:
    """Both entry points, forward and backward, in all cases; each distinct kernel once."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction, MockTensor

    driver.set_active(_Target())
    found: dict[str, Compiled] = {}
    plain, dtype = JITFunction.run, ""

    def compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        # an address is asked for its alignment, and a fake tensor has none
        stand_ins = {
            name: MockTensor(value.dtype) if isinstance(value, torch.Tensor) else value
            for name, value in kwargs.items()
        }
        kernel = plain(self, *args, grid=grid, warmup=True, **stand_ins)
        if kernel.hash not in found:
            constants = {name: value for name, value in kwargs.items() if name.isupper()}
            found[kernel.hash] = _read(kernel, self.__name__, dtype, constants)
        return kernel

    JITFunction.run = compile_only
    try:
        with FakeTensorMode():
            for dtype, d_sae, k, rule in cases:
                _call(d_sae, k, rule, getattr(torch, dtype))
            for dtype in dict.fromkeys(case[0] for case in cases):
                _call_blocks(getattr(torch, dtype))
    finally:
        JITFunction.run = plain
    return list(found.values())


def _call(d_sae: int, k: int, rule: str, dtype: Any) -> None:
    """One encoder and one decoder, forward and backward, on tensors that claim to be on a GPU."""
    import torch

    from codi_int.sae import kernels
    from codi_int.sae.kernels.autograd import DecodeTopK, EncodeTopK

    def tensor(*shape: int) -> Any:
        return torch.empty(*shape, dtype=dtype, device="cuda")

    x, W_enc, b_enc = tensor(ROWS, WIDTH), tensor(WIDTH, d_sae), tensor(d_sae)
    W_dec, b_dec = tensor(d_sae, WIDTH), tensor(WIDTH)
    kept = kernels.encode_topk(x, W_enc, b_enc, k, rule=rule, impl="triton")
    decoded = kernels.decode_topk(kept.values, kept.indices, W_dec, b_dec, impl="triton")
    # by hand: torch's own backward pass asks for a device, which there is none of
    saved = SimpleNamespace(
        saved_tensors=(x, W_enc, kept.values, kept.indices), rule=rule, needs_input_grad=(True,) * 4
    )
    EncodeTopK.backward(saved, torch.empty_like(kept.values))
    saved = SimpleNamespace(saved_tensors=(kept.values, kept.indices, W_dec), needs_input_grad=(True,) * 4)
    DecodeTopK.backward(saved, torch.empty_like(decoded))


def _call_blocks(dtype: Any) -> None:
    """What stands between the products of a LLaMA-3.2-1B's blocks, and the reading of its logits."""
    import torch

    from codi_int.model.kernels import llama_triton as kernels
    from codi_int.model.kernels.reference import Shared, Slots

    def tensor(*shape: int) -> Any:
        return torch.empty(*shape, dtype=dtype, device="cuda")

    groups, each, heads, n_heads, width = 128, 16, 8, 32, 64
    rows, prefix, capacity = groups * each, 80, 20
    first = torch.empty(groups, dtype=torch.int32, device="cuda")
    shared = Shared(tensor(groups, heads, prefix, width), tensor(groups, heads, prefix, width), first)
    for t in (1, 8):
        own = Slots(tensor(groups, heads, each, capacity, width), tensor(groups, heads, each, capacity, width), 3)
        q, k, v = (tensor(rows, t, n, width) for n in (n_heads, heads, heads))
        rotary = tensor(rows, t, 1, width), tensor(rows, t, 1, width)
        kernels.attend(kernels.rotate_store(q, k, v, rotary, own), shared, own, 0.125)
        x = tensor(rows, t, n_heads * width)
        kernels.add_norm(x, None, tensor(n_heads * width), 1e-5)
        kernels.add_norm(x, x, tensor(n_heads * width), 1e-5)
        kernels.silu_mul(tensor(rows, t, 8192), tensor(rows, t, 8192))
        ids = torch.empty(rows, t, dtype=torch.int64, device="cuda")
        # as after leaving out the last id; fake tensors of a GPU cannot be sliced without one
        logits = tensor(rows, t, 128259).as_strided((rows, t, 128258), (t * 128259, 128259, 1))
        kernels.read_logits(logits, ids)


def _read(kernel: Any, name: str, dtype: str, constants: dict[str, Any]) -> Compiled:
    """What ptxas made of a kernel."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(kernel.asm["cubin"])
        usage = _tool("cuobjdump", "--dump-resource-usage", str(file))
        code = _tool("nvdisasm", "-c", str(file))
    registers = max(int(number) for number in re.findall(r"REG:(\d+)", usage))
    operations = re.findall(r"^\s*(?:/\*[0-9a-f]+\*/)?\s*(?:@!?U?P\d+\s+)?([A-Z][A-Z0-9_.]*)", code, re.MULTILINE)
    return Compiled(
        kernel=name,
        dtype=dtype,
        constants=constants,
        registers=registers,
        spills=sum(word.split(".")[0] in ("STL", "LDL") for word in operations),
        shared=int(kernel.metadata.shared),
        wgmma=sum(word.startswith("HGMMA") for word in operations),
        products=sum(word.split(".")[0] in ("HGMMA", "HMMA", "QGMMA") for word in operations),
        instructions=len(operations),
        # integers are divided by way of a float, whose conversion has FTZ in its name and nothing to flush
        flushes=sum("FTZ" in word.split(".") and not word.startswith("F2I") for word in operations),
    )


def _tool(name: str, *words: str) -> str:
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    return subprocess.run([str(tool), *words], check=True, capture_output=True, text=True).stdout


def _with_triton(version: str, words: list[str]) -> int:
    """The same with another Triton, without touching what is installed."""
    with tempfile.TemporaryDirectory() as folder:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
        subprocess.run([*install, f"triton=={version}"], check=True)
        path = os.pathsep.join([folder, str(ROOT), os.environ.get("PYTHONPATH", "")])
        return subprocess.run([sys.executable, __file__, *words], env={**os.environ, "PYTHONPATH": path}).returncode


def main() -> int:
    """Compile, print a table or one JSON document; exit code 1 where a kernel spills or asks for too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triton", help="another version, such as 3.6.0")
    parser.add_argument("--quick", action="store_true", help="what the test suite compiles")
    parser.add_argument("--json", action="store_true", help="print JSON and keep nothing")
    given = parser.parse_args()
    if given.triton:
        words = [word for word, wanted in (("--quick", given.quick), ("--json", given.json)) if wanted]
        return _with_triton(given.triton, words)
    if os.environ.pop("TRITON_INTERPRET", None):
        raise SystemExit("TRITON_INTERPRET is set: nothing would be compiled. Unset it.")
    with tempfile.TemporaryDirectory() as cache:
        # compiled anew each time: a cache would hide that something no longer compiles
        os.environ["TRITON_CACHE_DIR"] = cache
        found = compile_all(QUICK if given.quick else ALL)
    import triton

    document = {"triton": triton.__version__, "target": "sm_90", "kernels": [asdict(one) for one in found]}
    if given.json:
        print(json.dumps(document))
    else:
        _print(found, triton.__version__)
        if not given.quick:
            kept = RESULT.with_stem(f"{RESULT.stem}-{triton.__version__}")
            kept.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return int(any(one.spills or one.shared > SHARED_MEMORY for one in found))


def _print(found: list[Compiled], version: str) -> None:
    print(f"{len(found)} kernels compiled for sm_90 by Triton {version}")
    names = list(dict.fromkeys((one.kernel, one.dtype) for one in found))
    print(f"{'kernel':<22}{'dtype':<10}{'compiled':>9}{'registers':>11}{'spills':>8}{'shared KiB':>12}{'wgmma':>7}")
    for name, dtype in names:
        rows = [one for one in found if (one.kernel, one.dtype) == (name, dtype)]
        most = {field: max(getattr(one, field) for one in rows) for field in ("registers", "spills", "shared", "wgmma")}
        numbers = f"{len(rows):>9}{most['registers']:>11}{most['spills']:>8}{most['shared'] / 1024:>12.1f}"
        print(f"{name:<22}{dtype:<10}{numbers}{most['wgmma']:>7}")


if __name__ == "__main__":
    sys.exit(main())
