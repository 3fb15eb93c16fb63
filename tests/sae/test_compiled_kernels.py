"""Every kernel compiles for an H100 without one, spills nothing and fits into its shared memory."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "compile_kernels.py"
SHARED_MEMORY = 227 * 1024
KERNELS = {
    *("_gemm_kernel", "_narrow_kernel", "_groups_kernel", "_listed_kernel", "_maxima_kernel"),
    *("_gather_kernel", "_scatter_kernel", "_dot_kernel"),
    *("_add_norm_kernel", "_silu_mul_kernel", "_rotate_store_kernel", "_attend_kernel", "_logits_kernel"),
}
"""forward and backward; helpers that are inlined into these have no code of their own"""


@pytest.fixture(scope="module")
def compiled() -> list[dict]:
    """In a process of its own: here the kernels are interpreted, which is decided when triton is imported."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(ROOT)
    words = [sys.executable, str(SCRIPT), "--quick", "--json"]
    ran = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)["kernels"]


def test_all_kernels_compile_in_both_dtypes(compiled: list[dict]) -> None:
    assert {one["kernel"] for one in compiled} == KERNELS
    # in float32 torch multiplies, and the groups' maxima have a pass of their own
    for dtype, without in (("bfloat16", "_maxima_kernel"), ("float32", "_gemm_kernel")):
        assert {one["kernel"] for one in compiled if one["dtype"] == dtype} >= KERNELS - {without}
    # both rules, with and without maxima of groups
    gemms = [one["constants"] for one in compiled if one["kernel"] == "_gemm_kernel" and one["dtype"] == "bfloat16"]
    assert {(one["BY_MAGNITUDE"], one["WITH_MAXIMA"]) for one in gemms} >= {(True, True), (False, True)}


def test_nothing_spills_and_all_fit(compiled: list[dict]) -> None:
    for one in compiled:
        # of an empty listing all of this would be true
        assert one["instructions"] > 50, one
        assert 0 < one["registers"] <= 255, one
        assert one["spills"] == 0, one
        assert one["shared"] <= SHARED_MEMORY, one


def test_products_of_16_bits_run_on_the_tensor_cores_and_keep_denormals(compiled: list[dict]) -> None:
    for one in compiled:
        if one["kernel"] in ("_gemm_kernel", "_attend_kernel"):
            assert (one["wgmma"] > 0) == (one["dtype"] == "bfloat16"), one
        # the logarithm of a sum that is 1 at least is the only place where nothing could be lost
        assert one["flushes"] == 0 or one["kernel"] == "_logits_kernel", one
