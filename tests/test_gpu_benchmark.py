"""`benchmarks/gpu.py`: its dry run goes through all of it, and has every row of a run with a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmark_scripts import benchmark_script

pytest.importorskip("triton")

ROOT = Path(__file__).parents[1]


def test_the_dry_run_has_every_row() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-W", "ignore", str(ROOT / "benchmarks" / "gpu.py"), "--quick"]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    document = json.loads((ROOT / "build" / "benchmarks" / "gpu.json").read_text())
    assert document["quick"]  # toy sizes are kept where nobody takes them for a result
    with benchmark_script("_gpu_screen") as screen:
        names = [row["how"] for row in screen.unmeasured()]
    assert [row["how"] for row in document["screen"]] == names
    assert len(names) == 6
    for row in document["screen"]:
        assert row["seconds"] > 0
        assert row["how"] in ran.stdout
    written = [row["counts"]["decoded"] for row in document["screen"] if "counts" in row]
    # of whole edits and of a thousandth of them, at equal lengths
    assert written[0] > written[1] == 0
    kinds = {(row["part"], row["what"].partition(",")[0]) for row in document["kernels"]}
    ours = {(part, "codi-int") for part in ("encode", "step", "sweep")}
    beside = {("encode", "torch.topk"), ("encode", "sparsify"), ("step", "plain torch"), ("step", "sparsify-like")}
    assert kinds == ours | beside
    assert all(row["agreement"] == 1.0 for row in document["kernels"] if row["part"] == "encode")
